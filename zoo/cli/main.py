"""The command line: its commands, and the one place where errors become messages and exit codes.

Exit codes: 0; 1 for a `ZooError`; 2 for wrong usage; 3 if another process of the same job failed, which prints its own
message; 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP. Any other exception is a bug and shows its traceback.
Nothing slow is imported here: a help page must cost little more than click itself.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import click

from zoo.cli.groups import ZooGroup, unknown_command
from zoo.display.stdout import OutputError, checked_stderr, checked_stdout, discard_stdout
from zoo.display.warning_lines import WarningLines
from zoo.errors import OtherProcessError, ZooError, did_you_mean
from zoo.utils.interrupts import Interrupts, Terminated
from zoo.utils.lazy_dynamo import defer_dynamo_import
from zoo.utils.text import short_repr

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LEFT_RUNNING_SECONDS = 10.0  # for which a command that is done waits for what plugins left running
# Newer than the oldest click that is supported: nothing is an instance of an empty tuple.
_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
_NO_SUCH_COMMAND: Any = getattr(click.exceptions, "NoSuchCommand", ())
_COMMANDS = {
    "Train": {
        "finetune": "Fine-tune a backbone on photos.",
        "best": "Find the best model that can be trained within some minutes.",
        "recipe": "Print the settings of a run as a recipe.",
        "compare": "Compare values of options, or seeds, and plot the curves.",
        "tune": "Search for the best values of options.",
    },
    "Use a run": {
        "predict": "Classify photos.",
        "evaluate": "Measure the accuracy of a run or an exported file.",
        "report": "Write all that is known of a run as one HTML page.",
        "stress": "Measure how the accuracy falls when photos are changed.",
        "runs": "List, tag, rename and delete runs.",
    },
    "Explore": {
        "list": "List backbones, heads, datasets and runs.",
        "info": "Show the details of a run, backbone, head, dataset, recipe, loss ...",
        "data": "Check a dataset for leaks, duplicates and broken files.",
        "show": "Write a contact sheet of a dataset's photos.",
    },
    "Set up": {
        "plugins": "List the plugins, what they provide and what failed.",
        "doctor": "Check the installation.",
        "completion": "Print the script for completion in bash, zsh or fish.",
        "new-plugin": "Create a plugin project with a passing test.",
    },
}


def _print_version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        import zoo

        click.echo(f"finetune-zoo {zoo.__version__}")
        ctx.exit()


@click.group(
    cls=ZooGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nFirst steps:\n  zoo finetune resnet18 --data hotdog\n  zoo predict RUN photo.jpg",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """A model zoo for image classifiers: fine-tune any backbone with any head on your photos."""


for _section, _commands in _COMMANDS.items():
    for _name, _help in _commands.items():
        cli.add_lazy(_name, f"zoo.cli.commands.{_name.replace('-', '_')}:command", _help, section=_section)


def main(args: list[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its exit code.

    Args:
        args: The command line behind ``zoo``; the arguments of the process if None.
    """
    if "_ZOO_COMPLETE" in os.environ:
        from zoo.cli.completion import answer

        sys.exit(answer(cli))
    warning_lines = WarningLines()
    warnings.showwarning = warning_lines.show
    defer_dynamo_import()
    _shorten_thread_spinning()
    with checked_stderr(), checked_stdout():
        status = _run(args)
        warning_lines.summarise()
    if status and "WORLD_SIZE" in os.environ:
        from zoo.training.distributed.process_group import end

        end(status)
    sys.exit(status)


def run() -> NoReturn:
    """Runs the command line as a process of its own, which ends at once after its last exit function.

    Freeing every object and unloading torch's libraries takes another 0.4 to 1 s, and has no effect.
    """
    status: Any = 1  # of an exception whose traceback is shown

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or its reader is gone
                stream.flush()
        os._exit(status)

    atexit.register(end)  # before all other exit functions, so that it runs after them
    try:
        main()
    except SystemExit as stop:
        status = stop.code
        raise
    finally:
        _end_what_plugins_left()


