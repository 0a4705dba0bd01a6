import json
import math
import sys
from types import SimpleNamespace

import pytest

from zoo.display import console


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")


def test_json_has_null_in_place_of_nan(capsys):
    console.write_json({"a": [math.nan, 1.0], "b": (math.inf,), "ü": "ü"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": [None, 1.0], "b": [None], "ü": "ü"}
    assert "ü" in out


def test_json_escapes_names_that_are_not_utf_8(capsys):
    console.write_json({"name": "photo-\udcff.jpg"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "photo-\udcff.jpg"}


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", None])
def test_json_is_ascii_where_stdout_is_not_unicode(monkeypatch, encoding):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(encoding=encoding))
    text = console.format_json({"name": "热狗 ±"})
    assert text.isascii()
    assert json.loads(text) == {"name": "热狗 ±"}


def test_a_piped_table_is_aligned_and_never_truncated(capsys):
    console.write_table(("name", "count"), [("a" * 200, "1"), ("b", "100")], right=(1,), indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  " + "a" * 200 + "      1"
    assert lines[2] == "  b" + " " * 199 + "    100"


def test_a_table_without_rows_has_its_header(capsys):
    console.write_table(("name", "count"), [])
    assert capsys.readouterr().out == "name  count\n"


def test_control_characters_are_escaped(capsys):
    console.write_table(("name",), [("a\x1b[31m\n",)])
    assert capsys.readouterr().out.splitlines()[1] == "a\\x1b[31m\\n"


def test_on_a_terminal_long_cells_wrap_within_its_width(capsys, terminal):
    console.write_table(("name", "text"), [("[bold]x[/bold]", "many words " * 10)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert "[bold]x[/bold]" in lines[1]
    assert "rich" in sys.modules


def test_pairs_skip_empty_values_and_wrap_long_ones(capsys, terminal):
    console.write_pairs([("name", "short"), ("empty", ""), ("other", "many words " * 10)], indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  name   short"
    assert lines[1].startswith("  other  many words")
    assert lines[2].startswith("         ")
    assert max(map(len, lines)) <= 50


def test_piped_pairs_do_not_wrap(capsys):
    console.write_pairs([("name", "many words " * 30)])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_finding_has_its_advice_below(capsys):
    console.write_finding("warning", "memory", "1.0 GiB", "Close other programs.")
    console.write_finding("ok", "a long name in front", "Fine.")
    console.write_detail("and more")
    assert capsys.readouterr().out.splitlines() == [
        "warning  memory          1.0 GiB",
        " " * 25 + "-> Close other programs.",
        "ok       a long name in front",
        " " * 25 + "Fine.",
        " " * 25 + "and more",
    ]


def test_further_lines_of_a_message_are_indented():
    assert console.format_message("first\nerror: not one\x1b") == "first\n  error: not one\\x1b"


def test_a_passphrase_is_requested_only_on_a_terminal(monkeypatch):
    for stdin in (None, SimpleNamespace(isatty=lambda: False)):
        monkeypatch.setattr("sys.stdin", stdin)
        assert console.passphrase_prompt() is None
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.prompt", lambda text, **how: (text, how))
    for twice in (False, True):
        how = {"hide_input": True, "confirmation_prompt": twice, "err": True}
        assert console.passphrase_prompt(twice=twice)("model.onnx.age") == str(("Passphrase of model.onnx.age", how))
