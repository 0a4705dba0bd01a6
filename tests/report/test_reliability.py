import numpy as np
import pytest
from pictures import texts_of

from zoo.metrics.calibration import Calibration
from zoo.report import write_reliability

RANDOM = np.random.default_rng(0)
CONFIDENCE = RANDOM.uniform(0.6, 1, 200)
PROBABILITIES = np.stack([CONFIDENCE, 1 - CONFIDENCE], axis=1).astype(np.float32)
LABELS = (RANDOM.random(200) > CONFIDENCE).astype(np.int64)


def test_the_picture_compares_before_and_after(tmp_path, figures):
    calibration = Calibration(method="temperature", temperature=(0.4,))
    write_reliability(tmp_path / "a.png", PROBABILITIES, LABELS, calibration, title="r-1, test")
    texts = texts_of(figures[0])
    assert texts[0] == "Reliability: r-1, test"
    assert texts[1].startswith("calibration error ")
    assert " % before, " in texts[1]
    assert texts[1].endswith(" % after, 200 photos")
    legend = figures[0].axes[0].get_legend_handles_labels()[1]
    assert legend == ["before calibration", "after calibration"]
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("calibration", [None, Calibration(method="none")])
def test_without_calibration_there_is_one_curve(tmp_path, figures, calibration):
    write_reliability(tmp_path / "a.png", PROBABILITIES, LABELS, calibration)
    assert figures[0].axes[0].get_legend_handles_labels()[1] == ["not calibrated"]
    low, high = figures[0].axes[0].get_xlim()
    assert 0.4 < low < 0.6 < high  # no room for probabilities that do not occur


def test_labels_are_shown_by_their_answers(tmp_path, figures):
    targets = np.stack([1 - LABELS, LABELS], axis=1)
    write_reliability(tmp_path / "a.png", PROBABILITIES, targets, None)
    assert figures[0].axes[0].get_xlabel() == "probability of a label"
    assert texts_of(figures[0])[1].endswith(", 400 answers")
