import json
import math
import sys
from types import SimpleNamespace

import pytest

from zoo.cli.terminal import console


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize(("share", "told"), [(0.931, "93.1 %"), (1.0, "100.0 %"), (None, "-"), (math.nan, "-")])
def test_percent(share, told):
    assert console.percent(share) == told


def test_accuracy_tells_half_the_width_of_its_interval():
    assert console.accuracy(0.931, (0.911, 0.947)) == "93.1 % ± 1.8"
    assert console.accuracy(0.931) == "93.1 %"
    assert console.accuracy(None, (0, 1)) == "-"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (192.3, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (None, "-"),
        (math.inf, "-"),
        (math.nan, "-"),
    ],
)
def test_duration(seconds, told):
    assert console.duration(seconds) == told


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (999, "999"), (1000, "1.0 k"), (999_960, "1.0 M"), (11_177_538, "11.2 M")]
)
def test_count(number, told):
    assert console.count(number) == told


@pytest.mark.parametrize(
    ("value", "told"), [(True, "yes"), (False, "no"), (None, "none"), (1e-4, "0.0001"), ("sgd", "sgd")]
)
def test_word(value, told):
    assert console.word(value) == told


def test_json_has_null_in_place_of_nan(capsys):
    console.write_json({"a": [math.nan, 1.0], "b": (math.inf,), "ü": "ü"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": [None, 1.0], "b": [None], "ü": "ü"}
    assert "ü" in out


def test_json_holds_names_that_are_no_text(capsys):
    console.write_json({"name": "photo-\udcff.jpg"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "photo-\udcff.jpg"}


def test_a_piped_table_is_aligned_and_never_cut(capsys):
    console.write_table(("name", "count"), [("a" * 200, "1"), ("b", "100")], right=(1,), indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  " + "a" * 200 + "      1"
    assert lines[2] == "  b" + " " * 199 + "    100"


def test_a_table_without_rows_has_its_header(capsys):
    console.write_table(("name", "count"), [])
    assert capsys.readouterr().out == "name  count\n"


def test_control_characters_are_written_out(capsys):
    console.write_table(("name",), [("a\x1b[31m\n",)])
    assert capsys.readouterr().out.splitlines()[1] == "a\\x1b[31m\\n"


def test_on_a_terminal_long_cells_are_folded_within_its_width(capsys, terminal):
    console.write_table(("name", "text"), [("[bold]x[/bold]", "many words " * 10)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert "[bold]x[/bold]" in lines[1]
    assert "rich" in sys.modules


def test_pairs_leave_empty_values_out_and_fold_long_ones(capsys, terminal):
    console.write_pairs([("name", "short"), ("empty", ""), ("other", "many words " * 10)], indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  name   short"
    assert lines[1].startswith("  other  many words")
    assert lines[2].startswith("         ")
    assert max(map(len, lines)) <= 50


def test_piped_pairs_are_not_folded(capsys):
    console.write_pairs([("name", "many words " * 30)])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_passphrase_is_asked_for_only_where_somebody_sits(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert console.passphrase_prompt() is None
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.prompt", lambda text, **how: (text, how))
    for twice in (False, True):
        how = {"hide_input": True, "confirmation_prompt": twice, "err": True}
        assert console.passphrase_prompt(twice=twice)("model.onnx.age") == str(("Passphrase of model.onnx.age", how))
