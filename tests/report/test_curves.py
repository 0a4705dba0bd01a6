import math
import warnings

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from zoo.report.curves import write_comparison, write_curves


def pixels(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def a_row(epoch, accuracy, *, best=False, **more):
    row = {"epoch": epoch, "train_loss": 0.5, "train_accuracy": accuracy - 0.1, "val_loss": 0.4, "best": best}
    return {**row, "val_accuracy": accuracy, **more}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def lines(axes):
    return [np.round(np.array(line.get_xydata()), 6).tolist() for line in axes.lines]


def test_curves_show_both_parts_and_ring_the_best(tmp_path, figures):
    rows = [a_row(0, 0.8, best=True), a_row(1, 0.9, best=True), a_row(2, 0.85)]
    path = tmp_path / "curves.png"
    assert write_curves(path, rows, title="resnet18-1") == path
    assert pixels(path).size == (1350, 630)
    loss, accuracy = figures[0].axes
    train, val, ring = lines(accuracy)
    assert (train, val, ring) == ([[1, 0.8], [2, 0.75]], [[0, 0.8], [1, 0.9], [2, 0.85]], [[1, 0.9]])
    assert lines(loss)[0] == [[1, 0.5], [2, 0.5]]  # of the probe nothing: it saw other photos
    assert [label.get_text() for label in accuracy.get_xticklabels()] == ["probe", "1", "2"]
    shown = texts(figures[0])
    assert "resnet18-1" in shown
    assert "Ringed: the best weights, after epoch 1. Validation accuracy 90.0 %, loss 0.400" in shown
    assert {"Loss", "Accuracy", "training (augmented photos)", "validation"} <= set(shown)


def test_the_probe_may_be_the_best(tmp_path, figures):
    write_curves(tmp_path / "c.png", [a_row(0, 0.9, best=True), a_row(1, 0.8)], title="r")
    assert any("of the probe, before fine-tuning" in text for text in texts(figures[0]))


def test_without_a_mark_the_highest_is_the_best(tmp_path, figures):
    write_curves(tmp_path / "c.png", [a_row(1, 0.7), a_row(2, math.nan), a_row(3, 0.6)], title="r")
    assert any("after epoch 1." in text for text in texts(figures[0]))


def test_one_epoch_has_one_tick_and_points_inside(tmp_path, figures):
    write_curves(tmp_path / "c.png", [a_row(1, 1.0, best=True)], title="r")
    for axes in figures[0].axes:
        assert axes.get_xticks().tolist() == [1]
        low, high = axes.get_ylim()
        assert all(low < y < high for line in lines(axes) for _, y in line)


def test_no_epoch_at_all_says_so(tmp_path, figures):
    write_curves(tmp_path / "c.png", [], title="r")
    assert "No epoch was finished." in texts(figures[0])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "text"])
def test_gaps_are_tolerated(tmp_path, value):
    rows = [a_row(1, 0.5, train_accuracy=value, val_loss=value), a_row(2, 0.6, best=True, val_loss=value)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_curves(tmp_path / "c.png", rows, title="热狗 $x^{")
    assert pixels(tmp_path / "c.png").size == (1350, 630)


def test_many_epochs_have_few_ticks(tmp_path, figures):
    write_curves(tmp_path / "c.png", [a_row(epoch, 0.5 + epoch / 400) for epoch in range(101)], title="r")
    axes = figures[0].axes[0]
    assert [tick for tick in axes.get_xticks() if 0 <= tick <= 100] == [0, 20, 40, 60, 80, 100]
    assert axes.lines[0].get_marker() in (None, "None")


def test_a_comparison_shows_each_run_their_mean_and_the_band(tmp_path, figures):
    series = {
        "pretrained": [[a_row(1, 0.8), a_row(2, 0.9)], [a_row(1, 0.9), a_row(2, 0.94)]],
        "none": [[a_row(1, 0.5), a_row(2, 0.6)], [a_row(1, 0.52)]],
    }
    test = {"pretrained": [0.9, 0.92], "none": [0.6, 0.58]}
    path = tmp_path / "c.png"
    assert write_comparison(path, series, title="weights on hotdog", test=test) == path
    curves, finals = figures[0].axes
    first = lines(curves)[:3]
    assert first == [[[1, 0.8], [2, 0.9]], [[1, 0.9], [2, 0.94]], [[1, 0.85], [2, 0.92]]]
    assert lines(curves)[5] == [[1, 0.51], [2, 0.6]]
    assert len(curves.collections) == 2
    shown = texts(figures[0])
    assert {"weights on hotdog", "pretrained", "none", "Validation accuracy", "Test accuracy", "91.0", "59.0"} <= set(
        shown
    )
    assert finals.get_xlabel() == "runs, mean, 95 % interval"


def test_a_comparison_of_single_runs_has_no_band(tmp_path, figures):
    write_comparison(
        tmp_path / "c.png",
        {"a": [[a_row(1, 0.8)]], "b": [[a_row(1, 0.7)]]},
        title="t",
        metric="train_accuracy",
        test={"a": [0.9]},
    )
    curves, finals = figures[0].axes
    assert len(curves.lines) == 2
    assert len(curves.collections) == 0
    assert {"One run each", "Training accuracy", "90.0"} <= set(texts(figures[0]))
    assert finals.get_xlabel() == "one run each"


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [[]]}, {"a": [[a_row(1, math.nan)]]}])
def test_a_comparison_without_figures_is_still_a_picture(tmp_path, series):
    write_comparison(tmp_path / "c.png", series, title="t", test={"a": []})
    assert pixels(tmp_path / "c.png").width == 1350


def test_many_variants_are_told_apart(tmp_path, figures):
    series = {f"_variant {index} of the long names": [[a_row(1, index / 20)]] for index in range(15)}
    write_comparison(tmp_path / "c.png", series, title="t", test={name: [0.5] for name in series})
    looks = {(line.get_color(), str(line.get_linestyle())) for line in figures[0].axes[0].lines}
    assert len(looks) == 15
    assert set(series) <= set(texts(figures[0]))
