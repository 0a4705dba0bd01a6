"""Every parameter of every command is given what it cannot use, and answers with an error of its own."""

import json
import os
import sys

import click
import pytest
from run_files import VALID_FILES

from zoo.cli.main import cli
from zoo.runs.record import RECORD

pytestmark = pytest.mark.slow

TEXTS = ("", ".", "x" * 300, "a\nb\U0001f600")
PATHS = ("folder", "garbage.onnx", os.devnull)
NUMBERS = ("-1", "nan", "9" * 30)
UNDECODABLE = () if sys.platform in ("win32", "darwin") else ("\udcff.png",)  # not UTF-8
# Enough to reach the parameters, and never enough to train, serve, export or install anything.
BASES = {
    "finetune": ["no-such-backbone", "--data", "no-such-data"],
    "compare": ["no-such-backbone", "--data", "no-such-data", "--seeds", "0,1"],
    "predict": ["r-1", "photo.png"],
    "evaluate": ["r-1"],
    "export": ["no-such-run"],
    "convert": ["no-such-run", "--to", "timm"],
    "demo": ["no-such-run", "--port", "0"],
    "recipe": ["r-1"],
    "info": ["r-1"],
    "show": ["no-such-data"],
    "data check": ["no-such-data"],
    "inspect": ["garbage.onnx"],
    "verify": ["r-1"],
    "sign": ["no-such-run", "--new-key", "new.key"],
    "encrypt": ["no-such-run", "--new-key", "new.key"],
    "decrypt": ["garbage.onnx.age"],
    "runs tag": ["r-1", "hotdog@prod"],
    "runs rename": ["r-1", "r-1"],
    "runs delete": ["no-such-run"],
    "runs untag": ["hotdog@9"],
    "new-plugin": ["folder"],
    "completion": ["no-such-shell"],
}


def _walk(command, ctx, words=()):
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            yield from _walk(inner, click.Context(inner, info_name=name, parent=ctx), (*words, name))
    else:
        yield " ".join(words), command


COMMANDS = dict(_walk(cli, click.Context(cli, info_name="zoo")))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.onnx").touch()
    for suffix in ("csv", "onnx", "toml", "onnx.age"):
        (tmp_path / f"garbage.{suffix}").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "runs" / "r-1").mkdir(parents=True)
    (tmp_path / "runs" / "r-1" / RECORD).write_text(json.dumps(VALID_FILES[RECORD]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


def _wrong_lines(name, command):
    """Yields the command line with one value replaced or added, for each parameter."""
    base = BASES.get(name, [])
    places = [each for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option) and not each.is_flag]
    # Those of `finetune` that become fields of its configuration are checked in one place.
    values = (*TEXTS, *PATHS, *NUMBERS, *UNDECODABLE) if len(options) < 20 else ("x" * 300,)
    for value in values:
        for place in range(len(places)):
            yield [*base[:place], value, *base[place + 1 :]]
        for option in options:
            yield [*base, option.opts[0], value]
    for option in options[:3]:
        yield [*base, option.opts[0], "x", option.opts[0], "y"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_value_is_an_error_with_a_message(run, name):
    for line in _wrong_lines(name, COMMANDS[name]):
        code, out, err = run(*name.split(), *line)  # any exception but SystemExit fails the test
        assert code in (0, 1, 2), (line, code)
        assert "Traceback" not in out + err, line
        assert code == 0 or err.strip() or out.strip(), line
