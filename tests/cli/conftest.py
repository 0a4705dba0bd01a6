"""Runs the command line in this process, with plugins made up for a test."""

from functools import partial
from types import SimpleNamespace

import pytest

import zoo.plugins.entry_points
from zoo import hookimpl
from zoo.cli.main import cli, main
from zoo.plugins.entry_points import Candidate


@pytest.fixture
def run(capsys):
    """Runs the command line in this process; returns the exit code, stdout and stderr."""

    def run_zoo(*args):
        with pytest.raises(SystemExit) as stopped:
            main(list(args))
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run_zoo


@pytest.fixture
def commands(monkeypatch):
    """The built-in commands, without those of plugins and of earlier tests; a test may add more."""
    monkeypatch.setattr(cli, "commands", {})
    built_in = {name: command for name, command in cli.lazy.items() if name not in cli._owners}
    monkeypatch.setattr(cli, "lazy", built_in)
    monkeypatch.setattr(cli, "_plugins_added", True)
    monkeypatch.setattr(cli, "_owners", {})
    monkeypatch.setattr(cli, "_problems", [])
    return cli.commands


@pytest.fixture
def install_plugins(monkeypatch, commands):
    """Returns a function that installs plugins: each is its hook `zoo_commands`, or an error raised on import."""
    monkeypatch.setattr(cli, "_plugins_added", False)

    def install(**plugins):
        def load(plugin):
            if isinstance(plugin, BaseException):
                raise plugin
            return SimpleNamespace(zoo_commands=hookimpl(plugin))

        listed = [
            Candidate(entry=entry, distribution="acme", version="1.0", load=partial(load, plugin))
            for entry, plugin in plugins.items()
        ]
        monkeypatch.setattr(zoo.plugins.entry_points, "find_plugins", lambda: listed)

    return install
