"""The command line: a group of lazily imported commands, and the one place where errors become lines and exit codes.

Exit codes: 0; 1 for a `ZooError`; 2 for wrong usage; 3 where another process of the same run failed, and tells why;
130 for Ctrl-C and 143 for SIGTERM. Any other exception is a bug and keeps its traceback. Nothing heavy is imported
here: a help page must cost no more than click itself.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import click

from zoo.errors import OtherProcessError, PluginError, PluginWarning, ZooError, close_matches
from zoo.utils.interrupts import Terminated
from zoo.utils.lazy_dynamo import put_off_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from zoo.plugins.entry_points import Candidate

ARGUMENTS = "zoo.arguments"  # in the context of a command: what stands behind ``zoo``
DISTRIBUTION = "finetune-zoo"
# These plugins of our own offer names and have no commands: a help page need not import them.
_WITHOUT_COMMANDS = ("torchvision", "heads", "datasets")
_show_python_warning = warnings.showwarning
_TRAIN, _USE, _LOOK = "Train", "Use a run", "Look around"


class _Lazy(NamedTuple):
    target: str
    help: str
    section: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they run; its help page imports none of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy: dict[str, _Lazy] = {}

    def add_lazy(self, name: str, target: str, help: str, *, section: str = "Commands") -> None:
        """Adds a command without importing it.

        Args:
            name: What the user types.
            target: Where the `click.Command` is: ``"module:attribute"``.
            help: One line for the list of commands.
            section: The heading under which the help page lists it.
        """
        module, colon, attribute = target.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"{target!r} is not of the form 'module:attribute'")
        self.lazy[name] = _Lazy(target, help, section)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order in which they were added."""
        return [*self.lazy, *(name for name in self.commands if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command, or None where there is none of that name."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = lazy.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{lazy.target} is no click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names; an unknown one is an error that lists near names."""
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            near = close_matches(name, self.list_commands(ctx))
            hint = f"Did you mean {' or '.join(near)}?" if near else f"'{ctx.command_path} --help' lists all."
            raise click.UsageError(f"There is no command '{name}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands under their sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            if name in self.lazy:
                sections.setdefault(self.lazy[name].section, []).append((name, self.lazy[name].help))
            elif not self.commands[name].hidden:
                sections.setdefault("Commands", []).append((name, self.commands[name].get_short_help_str(limit=90)))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


class ZooGroup(LazyGroup):
    """The commands of the zoo; those of plugins are asked for only when the built-in ones do not suffice."""

    _asked = False
    _owners: ClassVar[dict[str, str]] = {}  # of plugins' commands, the plugin's key

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps what was typed: a command may have to start further processes with it."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of built-in commands, then those of plugins."""
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command; a built-in one without a look at the plugins."""
        if cmd_name not in self.lazy:
            self._ask_plugins()
        owner = self._owners.get(cmd_name)
        if owner is None:
            return super().get_command(ctx, cmd_name)
        try:
            return super().get_command(ctx, cmd_name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"The plugin {owner} cannot run '{cmd_name}': {type(error).__name__}: {error}",
                hint=f"Install what it needs, or leave it out with ZOO_BLOCK_PLUGINS={owner}.",
            ) from error

    def _ask_plugins(self) -> None:
        if self._asked:
            return
        self._asked = True
        taken = dict.fromkeys(self.lazy, "the zoo")
        for plugin in _plugins_with_commands():
            try:
                added = _commands_of(plugin)
            except (Exception, SystemExit) as error:  # whatever a plugin does, the other commands go on working
                _warn(f"the plugin {plugin.key} cannot add its commands: {type(error).__name__}: {error}")
                continue
            for name in [*added.lazy, *added.commands]:
                if name in taken:
                    _warn(f"the plugin {plugin.key} cannot add '{name}': that command belongs to {taken[name]}")
                    continue
                taken[name] = self._owners[name] = plugin.key
                if name in added.lazy:
                    self.lazy[name] = added.lazy[name]
                else:
                    self.commands[name] = added.commands[name]


def _plugins_with_commands() -> Iterator[Candidate]:
    from zoo.plugins.entry_points import blocked_names, find_plugins, is_blocked, warn_of_unused

    found, blocked = find_plugins(), blocked_names()
    warn_of_unused(blocked, found)
    for plugin in found:
        if not (plugin.built_in and plugin.entry in _WITHOUT_COMMANDS) and not is_blocked(plugin, blocked):
            yield plugin


def _commands_of(plugin: Candidate) -> LazyGroup:
    """Has a plugin add its commands to a group of its own, so that it adds all or none; raises whatever it raises."""
    from zoo.plugins.hookspecs import register

    group = LazyGroup()
    register(plugin.load()).hook.zoo_commands(cli=group)
    return group


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Shows warnings about plugins in one line; others as Python shows them."""
    if issubclass(category, PluginWarning):
        _warn(str(message))
    else:
        _show_python_warning(message, category, *where, **more)


def _warn(text: str) -> None:
    click.echo(f"warning: {' '.join(text.split())}", err=True)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import importlib.metadata

        click.echo(f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}")
        ctx.exit()


@click.group(
    cls=ZooGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nFirst steps:\n  zoo finetune resnet18 --data hotdog\n  zoo predict RUN photo.jpg",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """A zoo of image classifiers: fine-tune any backbone with any head on your photos."""


for _section, _commands in {
    _TRAIN: {
        "finetune": "Fine-tune a backbone on photos; leaves a run folder.",
        "compare": "Fine-tune with several values of an option, and draw the curves.",
    },
    _USE: {
        "predict": "Tell what is on photos.",
        "evaluate": "Score a run: accuracy, per-class figures, confusion.",
        "runs": "List the runs, with their accuracy.",
    },
    _LOOK: {
        "list": "List backbones, heads, datasets and runs.",
        "info": "Tell all about a backbone, head, dataset or recipe.",
        "data": "Check a dataset: leaks, duplicates, broken files.",
        "show": "Write a sheet of a dataset's photos, as stored or as the network sees them.",
        "plugins": "List the plugins, what they offer, and what failed.",
        "doctor": "Check the set-up, and say what to do about each finding.",
        "new-plugin": "Write the skeleton of a plugin, with its test.",
    },
}.items():
    for _name, _help in _commands.items():
        _module = _name.replace("-", "_")
        cli.add_lazy(_name, f"zoo.cli.commands.{_module}:command", _help, section=_section)


def main(args: list[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its exit code.

    Args:
        args: What stands behind ``zoo``; the process's own arguments when None.
    """
    warnings.showwarning = _show_warning
    put_off_compiler()
    _let_waiting_threads_sleep()
    try:
        with _together():
            status = cli.main(args, prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be told from a bug
    except OtherProcessError:
        status = 3
    except ZooError as error:
        _show(error)
        status = 1
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:  # click makes its own of an interrupt
        status = 143 if any(isinstance(each, Terminated) for each in (stop, stop.__cause__)) else 130
    except BrokenPipeError:
        # Whoever read our output has left (`zoo list | head`). Python flushes once more at exit: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    status = status if isinstance(status, int) else 0
    if status and "WORLD_SIZE" in os.environ:
        from zoo.training.distributed.process_group import end

        end(status)
    sys.exit(status)


def _let_waiting_threads_sleep() -> None:
    """Shortens how long a thread of torch spins while it waits for another, unless the environment says how long.

    By default that is milliseconds, in which a thread that has lost its processor to another program does not get it
    back: with two busy programs beside it on two cores, a training step took not 2 but 10 times as long
    (docs/performance.md). Read by GNU's OpenMP when torch is imported, https://gcc.gnu.org/onlinedocs/libgomp/.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _together() -> AbstractContextManager[object]:
    """Returns the context of a command: in one of several processes, that in which an error is told once."""
    if "WORLD_SIZE" not in os.environ:
        return nullcontext()
    from zoo.training.distributed.process_group import ProcessGroup

    return ProcessGroup.from_environment().session()


def _show(error: ZooError) -> None:
    from zoo.cli.terminal import console

    click.echo(f"{click.style('error:', fg='red', bold=True)} {console.format_message(error.message)}", err=True)
    if error.hint:
        click.echo(console.format_message(error.hint), err=True)
