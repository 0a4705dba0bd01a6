import os
import statistics
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import click
import pytest

import zoo.plugins.entry_points
from zoo import hookimpl
from zoo.cli.main import LazyGroup, cli, main
from zoo.errors import ConfigError
from zoo.plugins.entry_points import Candidate

BARE = """
import click

@click.group()
def cli():
    "A bare program."

@cli.command()
def one():
    "The only command."

cli()
"""


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
    """The built-in commands without any that a plugin or an earlier test added; more may be put in."""
    monkeypatch.setattr(cli, "commands", {})
    monkeypatch.setattr(cli, "lazy", dict(cli.lazy))
    monkeypatch.setattr(cli, "_asked", True)
    monkeypatch.setattr(cli, "_owners", {})
    return cli.commands


@pytest.fixture
def announce(monkeypatch, commands):
    """Returns a function that announces plugins, each a function that is given the group, or raises on import."""
    monkeypatch.setattr(cli, "_asked", False)

    def announce_plugins(**plugins):
        def load(plugin):
            if isinstance(plugin, BaseException):
                raise plugin
            return SimpleNamespace(zoo_commands=hookimpl(plugin))

        listed = [
            Candidate(entry=entry, distribution="acme", version="1.0", load=partial(load, plugin))
            for entry, plugin in plugins.items()
        ]
        monkeypatch.setattr(zoo.plugins.entry_points, "find_plugins", lambda: listed)

    return announce_plugins


def add(commands, error):
    def fail():
        raise error

    commands["fail"] = click.Command("fail", callback=fail)


def test_a_zoo_error_is_two_lines_on_stderr_and_exit_code_1(run, commands):
    add(commands, ConfigError("The value is wrong.", hint="Say another."))
    assert run("fail") == (1, "", "error: The value is wrong.\nSay another.\n")


def test_a_zoo_error_without_a_hint_is_one_line(run, commands):
    add(commands, ConfigError("The value is wrong."))
    assert run("fail") == (1, "", "error: The value is wrong.\n")


def test_wrong_usage_exits_with_2(run, commands):
    code, _, err = run("list", "--nosuch")
    assert code == 2
    assert "--nosuch" in err


def test_an_interrupt_exits_with_130(run, commands):
    add(commands, KeyboardInterrupt())
    code, _, err = run("fail")
    assert code == 130
    assert "Traceback" not in err


