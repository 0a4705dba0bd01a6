import functools
import os
import statistics
import subprocess
import sys
import warnings

import click
import pytest
from plugin_helpers import raising

import zoo
from zoo.cli.main import cli, main
from zoo.errors import ConfigError, ImageWarning
from zoo.plugins.calls import call_plugin
from zoo.plugins.discovery import Plugin

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


def add_failing(commands, error):
    def fail():
        raise error

    commands["fail"] = click.Command("fail", callback=fail)


def test_a_zoo_error_is_two_lines_on_stderr_and_exit_code_1(run, commands):
    add_failing(commands, ConfigError("The value is wrong.", hint="Choose another."))
    assert run("fail") == (1, "", "error: The value is wrong.\nChoose another.\n")


def test_a_zoo_error_without_a_hint_is_one_line(run, commands):
    add_failing(commands, ConfigError("The value is wrong."))
    assert run("fail") == (1, "", "error: The value is wrong.\n")


def test_wrong_usage_exits_with_2(run, commands):
    hint = "'zoo list --help' lists all options."
    assert run("list", "--nosuch") == (2, "", f"error: There is no option '--nosuch'.\n{hint}\n")
    hint = f"Did you mean --runs? {hint}"
    assert run("list", "--run", "x") == (2, "", f"error: There is no option '--run'.\n{hint}\n")
    code, out, err = run("predict")
    assert (code, out) == (2, "")
    assert err == "error: Missing argument 'RUN-OR-FILE'.\n'zoo predict --help' shows the usage.\n"


@pytest.mark.skipif(not hasattr(click.exceptions, "NoSuchCommand"), reason="this click does not name the command")
def test_a_group_in_a_group_suggests_close_matches_too(run, commands):
    code, _, err = run("data", "chek")
    assert code == 2
    assert err == "error: There is no command 'chek'.\nDid you mean check? 'zoo data --help' lists all commands.\n"


def test_a_group_without_a_command_shows_its_help(run, commands):
    code, out, err = run()
    assert code in (0, 2)  # click 8.1 and later
    assert "Usage: zoo [OPTIONS] COMMAND" in out + err
    assert "error:" not in err


def test_an_interrupt_exits_with_130(run, commands):
    add_failing(commands, KeyboardInterrupt())
    code, _, err = run("fail")
    assert code == 130
    assert "Traceback" not in err


def test_any_other_exception_is_a_bug_and_shows_its_traceback(commands):
    add_failing(commands, ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        main(["fail"])


def test_the_version_is_that_of_the_package(run, commands):
    assert run("--version") == (0, f"finetune-zoo {zoo.__version__}\n", "")


def test_help_lists_every_command_and_each_can_be_imported(run, commands):
    code, out, _ = run("--help")
    assert code == 0
    for name in cli.lazy:
        assert f"  {name} " in out
        assert run(name, "--help")[0] == 0


def test_python_dash_m_is_the_same():
    done = subprocess.run([sys.executable, "-m", "zoo", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: zoo [OPTIONS] COMMAND")


PROCESS = """
import atexit
from zoo.cli.main import cli, run

@cli.command()
def bug():
    raise ZeroDivisionError("a bug")

@cli.command()
def fine():
    atexit.register(print, "at the end")

class Slow:
    def __del__(self):
        print("torn down")

slow = Slow()
run()
"""


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [("fine", 0, "at the end\n", ""), ("nothing", 2, "", "error:"), ("bug", 1, "", "ZeroDivisionError: a bug")],
)
def test_a_process_ends_without_a_teardown_but_with_its_output_and_exit_code(command, code, out, err):
    done = subprocess.run([sys.executable, "-c", PROCESS, command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, out)
    assert err in done.stderr


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="processor time of a child process is read with os.wait4")
def test_help_takes_at_most_one_and_a_half_times_as_long_as_bare_click(tmp_path):
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
    ("given", "count"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_spin_shortly_unless_the_environment_says_otherwise(run, commands, monkeypatch, given, count):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what the command sets
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    run("--version")
    assert os.environ.get("GOMP_SPINCOUNT") == count


LEAVES_SOMETHING = """
import {module}, sys, time, click
from zoo.cli import main
from zoo.display import console
from zoo.plugins.calls import call_plugin
from zoo.plugins.discovery import Plugin

def leave():
    plugin = Plugin(key="acme:nets", qualifier="acme", distribution="acme", version="1")
    call_plugin(plugin, "loading 'cats'", {module}.{kind}(target=time.sleep, args=(60,), name="uploader").start)
    console.echo("done")
    sys.exit(3)

if __name__ == "__main__":
    main.LEFT_RUNNING_SECONDS = 0.2
    main.cli.add_command(click.Command("leave", callback=leave))
    main.run()
"""


@pytest.mark.parametrize(("module", "kind"), [("threading", "Thread"), ("multiprocessing", "Process")])
def test_what_a_plugin_left_running_does_not_keep_the_process_alive(tmp_path, module, kind):
    program = tmp_path / "leaves.py"
    program.write_text(LEAVES_SOMETHING.format(module=module, kind=kind))
    done = subprocess.run(
        [sys.executable, str(program), "leave"], capture_output=True, text=True, check=False, timeout=30
    )
    task = f"the {kind.lower()} 'uploader'"
    assert (done.returncode, done.stdout) == (3, "done\n")
    assert done.stderr.splitlines() == [
        f"warning: The plugin acme:nets left {task} running after loading 'cats': it keeps the process alive.",
        f"warning: The process ends without waiting for {task} of the plugin acme:nets.",
    ]


def test_an_interrupt_of_a_plugin_says_what_it_was_doing(run, commands):
    plugin = Plugin(key="acme:nets", qualifier="acme", distribution="acme", version="1")
    callback = functools.partial(call_plugin, plugin, "loading 'cats'", raising(KeyboardInterrupt()))
    commands["load"] = click.Command("load", callback=callback)
    code, out, err = run("load")
    assert (code, out) == (130, "")
    assert err.strip().splitlines() == [
        "error: Interrupted while the plugin acme:nets was loading 'cats'.",
        "ZOO_BLOCK_PLUGINS=acme:nets leaves it out.",
    ]


@pytest.mark.parametrize(
    ("photos", "last"),
    [
        (1, "warning: 0.tif: the image is damaged (Fax4Decode: Bad code word)."),
        (5, "warning: 4.tif: the image is damaged (Fax4Decode: Bad code word)."),
        (6, "warning: 1 more photo is damaged, 6 in all."),
        (1234, "warning: 1,229 more photos are damaged, 1,234 in all."),
    ],
)
def test_the_first_warnings_about_photos_are_a_line_each_and_the_others_are_counted(run, commands, photos, last):
    def warn():
        for number in range(photos):
            text = f"{number}.tif: the image is damaged (Fax4Decode: Bad code word)."
            warnings.warn(text, ImageWarning, stacklevel=1)

    commands["warn"] = click.Command("warn", callback=warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run("warn")
    assert (code, out, err.splitlines()[-1]) == (0, "", last)
    assert len(err.splitlines()) == min(photos, 6)
