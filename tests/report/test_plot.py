import matplotlib as mpl
import pytest
from PIL import Image

from zoo.errors import RunError
from zoo.report.plot import DPI, class_labels, fit, headline, legend, panel, picture, readable, shorten, text_width


def pixels(path):
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hot dog", "hot dog"),
        ("$5 and $10_x^2", "$5 and $10_x^2"),
        ("e\u0301clair", "éclair"),
        ("Κύων собака", "Κύων собака"),
        ("\uff28\uff2f\uff34", "HOT"),
        ("热狗", "□□"),
        ("\U0001fae0\u200d!", "□!"),
        (" a\nb\tc\u00a0d ", "a b c d"),
        ("nul\0", "nul□"),
        ("\udcff", "□"),
        ("", ""),
    ],
)
def test_text_becomes_what_the_font_can_show(text, shown):
    assert readable(text) == shown


def test_class_labels_stay_distinct():
    assert class_labels(["cat", "热狗", "犬狗", "cat"]) == ("cat #0", "□□ #1", "□□ #2", "cat #3")
    long = [f"Canis lupus {middle} familiaris of the north" for middle in "ab"]
    first, second = class_labels(long, limit=20)
    assert first != second
    assert class_labels(["", "a"]) == (" #0", "a")


def test_long_text_loses_its_middle():
    assert shorten("photo_0001_final.jpg", 20) == "photo_0001_final.jpg"
    assert shorten("photo_0001_final.jpg", 11) == "photo…l.jpg"
    assert len(shorten("x" * 100, 30)) == 30


def test_text_is_fitted_to_a_width():
    def measure(text):
        return text_width(text, 9)

    assert fit("short", 1.0, measure=measure) == "short"
    shown = fit("a very long title " * 9, 1.0, measure=measure)
    assert "…" in shown
    assert 0.7 < measure(shown) <= 1.0


def test_a_picture_has_its_size_and_ignores_the_users_style(tmp_path):
    with mpl.rc_context({"axes.facecolor": "red", "savefig.facecolor": "red", "font.family": "no such font"}):
        with picture(tmp_path / "p.png", width=3, height=2) as figure:
            headline(figure, "Names $x^{ and 热狗", "below $")
            axes = panel(figure, left=0.5, bottom=0.5, width=2, height=1)
            handles = [axes.plot([0, 1])[0], axes.plot([1, 0])[0]]
            legend(figure, handles, ["_hidden?", "$"], columns=2)
        assert mpl.rcParams["axes.facecolor"] == "red"
    image = pixels(tmp_path / "p.png")
    assert image.size == (3 * DPI, 2 * DPI)
    assert (255, 0, 0) not in {colour for _, colour in image.getcolors(1 << 16)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_hidden?", "$"]


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(RunError, match=r"Cannot write .*p\.png"), picture(tmp_path / "no" / "p.png", width=1, height=1):
        pass


def test_the_picture_is_not_written_when_drawing_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "p.png", width=1, height=1):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