def test_any_other_exception_is_a_bug_and_keeps_its_traceback(commands):
    add(commands, ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        main(["fail"])


@pytest.mark.parametrize(("typed", "near"), [("fintune", "finetune"), ("lst", "list"), ("new_plugin", "new-plugin")])
def test_an_unknown_command_suggests_near_ones(run, commands, typed, near):
    code, _, err = run(typed)
    assert code == 2
    assert f"There is no command '{typed}'. Did you mean {near}" in err


def test_an_unknown_command_without_near_ones_says_where_all_are(run, commands):
    assert "'zoo --help' lists all." in run("qqq")[2]


def test_version(run, commands):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("finetune-zoo 0.")


def test_help_lists_every_command_and_every_one_can_be_imported(run, commands):
    code, out, _ = run("--help")
    assert code == 0
    for name in cli.lazy:
        assert f"  {name} " in out
        assert run(name, "--help")[0] == 0


def test_python_dash_m_is_the_same():
    done = subprocess.run([sys.executable, "-m", "zoo", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: zoo [OPTIONS] COMMAND")


def test_a_plugin_adds_commands_eager_and_lazy(run, announce):
    def zoo_commands(cli):
        cli.add_command(click.Command("paint", callback=lambda: click.echo("painted"), help="Paint it."))
        cli.add_lazy("encode", "json:dumps", "Encode it.")

    announce(acme=zoo_commands)
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert "  paint   Paint it." in out
    assert "  encode  Encode it." in out
    assert run("paint") == (0, "painted\n", "")


@pytest.mark.parametrize("error", [ImportError("No module\nnamed 'x'"), SystemExit(3)])
def test_a_plugin_that_fails_is_one_line_and_the_others_go_on(run, announce, error):
    def zoo_commands(cli):
        cli.add_command(click.Command("paint", help="Paint it."))

    def halfway(cli):
        cli.add_command(click.Command("half"))
        raise ValueError("halfway")

    announce(broken=error, halfway=halfway, good=zoo_commands)
    code, out, err = run("--help")
    assert code == 0
    assert "paint" in out
    assert "half" not in out
    first, second = err.splitlines()
    assert first.startswith(f"warning: the plugin acme:broken cannot add its commands: {type(error).__name__}: ")
    assert second == "warning: the plugin acme:halfway cannot add its commands: ValueError: halfway"


def test_a_plugin_cannot_take_the_place_of_a_command(run, announce):
    def zoo_commands(cli):
        cli.add_command(click.Command("list", callback=lambda: click.echo("mine")))
        cli.add_command(click.Command("paint"))

    announce(first=zoo_commands, second=zoo_commands)
    _, _, err = run("--help")
    assert err.splitlines() == [
        "warning: the plugin acme:first cannot add 'list': that command belongs to the zoo",
        "warning: the plugin acme:second cannot add 'list': that command belongs to the zoo",
        "warning: the plugin acme:second cannot add 'paint': that command belongs to acme:first",
    ]
    assert run("list", "--kind", "heads")[1] != "mine\n"


def test_a_built_in_command_asks_no_plugin(run, announce):
    announce(broken=ImportError("never imported"))
    assert "acme" not in run("new-plugin", "--help")[2]


def test_blocked_plugins_are_not_asked(run, announce, monkeypatch):
    announce(broken=ImportError("never imported"))
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "acme:broken")
    assert run("--help")[2] == ""


@pytest.mark.filterwarnings("default")
def test_a_blocked_name_that_is_no_plugin_is_warned_of(run, announce, monkeypatch):
    announce()
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "other")
    assert run("--help")[2] == "warning: ZOO_BLOCK_PLUGINS names 'other', which is no installed plugin\n"


def test_a_command_that_cannot_be_imported_is_the_plugins_fault(run, announce):
    announce(nets=lambda cli: cli.add_lazy("train-nets", "no_such_module:command", "Train."))
    code, out, err = run("train-nets")
    assert (code, out) == (1, "")
    assert err.startswith("error: The plugin acme:nets cannot run 'train-nets': ModuleNotFoundError")
    assert "ZOO_BLOCK_PLUGINS=acme:nets" in err


def test_plugins_that_are_not_asked_for_commands_have_none():
    from zoo.cli.main import _WITHOUT_COMMANDS
    from zoo.plugins.registry import load_registry

    skipped = {p.key.partition(":")[2]: p for p in load_registry().plugins if p.built_in}
    assert {entry for entry in _WITHOUT_COMMANDS if skipped[entry].add_commands} == set()


def test_a_lazy_target_needs_both_halves():
    with pytest.raises(ValueError, match="'module:attribute'"):
        LazyGroup().add_lazy("x", "module", "Help.")


@pytest.mark.skipif(os.name != "posix", reason="pipes break with a signal of their own elsewhere")
def test_a_reader_who_leaves_is_no_error():
    command = [sys.executable, "-m", "zoo", "info", "d2l"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="processor time of a child process is read with os.wait4")
def test_help_costs_at_most_half_more_than_a_bare_program(tmp_path):
    bare = tmp_path / "bare.py"
    bare.write_text(BARE)
    # With byte code, as after a first run; processor time, so that a busy machine does not matter.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "bytecode")

    def seconds(*command):
        devnull = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        child = os.posix_spawn(sys.executable, [sys.executable, *command], environment, file_actions=devnull)
        _, status, usage = os.wait4(child, 0)
        assert status == 0
        return usage.ru_utime + usage.ru_stime

    program = "import sys; sys.argv = ['zoo', '--help']; from zoo.cli.main import main; main()"
    for _ in range(2):
        seconds(str(bare), "--help"), seconds("-c", program)
    times = [(seconds(str(bare), "--help"), seconds("-c", program)) for _ in range(11)]
    of_bare, of_zoo = (statistics.median(column) for column in zip(*times, strict=True))
    assert of_zoo <= 1.5 * of_bare


@pytest.mark.parametrize(
    ("said", "count"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_waiting_threads_soon_sleep_unless_the_environment_says_otherwise(run, commands, monkeypatch, said, count):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    run("--version")
    assert os.environ.get("GOMP_SPINCOUNT") == count
