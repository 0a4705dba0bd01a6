"""The pictures of a run with several labels per photo."""

import numpy as np
import pytest
from pictures import make_photo, texts_of

from zoo.metrics.multi_label import evaluate_labels
from zoo.plugins.specs import Sample
from zoo.report import find_label_mistakes, with_mean_ap, write_label_mistakes, write_precision_recall
from zoo.report.precision_recall import trace_curve

CLASSES = ("fish", "ray", "shark")
PROBABILITIES = np.array([[0.9, 0.1, 0.4], [0.8, 0.7, 0.1], [0.2, 0.3, 0.1]], dtype=np.float32)
TARGETS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=np.uint8)


def make_samples():
    return [
        Sample(make_photo("red"), tuple(np.flatnonzero(row).tolist()), f"{number}.jpg")
        for number, row in enumerate(TARGETS)
    ]


def test_a_curve_is_that_of_scikit_learn():
    recall, precision = trace_curve(np.array([0.9, 0.8, 0.8, 0.3]), np.array([1, 0, 1, 1]))
    assert recall == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert precision == pytest.approx([1, 1, 2 / 3, 3 / 4])


def test_the_picture_names_each_label_with_its_average_precision(tmp_path, figures):
    evaluation = evaluate_labels(PROBABILITIES, TARGETS, CLASSES, (0.5,) * 3)
    write_precision_recall(tmp_path / "a.png", evaluation, PROBABILITIES, TARGETS, title="r-1, test")
    texts = texts_of(figures[0])
    assert texts[0] == "Precision and recall: r-1, test"
    assert texts[1].startswith("mAP 100.0 % (95 % interval")
    assert {"fish: AP 100.0 %, 1 photo", "ray: AP 100.0 %, 1 photo"} <= set(texts)


def test_mistakes_are_wrong_decisions_and_the_sheet_shows_those_of_each_label(tmp_path, figures):
    mistakes = find_label_mistakes(PROBABILITIES, make_samples(), PROBABILITIES >= 0.5)
    assert [(each.name, each.label, each.missed, each.labels) for each in mistakes] == [
        ("1.jpg", 0, False, (1,)),
        ("0.jpg", 2, True, (0, 2)),
    ]
    assert [each.confidence for each in mistakes] == pytest.approx([0.8, 0.6])
    write_label_mistakes(tmp_path / "a.png", mistakes, classes=CLASSES, count=3, title="r-1, test")
    texts = texts_of(figures[0])
    assert texts[1] == "2 of 2 wrong decisions on 3 labels of 3 photos"
    assert texts[2:5] == ["fish found, 80.0 %", "labels: ray", "1.jpg"]
    assert texts[5:8] == ["shark not found, 40.0 %", "labels: fish, shark", "0.jpg"]


def test_without_mistakes_the_sheet_says_so(tmp_path, figures):
    write_label_mistakes(tmp_path / "a.png", [], classes=CLASSES, count=3)
    assert texts_of(figures[0])[1] == "All labels of 3 photos were decided correctly."


def test_curves_show_the_mean_average_precision():
    rows = with_mean_ap([{"epoch": 1, "val_accuracy": 0.2, "train_accuracy": 0.1, "metrics": {"mean_ap": 0.7}}])
    assert (rows[0]["val_accuracy"], rows[0]["train_accuracy"]) == (0.7, None)
