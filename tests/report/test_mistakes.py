import io

import numpy as np
import pytest
from PIL import Image

from zoo import report
from zoo.errors import RunError
from zoo.plugins.specs import Sample
from zoo.report import Mistake, find_mistakes, write_mistakes


def pixels(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def a_photo(colour, size=(60, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def a_mistake(probability=0.9, *, source=None, name="photo.jpg", true=0, predicted=1):
    source = a_photo("red") if source is None else source
    return Mistake(source=source, name=name, true=true, predicted=predicted, probability=probability)


def test_the_report_offers_every_picture():
    assert set(report.__all__) == {
        "Mistake",
        "find_mistakes",
        "write_comparison",
        "write_confusion",
        "write_curves",
        "write_mistakes",
    }
    assert all(callable(getattr(report, name)) for name in report.__all__)


def test_mistakes_are_found_the_most_confident_first():
    samples = [Sample(source=b"%d" % index, label=label, name=f"n{index}") for index, label in enumerate([0, 0, 1, 1])]
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]], dtype=np.float32)
    found = find_mistakes(probabilities, samples)
    assert [mistake.name for mistake in found] == ["n2", "n1", "n3"]
    assert (found[0].true, found[0].predicted, found[0].source) == (1, 0, b"2")
    assert found[0].probability == pytest.approx(0.8)
    assert find_mistakes(np.empty((0, 2)), []) == ()
    with pytest.raises(ValueError, match="longer"):
        find_mistakes(probabilities, samples[:3])


def test_the_most_confident_sixteen_are_shown(tmp_path, written):
    mistakes = [a_mistake(index / 100, name=f"{index}.jpg") for index in range(60, 80)]
    path = tmp_path / "mistakes.png"
    assert write_mistakes(path, mistakes, classes=("hotdog", "not-hotdog"), count=800, title="r-1, test") == path
    assert written[0] == "Most confident mistakes: r-1, test"
    assert written[1].startswith("16 of 20 mistakes in 800 photos")
    assert written[2:5] == ["not-hotdog, 79.0 %", "labelled hotdog", "79.jpg"]
    assert "64.jpg" in written
    assert "63.jpg" not in written
    image = pixels(path)
    assert sum(count for count, colour in image.getcolors(1 << 20) if colour == (255, 0, 0)) > 16 * 200 * 120


def test_no_mistakes_say_so(tmp_path, written):
    write_mistakes(tmp_path / "m.png", [], classes=("a", "b"), count=12)
    assert written == ["No mistakes", "All 12 photos were given the class of their label."]
    assert pixels(tmp_path / "m.png").width >= 640


def test_a_photo_that_cannot_be_read_leaves_its_place(tmp_path, written):
    mistakes = [a_mistake(source=b"no image"), a_mistake(source=tmp_path / "gone.jpg"), a_mistake()]
    write_mistakes(tmp_path / "m.png", mistakes, classes=("a", "b"), count=3)
    assert written.count("cannot be read") == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_photos_of_any_shape_are_shown(tmp_path, size):
    write_mistakes(tmp_path / "m.png", [a_mistake(source=a_photo("red", size))], classes=("a", "b"), count=1)
    image = pixels(tmp_path / "m.png")
    assert (255, 0, 0) in {colour for _, colour in image.getcolors(1 << 20)}


def test_odd_names_are_shown(tmp_path, written):
    mistake = a_mistake(name="目录/" + "x" * 300 + ".jpg")
    write_mistakes(tmp_path / "m.png", [mistake], classes=("热狗", "不是"), count=1, title="热\n" * 400)
    assert "□□ #1, 90.0 %" in written
    assert "labelled □□ #0" in written
    assert written[-1].endswith("xx.jpg")
    assert pixels(tmp_path / "m.png").width < 1200


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(RunError, match=r"Cannot write .*m\.png"):
        write_mistakes(tmp_path / "no" / "m.png", [], classes=("a", "b"), count=1)
