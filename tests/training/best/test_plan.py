"""What a search tries next, and when it stops: by a fake clock, without training."""

from dataclasses import replace

import pytest
from searches import make_plan, probe, simulate, source, tuned

from zoo.training.best.attempts import Attempt, join_sources
from zoo.training.best.plan import (
    LONGER,
    PROBE,
    estimate,
    find_deadline,
    fit,
    image_sizes,
    next_attempt,
    probe_sizes,
)

PHOTOS = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}


def test_backbones_come_first_then_fine_tuning_for_longer_where_it_pays_then_image_sizes():
    names, seconds, _ = simulate(make_plan("a", "b", "c"), losses=PHOTOS)
    assert names == [
        "a, 224 px, probe",
        "b, 224 px, probe",
        "c, 224 px, probe",
        "a, 224 px, fine-tuned",
        "a, 224 px, fine-tuned epochs=10 patience=2 freeze=30%",
        "b, 224 px, fine-tuned",
        "a+b, 224 px, probe",
        "a, 288 px, probe",
        "a, 160 px, probe",
        "b, 288 px, probe",
        "c, 224 px, fine-tuned",
    ]
    assert seconds <= 600


def test_where_fine_tuning_does_not_pay_image_sizes_come_before_the_next_backbone():
    names, _, _ = simulate(make_plan("a", "b"), losses=PHOTOS, tuned_loss=lambda attempt: None)
    assert names == [
        "a, 224 px, probe",
        "b, 224 px, probe",
        "a, 224 px, fine-tuned",
        "a+b, 224 px, probe",
        "a, 288 px, probe",
        "a, 160 px, probe",
        "b, 288 px, probe",
        "b, 224 px, fine-tuned",
    ]


def test_the_reference_is_trained_as_without_a_search_whatever_its_probe_is_like():
    names, _, _ = simulate(make_plan("c", "b", "a"), losses=PHOTOS, tuned_loss=lambda attempt: None)
    assert names.index("c, 224 px, fine-tuned") < names.index("a, 224 px, fine-tuned")


def test_two_backbones_are_joined_and_three_if_two_are_better_than_one():
    names, _, _ = simulate(make_plan("a", "b", "c"), losses={**PHOTOS, "a+b": 0.4}, tuned_loss=lambda attempt: None)
    assert "a+b, 224 px, probe" in names
    assert "a+b+c, 224 px, probe" in names
    names, _, _ = simulate(make_plan("a", "b", "c"), losses={**PHOTOS, "a+b": 0.55}, tuned_loss=lambda attempt: None)
    assert "a+b, 224 px, probe" in names
    assert "a+b+c, 224 px, probe" not in names


def test_joined_are_backbones_with_pretrained_weights_at_the_larger_size():
    sources = [source("a"), replace(source("b"), weights="b.safetensors"), source("p/c"), source("d", size=260)]
    names, _, _ = simulate(make_plan(*sources), losses={**PHOTOS, "p/c": 0.55}, tuned_loss=lambda attempt: None)
    assert [name for name in names if "+" in name] == ["a+d, 260 px, probe"]


def test_the_time_of_a_joined_backbone_is_that_of_its_members():
    plan = make_plan("a", "b", photos=500)
    outcomes = [probe("a", [0.5], seconds=10, work=0), probe("b", [0.5], seconds=20, work=0)]
    joined = Attempt(source=join_sources([source("a"), source("b")]), image_size=224, values=PROBE)
    assert estimate(plan, joined, outcomes) == 30


def test_longer_fine_tuning_that_is_no_longer_than_the_recipe_is_left_out():
    plan = make_plan("a", photos=500)
    outcomes = [probe("a", [0.5], seconds=10), tuned("a", [0.4], epochs=2, seconds=50)]
    longer = Attempt(source=source("a"), image_size=224, values=LONGER)
    per_epoch = 22.5 * 2.4 / 1.8
    assert fit(plan, longer, outcomes, left=10 + 5.1 * per_epoch).values["epochs"] == 5
    assert fit(plan, longer, outcomes, left=10 + 4.9 * per_epoch) is None


def test_of_many_photos_some_decide_first_and_the_worse_half_drops_out():
    names, _, _ = simulate(make_plan("d", "c", "b", "a", photos=2000, minutes=60), losses=PHOTOS)
    assert names[:6] == [
        "d, 224 px, probe, 500 photos",
        "c, 224 px, probe, 500 photos",
        "b, 224 px, probe, 500 photos",
        "a, 224 px, probe, 500 photos",
        "d, 224 px, probe",  # the reference
        "b, 224 px, probe",
    ]
    assert names[6] == "a, 224 px, probe"
    assert not any(name.startswith("c, 224 px, fine") for name in names)


@pytest.mark.parametrize(
    ("photos", "smallest", "sizes"),
    [
        (300, 100, [None]),
        (700, 100, [None]),
        (1046, 100, [400, None]),
        (1046, 7, [None]),  # a part of them would have too few of the smallest class for cross-validation
        (2000, 1000, [500, None]),
        (20_000, 5000, [400, 1250, 5000, None]),
        (20_000, 50, [2000, 5000, None]),
    ],
)
def test_the_number_of_photos_grows_fourfold(photos, smallest, sizes):
    assert probe_sizes(make_plan("a", photos=photos, smallest=smallest)) == sizes


