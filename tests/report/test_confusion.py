import numpy as np
import pytest
from matplotlib.text import Text

from zoo.metrics.classification import evaluate_predictions
from zoo.report.confusion import write_confusion


def an_evaluation(labels, predicted, classes):
    return evaluate_predictions(np.eye(len(classes))[predicted], labels, classes)


def a_ring(classes, *, wrong=1, name="class"):
    """Ten photos a class, `wrong` of them taken for the next class."""
    labels = np.repeat(np.arange(classes), 10)
    predicted = np.where(np.arange(10 * classes) % 10 < wrong, (labels + 1) % classes, labels)
    return an_evaluation(labels, predicted, [f"{name} {index}" for index in range(classes)])


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def test_two_classes_show_counts_and_shares(tmp_path, figures):
    evaluation = an_evaluation([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], ["hotdog", "not-hotdog"])
    path = tmp_path / "confusion.png"
    assert write_confusion(path, evaluation, title="r-1, test") == path
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    cells = [(text.get_text(), text.xy) for text in axes.texts]
    assert ("3", (0, 0)) in cells
    assert ("75.0 %", (0, 0)) in cells
    assert ("25.0 %", (1, 0)) in cells  # the photo that is of class 0, predicted to be of class 1
    assert ("0", (0, 1)) in cells
    shown = texts(figures[0])
    assert "Confusion matrix: r-1, test" in shown
    assert "4 of 5 right: 80.0 % (95 % interval 37.6 to 96.4)" in shown
    assert {"hotdog", "not-hotdog"} <= set(shown)
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])


def test_a_class_without_photos_has_an_empty_row(tmp_path, figures):
    write_confusion(tmp_path / "c.png", an_evaluation([0], [0], ["a", "b"]))
    np.testing.assert_array_equal(figures[0].axes[0].images[0].get_array(), [[1, 0], [0, 0]])


@pytest.mark.parametrize("classes", [1, 13, 100, 101])
def test_any_number_of_classes_fits_its_picture(tmp_path, figures, classes):
    write_confusion(tmp_path / "c.png", a_ring(classes))
    figure, (axes, *_) = figures[0], figures[0].axes
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert 0 < drawn.x0 < drawn.x1 < width
    assert 0 < drawn.y0 < drawn.y1 < height
    named = "class 0" in [label.get_text() for label in axes.get_yticklabels()]
    assert named == (classes <= 100)
    assert bool(axes.texts) == (classes <= 40)


@pytest.mark.parametrize("classes", [2, 13])
def test_the_widest_names_fit_the_picture(tmp_path, figures, classes):
    write_confusion(tmp_path / "c.png", a_ring(classes, name="W" * 40))
    drawn, (width, height) = figures[0].get_tightbbox(), figures[0].get_size_inches()
    assert 0 < drawn.x0 < drawn.x1 < width
    assert 0 < drawn.y0 < drawn.y1 < height


def test_many_classes_list_their_commonest_confusions(tmp_path, figures):
    labels, predicted = np.arange(20).repeat(3), np.arange(20).repeat(3)
    predicted[[0, 1, 30]] = [5, 5, 11]
    write_confusion(tmp_path / "c.png", an_evaluation(labels, predicted, [f"k{index}" for index in range(20)]))
    shown = texts(figures[0])
    assert shown.index("2 of 3") < shown.index("1 of 3")
    assert {"k0 → k5", "k10 → k11"} <= set(shown)
    assert sum("→" in text for text in shown) == 2


def test_many_classes_without_a_mistake_say_so(tmp_path, figures):
    write_confusion(tmp_path / "c.png", a_ring(20, wrong=0))
    assert "No confusions" in texts(figures[0])


def test_odd_class_names_are_shown(tmp_path, figures):
    names = ["热狗", "$a$ $b^{", "_x", "line\nbreak", "", "n" * 300]
    write_confusion(tmp_path / "c.png", an_evaluation(range(6), range(6), names), title="T" * 300)
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert labels[:4] == ["□□ #0", "$a$ $b^{", "_x", "line break"]
    assert figures[0].get_size_inches()[0] < 9
