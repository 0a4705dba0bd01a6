import matplotlib as mpl
import pytest
from matplotlib.offsetbox import TextArea
from pictures import count_colours, open_rgb, texts_of

from zoo.errors import RunError
from zoo.report.plot import DPI, class_labels, fit, headline, picture, readable, shorten, text_width


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_readable_keeps_what_the_font_can_draw(text, expected):
    assert readable(text) == expected


def test_class_labels_stay_distinct():
    assert class_labels(["cat", "热狗", "犬狗", "cat"]) == ("cat #0", "□□ #1", "□□ #2", "cat #3")
    long = [f"Canis lupus {middle} familiaris of the north" for middle in "ab"]
    first, second = class_labels(long, limit=20)
    assert first != second
    assert class_labels(["", "a"]) == (" #0", "a")


def test_shorten_removes_the_middle():
    assert shorten("photo_0001_final.jpg", 20) == "photo_0001_final.jpg"
    assert shorten("photo_0001_final.jpg", 11) == "photo…l.jpg"
    assert len(shorten("x" * 100, 30)) == 30


@pytest.mark.parametrize("bold", [False, True])
def test_fit_shortens_to_a_width(bold):
    assert fit("short", 1.0, size=9, bold=bold) == "short"
    fitted = fit("a very long title " * 9, 1.0, size=9, bold=bold)
    assert "…" in fitted
    assert 0.7 < text_width(fitted, 9, bold=bold) <= 1.0


def test_a_picture_grows_with_its_content_and_ignores_the_users_style(tmp_path):
    with mpl.rc_context({"axes.facecolor": "red", "savefig.facecolor": "red", "font.family": "no such font"}):
        with picture(tmp_path / "p.png", width=3, height=2) as figure:
            headline(figure, "Names $x^{ and 热狗", "below $", below=[TextArea("box")])
            axes = figure.add_axes((0, 0, 1, 1))
            figure.legend([axes.plot([0, 1])[0], axes.plot([1, 0])[0]], ["_hidden?", "$"])
        assert mpl.rcParams["axes.facecolor"] == "red"
    width, height = open_rgb(tmp_path / "p.png").size
    assert width > 3 * DPI
    assert height > 2 * DPI
    assert (255, 0, 0) not in count_colours(tmp_path / "p.png")
    assert {"Names $x^{ and □□", "below $", "box", "_hidden?", "$"} <= set(texts_of(figure))


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"Cannot write .*p\.png"), picture(tmp_path / "no" / "p.png"):
        pass


def test_no_picture_is_written_if_drawing_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "p.png"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
