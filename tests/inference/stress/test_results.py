import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.inference.stress.requirements import parse_requirements
from zoo.inference.stress.results import MeasuredKind, compare_kinds, summarise_model, summarise_scores
from zoo.inference.stress.store import MISSING, Answers
from zoo.metrics.intervals import paired_interval, wilson_interval

CLASSES = ("cat", "dog")
LABELS = np.array([0, 1] * 10)


def kind_of(name, predicted, **values):
    predicted = np.asarray(predicted, np.int32)
    answers = Answers(predicted=predicted, confidence=np.ones(predicted.shape, np.float32))
    levels = tuple(range(1, predicted.shape[1] + 1))
    return MeasuredKind(name=name, summary="", levels=levels, answers=answers, **values)


def wrong_on(*columns):
    """Answers with some photos wrong at each strength."""
    predicted = np.repeat(LABELS[:, None], len(columns), axis=1)
    for strength, photos in enumerate(columns):
        predicted[photos, strength] = 1 - predicted[photos, strength]
    return predicted


CLEAN = kind_of("clean", wrong_on([0])).answers
FOG = kind_of("fog", wrong_on([0, 2], [0, 2, 4, 6]))
NOISE = kind_of("noise", wrong_on([], range(0, 20, 2)))


def summarise(*kinds, **values):
    return summarise_model("run", LABELS, CLEAN, kinds, classes=CLASSES, **values)


def test_each_strength_is_compared_with_the_same_photos_unchanged():
    result = summarise(FOG)
    assert (result.clean, result.count) == (0.95, 20)
    assert result.clean_interval == wilson_interval(19, 20)
    (fog,) = result.kinds
    assert [each.accuracy for each in fog.strengths] == [0.9, 0.8]
    assert fog.strengths[1].interval == wilson_interval(16, 20)
    assert fog.strengths[1].difference == pytest.approx(-0.15)
    assert fog.strengths[1].difference_interval == paired_interval(3, 0, 20)
    assert fog.mean.accuracy == pytest.approx(0.85)
    assert fog.mean.difference == pytest.approx(-0.1)
    low, high = fog.mean.difference_interval
    assert low < -0.1 < high


def test_the_worst_kind_is_first_and_the_mean_weighs_kinds_alike():
    result = summarise(FOG, NOISE, kind_of("mirror", wrong_on([0])))
    assert [kind.name for kind in result.kinds] == ["noise", "fog", "mirror"]
    assert result.mean.accuracy == pytest.approx((0.75 + 0.85 + 0.95) / 3)
    assert result.to_dict()["kinds"][0]["strengths"][1] == {
        "strength": 2,
        "level": 2,
        "accuracy": 0.5,
        "interval": list(wilson_interval(10, 20)),
        "difference": pytest.approx(-0.45),
        "difference_interval": list(paired_interval(9, 0, 20)),
    }


def test_attacks_are_compared_on_their_photos_and_are_not_part_of_the_mean():
    predicted = np.full((20, 1), MISSING)
    predicted[:5, 0] = 1 - LABELS[:5]
    result = summarise(FOG, kind_of("pgd", predicted, adversarial=True))
    assert [kind.name for kind in result.kinds] == ["fog", "pgd"]
    attack = result.by_kind["pgd"]
    assert (attack.count, attack.mean.accuracy) == (5, 0)
    assert attack.mean.difference == pytest.approx(-0.8)  # one of the five is wrong as it is
    assert result.mean.accuracy == result.by_kind["fog"].mean.accuracy


def test_all_figures_are_of_the_photos_that_every_kind_was_measured_on():
    result = summarise(FOG, kind_of("blur", wrong_on([])[:10]))
    assert (result.count, result.by_kind["fog"].count) == (10, 10)
    assert result.clean == pytest.approx(0.9)


def test_unreadable_photos_are_left_out():
    clean = Answers(predicted=CLEAN.predicted.copy(), confidence=CLEAN.confidence)
    clean.predicted[19] = MISSING
    predicted = wrong_on([0])
    predicted[19] = MISSING
    result = summarise_model("run", LABELS, clean, [kind_of("jpeg", predicted)], classes=CLASSES)
    assert (result.count, result.clean) == (19, pytest.approx(18 / 19))


def test_classes_are_ranked_by_what_they_lose():
    result = summarise(FOG, NOISE)
    cat, dog = result.classes
    assert (cat.name, cat.count, cat.taken_for) == ("cat", 10, "dog")
    assert cat.loss == pytest.approx(0.9 - (0.7 + 0.5) / 2)
    assert cat.by_kind == {"fog": pytest.approx(0.7), "noise": 0.5}
    assert (dog.loss, dog.taken_for) == (0, "")
    few = summarise_model("run", LABELS, CLEAN, [FOG], classes=("cat", "dog", "none of these"))
    assert [each.name for each in few.classes] == ["cat", "dog"]


def test_intervals_have_a_width_where_all_photos_are_alike():
    perfect = summarise_scores(np.ones(20), np.ones(20))
    assert perfect.interval == wilson_interval(20, 20)
    assert perfect.difference_interval == paired_interval(0, 0, 20)


def test_two_models_are_compared_photo_by_photo():
    better = [kind_of("fog", wrong_on([0], [0, 2])), kind_of("other", wrong_on([]))]
    found = compare_kinds([FOG, NOISE], better, LABELS)
    assert [*found] == ["fog", "mean"]
    assert found["fog"]["difference"] == pytest.approx(0.075)
    assert found["mean"] == found["fog"]
    low, high = found["fog"]["interval"]
    assert low < 0.075 < high


STRENGTHS = {"fog": 2, "noise": 2}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("fog:1=0.9", True),
        ("fog:2=0.81", False),
        ("fog=0.85", True),
        ("noise=0.76", False),
        ("clean=0.95", True),
        ("mean=0.81", False),
        ("mean=0.8", True),
        ("worst=0.75", True),
        ("worst=0.76", False),
    ],
)
def test_requirements_pass_or_fail_with_a_sentence_that_names_them(text, passes):
    (requirement,) = parse_requirements([text], STRENGTHS)
    sentence = requirement.check(summarise(FOG, NOISE))
    assert (sentence == "") == passes
    if not passes:
        assert sentence.startswith(f"run fails {text}: its accuracy ")


def test_a_kind_that_was_not_measured_fails_its_requirement():
    (requirement,) = parse_requirements(["noise:1=0.1"], STRENGTHS)
    sentence = requirement.check(summarise(FOG, dropped=("noise",)))
    assert sentence == "run fails noise:1=0.1: the time did not suffice."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog", "has no accuracy from 0 to 1"),
        ("fog=85", "has no accuracy from 0 to 1"),
        ("fog=nan", "has no accuracy from 0 to 1"),
        ("fig:1=0.5", "names no kind of change"),
        ("fog:3=0.5", "has no valid strength"),
        ("fog:0=0.5", "has no valid strength"),
        ("mean:1=0.5", "has no valid strength"),
        ("fog:²=0.5", "has no valid strength"),
    ],
)
def test_requirements_of_another_form_are_errors(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_requirements([text], STRENGTHS)
