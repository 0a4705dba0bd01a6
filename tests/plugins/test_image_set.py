import io
import re

from PIL import Image

from zoo import ImageSet, Sample


def photo(hue, side=300):
    buffer = io.BytesIO()
    Image.new("HSV", (side, side), (hue, 200, 200)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_set_shows_its_classes_and_some_photos():
    train = tuple(Sample(photo(10 * n), label=n % 2, name=f"<{n}>.png") for n in range(40))
    images = ImageSet(name="lunch", classes=("a & b", "c"), train=train, test=train[:3], warnings=("Few photos.",))
    shown = images._repr_html_()
    assert "43 photos, 2 classes" in shown
    assert "a &amp; b</td>" in shown
    assert shown.count("<img") == 16
    assert shown.count('title="a &amp; b: ') == 8
    assert "<0>" not in shown
    assert "Few photos." in shown
    assert "http" not in shown
    assert len(shown) < 80_000


def test_a_photo_that_cannot_be_read_is_left_out(tmp_path):
    train = (Sample(b"no image", 0, "a"), Sample(tmp_path / "missing.png", 1, "b"), Sample(photo(9), 1, "c"))
    shown = ImageSet(name="lunch", classes=("a", "b"), train=train)._repr_html_()
    assert shown.count("<img") == 1


def test_many_classes_are_counted():
    classes = tuple(f"class {n}" for n in range(30))
    assert "and 10 more classes" in ImageSet(name="x", classes=classes, train=())._repr_html_()


def test_labels_of_photos_with_several_are_counted_and_named():
    train = tuple(Sample(photo(n), labels, f"{n}.png") for n, labels in enumerate([(0, 1), (1,), (), (0, 1)]))
    images = ImageSet(name="reef", classes=("fish", "ray"), train=train, test=train[:1], multi_label=True)
    shown = images._repr_html_()
    assert "5 photos, 2 labels" in shown
    for row in (("fish", "2", "1"), ("ray", "3", "1"), ("no label", "1", "0")):
        assert re.search("".join(f"<td[^>]*>{cell}</td>" for cell in row), shown)
    assert {title for title in ("fish, ray: 0.png", "ray: 1.png", "no label: 2.png") if title in shown} == {
        "fish, ray: 0.png",
        "ray: 1.png",
        "no label: 2.png",
    }


def test_a_label_or_several_are_read_in_the_same_way():
    assert (Sample(b"", 2, "a").labels, Sample(b"", (0, 2), "a").labels, Sample(b"", (), "a").labels) == (
        (2,),
        (0, 2),
        (),
    )
    assert [Sample(b"", each, "a").label_text("xyz") for each in (1, (0, 2), ())] == ["y", "x, z", "no label"]
