"""The commands of the Makefile: what `make quickstart` runs exists, and `make setup` installs with or without uv."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from zoo.cli.main import cli

ROOT = Path(__file__).parent.parent
FALLBACK = "uv cannot install the packages here"
# In place of Python: it logs its arguments, creates empty environments, and cannot install uv if there is a file no-uv.
PYTHON = """#!/bin/sh
echo "python $*" >> {folder}/log
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *" uv") test ! -e {folder}/no-uv && cp {folder}/uv {folder}/venv/bin/uv ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >> {folder}/log
test ! -e {folder}/no-packages
"""

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="needs make and a POSIX shell"
)


def make(*arguments):
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def setup(tmp_path):
    """Runs `make setup` with programs that only log their arguments; returns what it prints, and the log."""
    for name, text in (("python", PYTHON), ("uv", UV)):
        (tmp_path / name).write_text(text.format(folder=tmp_path), "utf-8")
        (tmp_path / name).chmod(0o755)

    def run(uv):
        result = make("setup", f"PYTHON={tmp_path / 'python'}", f"VENV={tmp_path / 'venv'}", f"UV={uv}")
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "venv" / ".ready").exists()
        return result.stdout, (tmp_path / "log").read_text("utf-8").splitlines()[1:]  # without the check of the version

    return run


def test_setup_installs_with_the_uv_on_the_path(setup, tmp_path):
    (tmp_path / "venv").mkdir()
    output, log = setup(tmp_path / "uv")
    assert [line.split()[:2] for line in log] == [["uv", "venv"], ["uv", "pip"]]
    assert FALLBACK not in output


def test_setup_gets_a_uv_of_its_own(setup):
    output, log = setup("")
    assert [line.split()[:3] for line in log] == [
        ["python", "-m", "venv"],
        ["python", "-m", "pip"],
        ["uv", "pip", "install"],
    ]
    assert FALLBACK not in output


@pytest.mark.parametrize("missing", ["no-uv", "no-packages"])
def test_setup_falls_back_to_pip(setup, tmp_path, missing):
    (tmp_path / missing).touch()
    output, log = setup("")
    assert output.count(FALLBACK) == 1
    assert (
        log[-1]
        == "python -m pip install --quiet --constraint constraints.txt --editable ./export --editable . --group dev"
    )


def test_setup_falls_back_to_pip_where_the_uv_on_the_path_fails(setup, tmp_path):
    (tmp_path / "no-packages").touch()
    output, log = setup(tmp_path / "uv")
    assert output.count(FALLBACK) == 1
    assert log[-1].startswith("python -m pip install")


def test_the_commands_of_the_quickstart_exist():
    text = make("--dry-run", "quickstart").stdout.replace("\\\n", " ")
    commands = re.findall(r"\.venv/bin/zoo ([^;\n]+)", text)
    suggested = [line.partition("#")[0] for line in re.findall(r'echo "  zoo (.*?)"', text)]
    assert [command.split()[0] for command in commands] == ["finetune", "data", "export", "predict"]
    for command in [*commands, *suggested]:
        name, found, rest = cli.resolve_command(click.Context(cli), shlex.split(command.replace("$run", "some-run")))
        assert found is not None
        assert found.make_context(name, rest)
