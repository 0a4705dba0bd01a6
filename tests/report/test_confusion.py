import numpy as np
import pytest
from pictures import open_rgb, texts_of

from zoo.metrics.classification import evaluate_predictions
from zoo.report.confusion import write_confusion


def evaluate(labels, predicted, classes):
    return evaluate_predictions(np.eye(len(classes))[predicted], labels, classes)


def evaluate_ring(classes, *, wrong=1, name="class"):
    """Evaluates ten photos of each class, `wrong` of which are predicted as the next class."""
    labels = np.repeat(np.arange(classes), 10)
    predicted = np.where(np.arange(10 * classes) % 10 < wrong, (labels + 1) % classes, labels)
    return evaluate(labels, predicted, [f"{name} {index}" for index in range(classes)])


def assert_nothing_is_cut_off(path):
    pixels = np.asarray(open_rgb(path))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()


def test_two_classes_show_counts_and_shares(tmp_path, figures):
    evaluation = evaluate([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], ["hotdog", "not-hotdog"])
    path = tmp_path / "confusion.png"
    assert write_confusion(path, evaluation, title="r-1, test") == path
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    cells = [(text.get_text(), text.xy) for text in axes.texts]
    assert ("3", (0, 0)) in cells
    assert ("75.0 %", (0, 0)) in cells
    assert ("25.0 %", (1, 0)) in cells  # the photo of class 0 that was predicted as class 1
    assert ("0", (0, 1)) in cells
    texts = texts_of(figures[0])
    assert "Confusion matrix: r-1, test" in texts
    assert "4 of 5 correct: 80.0 % (95 % interval 37.6 to 96.4)" in texts
    assert {"hotdog", "not-hotdog"} <= set(texts)
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])


def test_a_class_without_photos_has_an_empty_row(tmp_path, figures):
    write_confusion(tmp_path / "c.png", evaluate([0], [0], ["a", "b"]))
    np.testing.assert_array_equal(figures[0].axes[0].images[0].get_array(), [[1, 0], [0, 0]])


@pytest.mark.parametrize("classes", [1, 13, 100, 101])
def test_any_number_of_classes_fits_its_picture(tmp_path, figures, classes):
    path = write_confusion(tmp_path / "c.png", evaluate_ring(classes))
    assert_nothing_is_cut_off(path)
    axes = figures[0].axes[0]
    has_names = "class 0" in [label.get_text() for label in axes.get_yticklabels()]
    assert has_names == (classes <= 100)
    in_cells = [text for text in axes.texts if text.xycoords == "data"]
    assert bool(in_cells) == (classes <= 40)


@pytest.mark.parametrize("classes", [2, 13])
def test_the_widest_names_fit_the_picture(tmp_path, classes):
    path = write_confusion(tmp_path / "c.png", evaluate_ring(classes, name="W" * 40))
    assert_nothing_is_cut_off(path)
    assert open_rgb(path).width < 2000


def test_many_classes_get_a_list_of_the_most_common_confusions(tmp_path, figures):
    labels, predicted = np.arange(20).repeat(3), np.arange(20).repeat(3)
    predicted[[0, 1, 30]] = [5, 5, 11]
    write_confusion(tmp_path / "c.png", evaluate(labels, predicted, [f"k{index}" for index in range(20)]))
    assert "2 of 3: k0 → k5\n1 of 3: k10 → k11" in texts_of(figures[0])


def test_thousands_of_classes_get_the_list_without_a_matrix(tmp_path, figures):
    names = [f"class {index}" for index in range(1001)]
    evaluation = evaluate([5, 5, 5, 6, 7], [6, 6, 5, 5, 7], names)
    path = write_confusion(tmp_path / "c.png", evaluation, title="r-1, test")
    assert_nothing_is_cut_off(path)
    texts = texts_of(figures[0])
    assert "Confusions: r-1, test" in texts
    assert "2 of 5 correct: 40.0 % (95 % interval 11.8 to 76.9)" in texts
    assert "2 of 3: class 5 → class 6\n1 of 1: class 6 → class 5" in texts
    assert not figures[0].axes[0].images


def test_many_classes_without_confusions_say_so(tmp_path, figures):
    write_confusion(tmp_path / "c.png", evaluate_ring(20, wrong=0))
    assert "No confusions" in texts_of(figures[0])


def test_unusual_class_names_stay_readable(tmp_path, figures):
    names = ["热狗", "$a$ $b^{", "_x", "line\nbreak", "", "n" * 300]
    path = write_confusion(tmp_path / "c.png", evaluate(range(6), range(6), names), title="T" * 300)
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert labels[:4] == ["□□ #0", "$a$ $b^{", "_x", "line break"]
    assert open_rgb(path).width < 1600
