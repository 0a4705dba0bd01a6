import numpy as np
import pytest

from zoo.errors import DataError, TrainingError
from zoo.metrics.multi_label import evaluate_labels, mean_average_precision
from zoo.metrics.thresholds import decide

NAMES = ("fish", "shark", "starfish", "puffin")


def make_predictions(count=211, seed=0, *, decimals=2):
    """Returns probabilities with many equal values, and labels that they say something about."""
    random = np.random.default_rng(seed)
    targets = (random.random((count, len(NAMES))) < [0.5, 0.3, 0.1, 0.04]).astype(np.uint8)
    noise = random.normal(size=targets.shape)
    return np.round(1 / (1 + np.exp(-(noise + 2 * targets - 1))), decimals).astype(np.float32), targets


def test_the_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = make_predictions()
    thresholds = (0.4, 0.5, 0.6, 0.7)
    evaluation, decided = evaluate_labels(p, y, NAMES, thresholds), decide(p, thresholds)
    assert evaluation.mean_ap == pytest.approx(metrics.average_precision_score(y, p, average="macro"), abs=1e-9)
    assert evaluation.macro_f1 == pytest.approx(metrics.f1_score(y, decided, average="macro"), abs=1e-9)
    assert evaluation.micro_f1 == pytest.approx(metrics.f1_score(y, decided, average="micro"), abs=1e-9)
    assert evaluation.exact_match == pytest.approx(metrics.accuracy_score(y, decided), abs=1e-9)
    assert evaluation.hamming_loss == pytest.approx(metrics.hamming_loss(y, decided), abs=1e-9)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(y, decided)
    for label, scores in enumerate(evaluation.per_class):
        found = (scores.precision, scores.recall, scores.f1, scores.support)
        assert found == pytest.approx((precision[label], recall[label], f1[label], support[label]), abs=1e-9)
        own = metrics.average_precision_score(y[:, label], p[:, label])
        assert scores.average_precision == pytest.approx(own, abs=1e-9)


def test_the_figures_of_a_small_example():
    p = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6], [0.1, 0.1]], dtype=np.float32)
    y = np.array([[1, 0], [0, 1], [1, 0], [0, 0]])
    evaluation = evaluate_labels(p, y, ("a", "b"), (0.5, 0.5))
    # Label a: ranks 1 and 3 of 0.9, 0.8, 0.3. Label b: rank 1.
    assert [scores.average_precision for scores in evaluation.per_class] == pytest.approx([(1 + 2 / 3) / 2, 1])
    assert evaluation.mean_ap == pytest.approx((5 / 6 + 1) / 2)
    # Decided: a for photos 0 and 1, b for 1 and 2. Right: a of 0, b of 1; a of 2 is missed.
    assert (evaluation.exact_match, evaluation.hamming_loss) == (0.5, 3 / 8)
    assert evaluation.micro_f1 == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert evaluation.loss == pytest.approx(-np.log([0.9 * 0.8, 0.2 * 0.7, 0.3 * 0.4, 0.9 * 0.9]).mean(), rel=1e-6)


def test_intervals_contain_the_figures_and_narrow_with_more_photos():
    few, many = (evaluate_labels(*make_predictions(count), NAMES, (0.5,) * 4) for count in (100, 1600))
    for name, (low, high) in many.intervals.items():
        assert 0 <= low <= getattr(many, name) <= high <= 1
        assert (high - low) < 0.5 * (few.intervals[name][1] - few.intervals[name][0])
    for scores in many.per_class:
        assert scores.interval[0] <= scores.average_precision <= scores.interval[1]
    assert many == evaluate_labels(*make_predictions(1600), NAMES, (0.5,) * 4)


def test_an_interval_covers_the_value_of_the_population():
    truth = mean_average_precision(*make_predictions(20_000, seed=99, decimals=6))
    covered = [
        low <= truth <= high
        for seed in range(20)
        for low, high in [evaluate_labels(*make_predictions(300, seed=seed), NAMES, (0.5,) * 4).intervals["mean_ap"]]
    ]
    assert sum(covered) >= 17


def test_labels_without_photos_are_left_out_of_the_means():
    p, y = make_predictions()
    y[:, 2] = 0
    evaluation, others = evaluate_labels(p, y, NAMES, (0.5,) * 4), [0, 1, 3]
    rest = evaluate_labels(p[:, others], y[:, others], ("fish", "shark", "puffin"), (0.5,) * 3)
    assert (evaluation.mean_ap, evaluation.macro_f1) == pytest.approx((rest.mean_ap, rest.macro_f1))
    absent = evaluation.per_class[2]
    assert (absent.average_precision, absent.interval, absent.recall, absent.support) == (None, None, 0.0, 0)
    assert evaluation.notes == ("No photo has the label starfish: the means leave them out.",)
    assert "starfish" in evaluation._repr_html_()


def test_a_label_that_every_photo_has():
    p, y = make_predictions()
    y[:, 0] = 1
    assert evaluate_labels(p, y, NAMES, (0.5,) * 4).per_class[0].average_precision == 1


def test_plain_values_are_json_and_complete():
    import json

    values = evaluate_labels(*make_predictions(), NAMES, (0.5,) * 4).to_dict()
    assert json.loads(json.dumps(values))["per_class"][1]["name"] == "shark"
    assert {"mean_ap", "intervals", "exact_match", "hamming_loss", "count", "notes"} <= set(values)


def test_predictions_that_cannot_be_measured_are_refused():
    p, y = make_predictions()
    with pytest.raises(DataError, match="no photos to evaluate"):
        evaluate_labels(p[:0], y[:0], NAMES, (0.5,) * 4)
    with pytest.raises(DataError, match="None of 211 photos has a label"):
        evaluate_labels(p, np.zeros_like(y), NAMES, (0.5,) * 4)
    with pytest.raises(ValueError, match="3 thresholds for 4 labels"):
        evaluate_labels(p, y, NAMES, (0.5,) * 3)
    p[7, 1] = np.nan
    with pytest.raises(TrainingError, match="NaN or infinite outputs for 1 of 211 photos"):
        evaluate_labels(p, y, NAMES, (0.5,) * 4)


def test_photos_of_a_group_make_intervals_wider():
    """Copies of the same photos tell nothing new."""
    p, y = make_predictions(60)
    copies, targets, groups = np.tile(p, (4, 1)), np.tile(y, (4, 1)), [*range(60)] * 4
    thresholds = (0.5,) * 4
    once = evaluate_labels(p, y, NAMES, thresholds)
    alike = evaluate_labels(copies, targets, NAMES, thresholds, groups=groups)
    assert alike.mean_ap == pytest.approx(once.mean_ap)
    for name, (low, high) in once.intervals.items():
        assert alike.intervals[name] == pytest.approx((low, high)), name
    assert alike.intervals != evaluate_labels(copies, targets, NAMES, thresholds).intervals