def _end_what_plugins_left() -> None:
    """Ends the process after a moment even if a plugin left a thread or a process running, for which Python waits."""
    if "zoo.plugins.supervision" not in sys.modules:  # no plugin was called
        return
    from zoo.plugins.supervision import describe_left_running, kill_children

    def end() -> None:
        time.sleep(LEFT_RUNNING_SECONDS)
        if running := describe_left_running():
            _print_warning(f"The process ends without waiting for {running}.")
            kill_children()  # an exit function of Python's waits for them
            atexit._run_exitfuncs()  # the last one ends the process

    if describe_left_running():
        threading.Thread(target=end, daemon=True).start()


def _run(args: list[str] | None) -> int:
    """Runs a command, prints its error, and returns its exit code."""
    try:
        with Interrupts().handled(), _process_session():
            status = cli.main(args, prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()  # while an error can still be caught
    except OtherProcessError:
        return 3
    except ZooError as error:
        _print_error(error.message, error.hint)
        if isinstance(error, OutputError):
            discard_stdout()
        return 1
    except click.ClickException as error:
        _print_click_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:  # click turns an interrupt into Abort
        stops = (stop, stop.__cause__)
        for note in (note for each in stops for note in getattr(each, "__notes__", ())):
            message, _, hint = note.partition("\n")
            _print_error(message, hint)
        return 128 + next((each.number for each in stops if isinstance(each, Terminated)), signal.SIGINT)
    except BrokenPipeError:  # the reader is gone, as in `zoo list | head`
        discard_stdout()
        return 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        # Nothing but the command line has such names, and any option may be one.
        _print_error(f"{short_repr(os.fsdecode(error.filename or ''))} is too long for the name of a file.", "")
        return 1
    return status if isinstance(status, int) else 0


def _shorten_thread_spinning() -> None:
    """Shortens how long a thread of torch spins while it waits for another, unless the environment says otherwise.

    The default is milliseconds, which hurts as soon as other programs compete for the processors: with two of them on
    two cores, a training step took 10 instead of 2 times as long (docs/performance.md). GNU's OpenMP reads the
    variable when torch is imported, https://gcc.gnu.org/onlinedocs/libgomp/.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _process_session() -> AbstractContextManager[object]:
    """Returns the context of a command: of several processes that share the work, one prints an error."""
    if "WORLD_SIZE" not in os.environ:
        return contextlib.nullcontext()
    from zoo.training.distributed.process_group import ProcessGroup

    return ProcessGroup.from_environment().session()


def _print_warning(text: str) -> None:
    from zoo.display import console

    console.write_warning(text)


def _print_click_error(error: click.ClickException) -> None:
    """Prints an error of click's like all others, with close matches of an unknown name."""
    if isinstance(error, _NO_ARGUMENTS):
        error.show()  # the help page
        return
    message, hint = error.format_message(), getattr(error, "hint", "")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is not None and isinstance(error, click.NoSuchOption):
        message = f"There is no option '{error.option_name}'."
        near = did_you_mean(error.option_name, _spellings(ctx.command))
        hint = f"{near} '{ctx.command_path} --help' lists all options.".strip()
    elif ctx is not None and isinstance(error, _NO_SUCH_COMMAND):
        unknown = unknown_command(error.command_name, ctx)
        message, hint = unknown.message, unknown.hint
    elif ctx is not None and not hint:
        hint = f"'{ctx.command_path} --help' shows the usage."
    _print_error(message, hint)


def _spellings(command: click.Command) -> list[str]:
    """Returns the options of a command as they are typed, without the former names of `GroupedOption`."""
    names = [
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name not in getattr(parameter, "aliases", ())
    ]
    return [name for name in names if name.startswith("-")]


def _print_error(message: str, hint: str) -> None:
    from zoo.display import console

    console.write_error(message, hint)
