import itertools
import math
import warnings

import numpy as np
import pytest
from pictures import open_rgb, texts_of

from zoo.report.curves import write_comparison, write_curves


def make_row(epoch, accuracy, *, best=False, **more):
    row = {"epoch": epoch, "train_loss": 0.5, "train_accuracy": accuracy - 0.1, "val_loss": 0.4, "best": best}
    return {**row, "val_accuracy": accuracy, **more}


def lines_of(axes):
    return [np.round(np.array(line.get_xydata()), 6).tolist() for line in axes.lines]


def test_curves_show_both_splits_and_mark_the_best_epoch(tmp_path, figures):
    rows = [make_row(0, 0.8, best=True), make_row(1, 0.9, best=True), make_row(2, 0.85)]
    path = tmp_path / "curves.png"
    assert write_curves(path, rows, title="resnet18-1") == path
    assert 1200 < open_rgb(path).width < 1500
    loss, accuracy = figures[0].axes
    train, val, ring = lines_of(accuracy)
    assert (train, val, ring) == ([[1, 0.8], [2, 0.75]], [[0, 0.8], [1, 0.9], [2, 0.85]], [[1, 0.9]])
    assert lines_of(loss)[0] == [[1, 0.5], [2, 0.5]]  # without the probe, which trains on other photos
    assert [label.get_text() for label in accuracy.get_xticklabels()] == ["probe", "1", "2"]
    texts = texts_of(figures[0])
    assert "resnet18-1" in texts
    assert "Ring: the best weights, after epoch 1. Validation accuracy 90.0 %, loss 0.400" in texts
    assert {"Loss", "Accuracy", "training (augmented photos)", "validation"} <= set(texts)


def test_the_probe_may_be_the_best(tmp_path, figures):
    write_curves(tmp_path / "c.png", [make_row(0, 0.9, best=True), make_row(1, 0.8)], title="r")
    assert any("from the probe, before fine-tuning" in text for text in texts_of(figures[0]))


def test_without_a_marked_row_the_highest_accuracy_is_the_best(tmp_path, figures):
    write_curves(tmp_path / "c.png", [make_row(1, 0.7), make_row(2, math.nan), make_row(3, 0.6)], title="r")
    assert any("after epoch 1." in text for text in texts_of(figures[0]))


def test_a_single_epoch_has_one_tick_and_its_points_inside_the_axes(tmp_path, figures):
    write_curves(tmp_path / "c.png", [make_row(1, 1.0, best=True)], title="r")
    for axes in figures[0].axes:
        assert axes.get_xticks().tolist() == [1]
        low, high = axes.get_ylim()
        assert all(low < y < high for line in lines_of(axes) for _, y in line)


def test_without_epochs_the_picture_says_so(tmp_path, figures):
    write_curves(tmp_path / "c.png", [], title="r")
    assert "No finished epochs" in texts_of(figures[0])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "text"])
def test_missing_values_leave_gaps(tmp_path, value):
    rows = [make_row(1, 0.5, train_accuracy=value, val_loss=value), make_row(2, 0.6, best=True, val_loss=value)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_curves(tmp_path / "c.png", rows, title="热狗 $x^{")
    assert 1200 < open_rgb(tmp_path / "c.png").width < 1500


def test_many_epochs_have_few_ticks(tmp_path, figures):
    write_curves(tmp_path / "c.png", [make_row(epoch, 0.5 + epoch / 400) for epoch in range(101)], title="r")
    axes = figures[0].axes[0]
    assert [tick for tick in axes.get_xticks() if 0 <= tick <= 100] == [0, 20, 40, 60, 80, 100]
    assert axes.lines[0].get_marker() in (None, "None")


def test_a_comparison_shows_each_run_their_mean_and_the_band(tmp_path, figures):
    series = {
        "pretrained": [[make_row(1, 0.8), make_row(2, 0.9)], [make_row(1, 0.9), make_row(2, 0.94)]],
        "none": [[make_row(1, 0.5), make_row(2, 0.6)], [make_row(1, 0.52)]],
    }
    test = {"pretrained": [0.9, 0.92], "none": [0.6, 0.58]}
    path = tmp_path / "c.png"
    assert write_comparison(path, series, title="weights on hotdog", test=test) == path
    curves, finals = figures[0].axes
    first = lines_of(curves)[:3]
    assert first == [[[1, 0.8], [2, 0.9]], [[1, 0.9], [2, 0.94]], [[1, 0.85], [2, 0.92]]]
    assert lines_of(curves)[5] == [[1, 0.51], [2, 0.6]]
    assert len(curves.collections) == 2
    texts = texts_of(figures[0])
    expected = {"weights on hotdog", "pretrained", "none", "Validation accuracy", "Test accuracy", "91.0", "59.0"}
    assert expected <= set(texts)
    assert finals.get_xlabel() == "runs and mean"
    assert not finals.collections, "two runs are too few for an interval"


def test_a_comparison_of_three_runs_shows_their_interval(tmp_path, figures):
    series = {"a": [[make_row(1, accuracy)] for accuracy in (0.90, 0.92, 0.94)]}
    write_comparison(tmp_path / "c.png", series, title="t", test={"a": [0.90, 0.92, 0.94]})
    finals = figures[0].axes[1]
    assert finals.get_xlabel() == "runs and mean, 95 % interval"
    (interval,) = finals.collections
    low, high = interval.get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(0.92 - 0.0497, abs=1e-4), pytest.approx(0.92 + 0.0497, abs=1e-4))


def test_a_comparison_of_single_runs_has_no_band(tmp_path, figures):
    write_comparison(
        tmp_path / "c.png",
        {"a": [[make_row(1, 0.8)]], "b": [[make_row(1, 0.7)]]},
        title="t",
        metric="train_accuracy",
        test={"a": [0.9]},
    )
    curves, finals = figures[0].axes
    assert len(curves.lines) == 2
    assert len(curves.collections) == 0
    assert {"One run each", "Training accuracy", "90.0"} <= set(texts_of(figures[0]))
    assert finals.get_xlabel() == "one run each"


def test_the_values_of_a_comparison_overlap_neither_each_other_nor_points(tmp_path, figures):
    test = {f"variant {index}": [0.5] for index in range(4)}
    write_comparison(tmp_path / "c.png", {name: [[make_row(1, 0.5)]] for name in test}, title="t", test=test)
    figures[0].canvas.draw()
    finals = figures[0].axes[1]
    boxes = [text.get_window_extent() for text in finals.texts]
    points = [point for line in finals.lines for point in finals.transData.transform(line.get_xydata())]
    assert (len(boxes), len(points)) == (4, 4)
    assert all(right.x0 > left.x1 for left, right in itertools.pairwise(boxes))
    assert not any(box.contains(*point) for box in boxes for point in points)


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [[]]}, {"a": [[make_row(1, math.nan)]]}])
def test_a_comparison_without_values_is_still_a_picture(tmp_path, series):
    write_comparison(tmp_path / "c.png", series, title="t", test={"a": []})
    assert 1200 < open_rgb(tmp_path / "c.png").width < 1500


def test_many_variants_have_distinct_styles(tmp_path, figures):
    series = {f"_variant {index} of the long names": [[make_row(1, index / 20)]] for index in range(15)}
    write_comparison(tmp_path / "c.png", series, title="t", test={name: [0.5] for name in series})
    styles = {(line.get_color(), str(line.get_linestyle())) for line in figures[0].axes[0].lines}
    assert len(styles) == 15
    assert set(series) <= set(texts_of(figures[0]))
