import re
import sys
from types import SimpleNamespace

import pytest

from zoo.utils.markup import bar, block, escape, heading, image, in_ipython, in_notebook, line, pairs, table

HOSTILE = '<script>alert("1")</script>\n\x1b[31m'


@pytest.mark.parametrize(
    "shown",
    [
        heading(HOSTILE, HOSTILE),
        line(HOSTILE, warning=True),
        pairs([(HOSTILE, HOSTILE)]),
        table([HOSTILE], [[HOSTILE]]),
        image("data:image/png;base64,AA==", title=HOSTILE),
        block(HOSTILE),
    ],
)
def test_text_is_escaped(shown):
    assert "<script" not in shown
    assert "\x1b" not in shown
    assert "&lt;script&gt;" in shown


def test_markup_is_not_escaped_twice():
    assert escape(escape("a & b")) == "a &amp; b"
    assert bar(0.5) in table(["share"], [[bar(0.5)]])


@pytest.mark.parametrize(("share", "percent"), [(0.25, "25.0"), (-1, "0.0"), (7, "100.0")])
def test_a_bar_is_never_wider_than_its_place(share, percent):
    assert f"width:{percent}%" in bar(share)


def test_empty_values_are_left_out():
    assert pairs([("a", ""), ("b", None), ("c", 0)]).count("<tr") == 1


def test_text_has_the_colour_of_the_page():
    shown = block(heading("a"), pairs([("b", "c")]), table(["d"], [["e"]]))
    assert set(re.findall(r"[^-]color:([^;\"]+)", shown)) == {"inherit"}


@pytest.mark.parametrize(
    ("shell", "ipython", "notebook"),
    [(None, False, False), (SimpleNamespace(), True, False), (SimpleNamespace(kernel=1), True, True)],
)
def test_notebooks_and_terminals_of_ipython_are_told_apart(monkeypatch, shell, ipython, notebook):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert (in_ipython(), in_notebook()) == (ipython, notebook)


def test_without_ipython_there_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not in_ipython()
