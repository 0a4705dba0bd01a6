"""The memory that an attempt is expected to need."""

from dataclasses import replace

from searches import probe, source, tuned

from zoo.training.best.attempts import Attempt, join_sources
from zoo.training.best.memory import estimate_memory, find_missing_memory
from zoo.training.best.plan import PROBE

GIB = 1 << 30


def attempt(name, size=224, **values):
    return Attempt(source=source(name), image_size=size, values=values or PROBE)


def measured(outcome, gib):
    return replace(outcome, memory=int(gib * GIB))


def test_the_memory_of_a_probe_grows_with_the_area_of_the_images():
    outcomes = [measured(probe("a", [0.5]), 1), measured(probe("b", [0.5]), 3)]
    assert estimate_memory(attempt("a"), outcomes) == 1 * GIB
    assert estimate_memory(attempt("a", 448), outcomes) == 4 * GIB
    assert estimate_memory(attempt("a", 112), outcomes) == 1 * GIB  # never less than what was needed before
    assert estimate_memory(attempt("c"), outcomes) == 3 * GIB
    assert estimate_memory(attempt("c"), [probe("a", [0.5])]) == 0  # nothing was measured


def test_fine_tuning_needs_what_fine_tuning_needed():
    outcomes = [measured(probe("a", [0.5]), 1)]
    assert estimate_memory(attempt("a", epochs=4), outcomes) == 1 * GIB
    outcomes.append(measured(tuned("a", [0.5]), 2))
    assert estimate_memory(attempt("a", epochs=4), outcomes) == 2 * GIB
    assert estimate_memory(attempt("a"), outcomes) == 1 * GIB  # what its probe needed


def test_a_joined_backbone_needs_what_its_members_need():
    outcomes = [measured(probe("a", [0.5]), 1), measured(probe("b", [0.5]), 3)]
    joined = Attempt(source=join_sources([source("a"), source("b")]), image_size=224, values=PROBE)
    assert estimate_memory(joined, outcomes) == 4 * GIB


def test_what_does_not_fit_is_not_tried():
    outcomes = [measured(probe("a", [0.5]), 1)]
    assert find_missing_memory(attempt("a"), outcomes, 2 * GIB) == ""
    assert find_missing_memory(attempt("a", 448), outcomes, None) == ""
    assert find_missing_memory(attempt("a", 448), outcomes, 4 * GIB) == (
        "it would need 4.3 GB of memory, and 4.3 GB are available"
    )
    # Without any run, even the little memory there is is better than none.
    assert find_missing_memory(attempt("a", 448), [replace(outcomes[0], status="failed")], 1) == ""
