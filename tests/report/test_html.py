import re
from html.parser import HTMLParser

import pytest
from scenes import encode, make_scene

from zoo.data.check.examine import check_images
from zoo.errors import DataError
from zoo.plugins.specs import ImageSet, Sample
from zoo.report.html import write_html_report

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


class Tags(HTMLParser):
    """Collects the tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def make_report(*, name="photos", label="cat", file="1.jpg", copies=1):
    same = encode(make_scene(1))
    train = [Sample(encode(make_scene(number + 10)), number % 2, f"train/{number}.jpg") for number in range(24)]
    train += [Sample(same, 0, f"train/x{number}-{file}") for number in range(copies)]
    train.append(Sample(b"\xff\xd8\xff", 1, f"train/broken {file}"))
    test = [
        Sample(same, 1, f"test/{file}"),
        *(Sample(encode(make_scene(n + 50)), n % 2, f"test/{n}.jpg") for n in range(22)),
    ]
    return check_images(ImageSet(name=name, classes=(label, "dog"), train=tuple(train), test=tuple(test), note=label))


def test_pairs_are_embedded_side_by_side(tmp_path):
    text = write_html_report(tmp_path / "page.html", make_report()).read_text()
    tags = Tags(text).tags
    pictures = [attrs["src"] for tag, attrs in tags if tag == "img"]
    assert len(pictures) == 4  # of the leak, and of the two labels
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in pictures)
    assert "identical files" in text
    assert "cannot be read" in text
    policy = next(attrs["content"] for tag, attrs in tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    assert {"src", "href", "srcset"} & {key for _, attrs in tags for key in attrs} == {"src"}
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in tags


def test_hostile_names_stay_text(tmp_path):
    hostile = make_report(name=HOSTILE, label=HOSTILE + "\u202e\x1b[31m", file=HOSTILE + "\x00.jpg")
    text = write_html_report(tmp_path / "page.html", hostile).read_text()
    tags = Tags(text).tags
    assert not {tag for tag, _ in tags} & {"script", "iframe", "object", "svg", "link"}
    assert not [key for _, attrs in tags for key in attrs if key.startswith("on")]
    assert all(attrs["src"].startswith("data:image/jpeg;") for tag, attrs in tags if tag == "img")
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "\\u202e" in text


def test_the_page_shows_the_first_of_many_pairs(tmp_path):
    text = write_html_report(tmp_path / "page.html", make_report(copies=130)).read_text()
    assert text.count('<div class="pair">') <= 100 + 100 + 12
    assert "30 more; --json lists them all." in text


def test_a_report_without_findings_says_so(tmp_path):
    photos = tuple(Sample(encode(make_scene(number)), number % 2, f"{number}.jpg") for number in range(48))
    images = ImageSet(name="fine", classes=("a", "b"), train=photos[:24], test=photos[24:])
    assert "No problems found." in write_html_report(tmp_path / "p.html", check_images(images)).read_text()


def test_an_earlier_page_is_replaced_but_no_other_file(tmp_path):
    report = make_report()
    page = write_html_report(tmp_path / "page.html", report)
    write_html_report(page, report)
    other = tmp_path / "photo.jpg"
    other.write_bytes(encode(make_scene(1)))
    with pytest.raises(DataError, match="is not a report of zoo data check"):
        write_html_report(other, report)
    assert other.read_bytes() == encode(make_scene(1))
