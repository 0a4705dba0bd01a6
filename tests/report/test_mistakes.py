import numpy as np
import pytest
from pictures import count_colours, make_photo, open_rgb, texts_of

from zoo.errors import RunError
from zoo.plugins.specs import Sample
from zoo.report import Mistake, find_mistakes, write_mistakes


def make_mistake(probability=0.9, *, source=None, name="photo.jpg", true=0, predicted=1):
    source = make_photo("red") if source is None else source
    return Mistake(source=source, name=name, true=true, predicted=predicted, probability=probability)


def test_find_mistakes_sorts_by_confidence():
    samples = [Sample(source=b"%d" % index, label=label, name=f"n{index}") for index, label in enumerate([0, 0, 1, 1])]
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]], dtype=np.float32)
    mistakes = find_mistakes(probabilities, samples)
    assert [mistake.name for mistake in mistakes] == ["n2", "n1", "n3"]
    assert (mistakes[0].true, mistakes[0].predicted, mistakes[0].source) == (1, 0, b"2")
    assert mistakes[0].probability == pytest.approx(0.8)
    assert find_mistakes(np.empty((0, 2)), []) == ()
    with pytest.raises(ValueError, match="longer"):
        find_mistakes(probabilities, samples[:3])


def test_the_sheet_shows_the_sixteen_most_confident(tmp_path, figures):
    mistakes = [make_mistake(index / 100, name=f"{index}.jpg") for index in range(60, 80)]
    path = tmp_path / "mistakes.png"
    assert write_mistakes(path, mistakes, classes=("hotdog", "not-hotdog"), count=800, title="r-1, test") == path
    texts = texts_of(figures[0])
    assert texts[0] == "Most confident mistakes: r-1, test"
    assert texts[1].startswith("16 of 20 mistakes in 800 photos")
    assert texts[2:5] == ["not-hotdog, 79.0 %", "label: hotdog", "79.jpg"]
    assert "64.jpg" in texts
    assert "63.jpg" not in texts
    assert count_colours(path)[255, 0, 0] > 16 * 200 * 120


def test_without_mistakes_the_picture_says_so(tmp_path, figures):
    write_mistakes(tmp_path / "m.png", [], classes=("a", "b"), count=12)
    assert texts_of(figures[0]) == ["No mistakes", "All 12 photos were classified correctly."]
    assert open_rgb(tmp_path / "m.png").width > 300


def test_a_frame_replaces_a_photo_that_cannot_be_read(tmp_path, figures):
    mistakes = [make_mistake(source=b"no image"), make_mistake(source=tmp_path / "gone.jpg"), make_mistake()]
    write_mistakes(tmp_path / "m.png", mistakes, classes=("a", "b"), count=3)
    assert texts_of(figures[0]).count("unreadable") == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_photos_of_any_shape_are_shown(tmp_path, size):
    mistake = make_mistake(source=make_photo("red", size))
    path = write_mistakes(tmp_path / "m.png", [mistake], classes=("a", "b"), count=1)
    assert (255, 0, 0) in count_colours(path)


def test_unusual_names_stay_readable(tmp_path, figures):
    mistake = make_mistake(name="目录/" + "x" * 300 + ".jpg")
    path = write_mistakes(tmp_path / "m.png", [mistake], classes=("热狗", "不是"), count=1, title="热\n" * 400)
    texts = texts_of(figures[0])
    assert "□□ #1, 90.0 %" in texts
    assert "label: □□ #0" in texts
    assert texts[-1].endswith("xx.jpg")
    assert open_rgb(path).width < 1300


def test_a_sheet_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"Cannot write .*m\.png"):
        write_mistakes(tmp_path / "no" / "m.png", [], classes=("a", "b"), count=1)
