import json

import pytest
from PIL import Image

from zoo.errors import ConfigError, UnknownNameError
from zoo.events import Note
from zoo.runs.run import list_runs
from zoo.training.compare import compare

FAST = {"head": "flat", "epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}


def test_variants_and_seeds_are_run_and_drawn_side_by_side(tmp_path, registry):
    notes = []
    comparison = compare(
        "small",
        data="colours",
        grid={"freeze": ["all", "none"]},
        common=FAST,
        seeds=(0, 1),
        runs=tmp_path / "runs",
        output=tmp_path / "out",
        registry=registry,
        observer=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    assert [variant.name for variant in comparison.variants] == ["freeze=all", "freeze=none"]
    assert [note for note in notes if note.startswith("Run ")] == [
        "Run 1 of 4: freeze=all, seed 0.",
        "Run 2 of 4: freeze=all, seed 1.",
        "Run 3 of 4: freeze=none, seed 0.",
        "Run 4 of 4: freeze=none, seed 1.",
    ]
    runs = list_runs(tmp_path / "runs")
    assert len(runs) == 4
    assert all(run.finished for run in runs)
    assert {str(run.path) for run in runs} == {path for variant in comparison.variants for path in variant.runs}
    for variant in comparison.variants:
        assert variant.mean == pytest.approx(sum(variant.accuracies) / 2)
        assert variant.half_width >= 0
        assert min(variant.seconds) > 0
    with Image.open(comparison.picture) as picture:
        assert picture.size[0] > 300
    table = json.loads(comparison.table.read_text())
    assert [row["name"] for row in table] == ["freeze=all", "freeze=none"]
    assert table[0]["accuracies"] == list(comparison.variants[0].accuracies)
    assert comparison.table.parent == tmp_path / "out"


def test_one_seed_has_no_interval_and_nothing_varied_is_one_variant(tmp_path, registry):
    comparison = compare("small", data="colours", grid={}, common=FAST, runs=tmp_path, registry=registry)
    (variant,) = comparison.variants
    assert variant.name == "small"
    assert variant.half_width is None
    assert comparison.picture == tmp_path / "comparison.png"


@pytest.mark.parametrize(
    ("grid", "more", "error", "message"),
    [
        ({"epochs": [1, 0]}, {}, ConfigError, "option 'epochs' is 0"),
        ({"epoch": [1]}, {}, ConfigError, "no option 'epoch'"),
        ({"epochs": [1, 2]}, {"common": {"epochs": 3}}, ConfigError, "'epochs' is both varied and fixed"),
        ({"epochs": [1]}, {"seeds": ()}, ConfigError, "at least one seed"),
        ({"head": ["flat", "falt"]}, {"common": {"epochs": 1}}, UnknownNameError, "no head 'falt'"),
    ],
)
def test_every_variant_is_checked_before_the_first_is_run(tmp_path, registry, grid, more, error, message):
    with pytest.raises(error, match=message):
        compare("small", data="colours", grid=grid, runs=tmp_path / "runs", registry=registry, **more)
    assert not (tmp_path / "runs").exists()