def test_a_size_that_is_better_is_followed_by_a_larger_one():
    def losses(attempt):
        return 1 - attempt.image_size / 1000

    names, _, _ = simulate(make_plan("a"), losses=losses, tuned_loss=lambda attempt: None)
    assert [name for name in names if "probe" in name] == [
        "a, 224 px, probe",
        "a, 288 px, probe",
        "a, 384 px, probe",
        "a, 160 px, probe",
    ]
    assert names[-1] == "a, 384 px, fine-tuned"


def test_image_sizes_are_multiples_of_the_stride():
    assert image_sizes(224) == ((288, 384), (160,))
    assert image_sizes(260) == ((320, 448), (192,))
    assert image_sizes(32) == ((64,), ())


@pytest.mark.parametrize("minutes", [0.5, 1, 3, 10, 60])
@pytest.mark.parametrize("photos", [100, 1000, 10_000])
@pytest.mark.parametrize("speed", [0.002, 0.02, 0.2])
def test_everything_ends_before_the_deadline_if_the_pace_stays_the_same(minutes, photos, speed):
    plan = make_plan("a", "b", "c", "d", photos=photos, minutes=minutes, test_photos=photos // 3)
    _, seconds, outcomes = simulate(plan, losses=PHOTOS, speed=speed)
    # An attempt of which nothing is known is ended at the deadline: here the first of all, and the first fine-tuning.
    started = seconds - outcomes[-1].seconds
    assert seconds <= find_deadline(plan, outcomes) or len(outcomes) == 1 or started < plan.seconds / 2


def test_the_last_evaluation_has_its_time():
    plan = make_plan("a", photos=500, test_photos=1000)
    deadline = find_deadline(plan, [probe("a", [0.5], seconds=20)])
    assert deadline == pytest.approx(600 - 20 - 1.3 * 1000 * 20 / 500)
    assert find_deadline(plan, []) == pytest.approx(580 * 500 / (500 + 1300))


def test_seconds_are_extrapolated_to_photos_and_image_sizes():
    plan = make_plan("a", "b", photos=1000)
    outcomes = [probe("a", [0.5], photos=250, seconds=5, work=3 / 1.2)]
    attempt = Attempt(source=source("a"), image_size=224, values=PROBE)
    assert estimate(plan, attempt, outcomes) == pytest.approx(2 + 4 * 3)
    assert estimate(plan, replace(attempt, image_size=448), outcomes) == pytest.approx(2 + 16 * 3)
    assert estimate(plan, replace(attempt, image_size=112, photos=250), outcomes) == 5  # never fewer
    assert estimate(plan, replace(attempt, source=source("b")), outcomes) == pytest.approx(2 + 4 * 3)
    assert estimate(plan, attempt, []) is None


def test_the_time_of_an_epoch_is_that_of_earlier_fine_tuning():
    plan = make_plan("a", photos=500)
    outcomes = [probe("a", [0.5], seconds=10), tuned("a", [0.4], epochs=2, seconds=50)]
    again = Attempt(source=source("a"), image_size=224, values={"epochs": 4})
    assert estimate(plan, again, outcomes) == pytest.approx(10 * (1 + 2.25 * 4))
    deeper = replace(again, values=LONGER)
    assert estimate(plan, deeper, outcomes) == pytest.approx(10 * (1 + 2.25 * 10 * 2.4 / 1.8))


def test_epochs_are_as_many_as_fit():
    plan = make_plan("a", photos=500)
    outcomes = [probe("a", [0.5], seconds=10), tuned("a", [0.4], epochs=4, seconds=50)]
    attempt = Attempt(source=source("a"), image_size=224, values=LONGER)
    assert fit(plan, attempt, outcomes, left=1000) == attempt
    assert fit(plan, attempt, outcomes, left=100).values["epochs"] == 6
    assert fit(plan, attempt, outcomes, left=25) is None
    assert fit(plan, replace(attempt, values=PROBE), outcomes, left=9) is None


def test_backbones_that_fail_are_left_out():
    plan = make_plan("a", "b")
    outcomes = [probe("a", [0.5], status="failed")]
    assert next_attempt(plan, outcomes, left=500).name == "b, 224 px, probe"
    assert next_attempt(plan, [*outcomes, probe("b", [0.5], status="failed")], left=500) is None


def test_what_ran_out_of_time_is_tried_again_when_there_is_more():
    plan = make_plan("a")
    assert next_attempt(plan, [probe("a", [0.5], status="out of time")], left=500).name == "a, 224 px, probe"


def test_nothing_is_repeated_for_longer_where_the_probe_stays():
    names, _, _ = simulate(make_plan("a", "b", minutes=60), losses=PHOTOS, tuned_loss=lambda attempt: None)
    assert not [name for name in names if "patience" in name]
    assert len([name for name in names if "fine-tuned" in name]) == 2  # a and b, but not both joined


def test_without_time_to_probe_all_the_best_of_some_photos_is_probed_on_all():
    plan = make_plan("a", "b", "c", "d", photos=14_000, minutes=5, test_photos=1000)
    names, _, _ = simulate(plan, losses={**PHOTOS, "c": 0.1}, speed=0.01)
    assert "c, 224 px, probe" in names
