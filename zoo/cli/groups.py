"""Groups of commands that are imported only when they run, those of plugins included. Imports nothing slow."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import click

from zoo.display.stdout import reserved_stdout
from zoo.errors import PluginError, ZooError, did_you_mean
from zoo.plugins.entry_points import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from click.shell_completion import CompletionItem

    from zoo.plugins.entry_points import Candidate

ARGUMENTS = "zoo.arguments"  # key in the context of a command: the command line behind ``zoo``
# These built-in plugins have no commands: a help page need not import them.
_WITHOUT_COMMANDS = (
    *("torchvision", "efficientnet_lite", "recipes", "optimizers", "schedules", "losses", "augmentations", "metrics"),
    *("trackers", "heads", "datasets"),
)
# Commands of plugins that finetune-zoo installs, and finetune-zoo-runtime does not.
_ONLY_COMPLETE = ("convert", "demo")


class UsageError(click.UsageError):
    """A command that was called the wrong way, and what to do instead."""

    def __init__(self, message: str, *, hint: str = "", ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def unknown_command(name: str, ctx: click.Context) -> UsageError:
    """Returns the error for a name that is not a command of a group; the hint lists close matches."""
    assert isinstance(ctx.command, click.Group)
    near = did_you_mean(name, ctx.command.list_commands(ctx))
    hint = f"{near} '{ctx.command_path} --help' lists all commands.".strip()
    return UsageError(f"There is no command '{name}'.", hint=hint, ctx=ctx)


class _LazyCommand(NamedTuple):
    target: str
    help: str
    section: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they run; its help page imports none of them."""

    # The order of the help page. Other sections follow, in the order in which they were added.
    sections: ClassVar[tuple[str, ...]] = ("Train", "Use a run", "Deploy", "Explore", "Set up")
    default_section: ClassVar[str] = "Plugins"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy: dict[str, _LazyCommand] = {}

    def add_lazy(self, name: str, target: str, help: str, *, section: str = default_section) -> None:
        """Adds a command without importing it.

        Args:
            name: Name of the command.
            target: Where the `click.Command` is defined: ``"module:attribute"``.
            help: One line for the list of commands.
            section: The heading under which the help page lists it.

        Raises:
            ValueError: The target is not of the form ``"module:attribute"``.
        """
        module, colon, attribute = target.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"{target!r} is not of the form 'module:attribute'")
        self.lazy[name] = _LazyCommand(target, help, section)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order in which they were added."""
        return [*self.lazy, *(name for name in self.commands if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command, or returns None if there is none of that name."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = lazy.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{lazy.target} is not a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names; for an unknown name the error lists close matches."""
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            raise unknown_command(name, ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offers the names of the commands, without importing them, and the options."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=self.lazy[name].help if name in self.lazy else self.commands[name].help)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete) and (name in self.lazy or not self.commands[name].hidden)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands under their sections."""
        sections: dict[str, list[tuple[str, str]]] = {section: [] for section in self.sections}
        names = self.list_commands(ctx)
        width = max(map(len, names), default=0)
        for name in names:
            if name in self.lazy:
                sections.setdefault(self.lazy[name].section, []).append((name.ljust(width), self.lazy[name].help))
            elif not self.commands[name].hidden:
                summary = self.commands[name].get_short_help_str(limit=90)
                sections.setdefault(self.default_section, []).append((name.ljust(width), summary))
        for section, rows in sections.items():
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)


class ZooGroup(LazyGroup):
    """The commands of the zoo. Plugins are asked for theirs only if a built-in command does not have the name."""

    _plugins_added = False
    _owners: ClassVar[dict[str, str]] = {}  # command -> key of the plugin that added it
    _problems: ClassVar[list[tuple[str, str]]] = []  # the key of a plugin, and why it cannot add a command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the command line: a command may have to start further processes with it."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the built-in commands, then those of plugins."""
        self._add_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command; for a built-in one no plugin is imported.

        Raises:
            PluginError: The command of a plugin cannot be imported.
            MissingPackageError: The command is part of `finetune-zoo`, which is not installed.
        """
        if cmd_name not in self.lazy:
            self._add_plugins()
        owner = self._owners.get(cmd_name)
        if owner is None:
            found = super().get_command(ctx, cmd_name)
            if found is None and cmd_name in _ONLY_COMPLETE:
                _require_complete(f"'zoo {cmd_name}'")
            return found
        try:
            return super().get_command(ctx, cmd_name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"The plugin {owner} cannot run '{cmd_name}': {_describe(error)}",
                hint=f"Install what it needs, or leave it out with ZOO_BLOCK_PLUGINS={owner}.",
            ) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. Of a built-in one nothing but its results is printed to stdout, whatever plugins print."""
        arguments = ctx.meta.get(ARGUMENTS, ())
        name = next((argument for argument in arguments if not argument.startswith("-")), "")
        if name not in self.lazy:
            self._add_plugins()
        owner = self._owners.get(name, DISTRIBUTION)
        if not owner.startswith(DISTRIBUTION):
            with _failures_named(owner, name):
                return super().invoke(ctx)
        _refuse_empty(arguments)
        if not {"-h", "--help"}.isdisjoint(arguments):  # click prints help pages itself
            return super().invoke(ctx)
        with reserved_stdout(), _explained_missing_modules(f"'zoo {name}'"):
            return super().invoke(ctx)

    def find_problems(self) -> list[tuple[str, str]]:
        """Returns the keys of plugins that cannot add a command, each with the reason."""
        self._add_plugins()
        return list(self._problems)

    def _add_plugins(self) -> None:
        if self._plugins_added:
            return
        self._plugins_added = True
        with reserved_stdout():
            self._ask_plugins()

    def _ask_plugins(self) -> None:
        owners = dict.fromkeys(self.lazy, "the zoo")
        for plugin in _plugins_with_commands():
            try:
                added = _commands_of(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a plugin does, the other commands must work
                self._note_problem(plugin.key, f"cannot add its commands: {_describe(error)}")
                continue
            for name in [*added.lazy, *added.commands]:
                if name in owners:
                    self._note_problem(plugin.key, f"cannot add '{name}': that command belongs to {owners[name]}.")
                    continue
                owners[name] = self._owners[name] = plugin.key
                if name in added.lazy:
                    self.lazy[name] = added.lazy[name]
                else:
                    self.commands[name] = added.commands[name]

    def _note_problem(self, key: str, text: str) -> None:
        from zoo.display import console

        self._problems.append((key, text))
        console.write_warning(f"The plugin {key} {text}")


def list_command_problems(ctx: click.Context) -> list[tuple[str, str]]:
    """Returns the keys of plugins that cannot add a command, each with the reason; a warning shows each once."""
    root = ctx.find_root().command
    return root.find_problems() if isinstance(root, ZooGroup) else []


def _refuse_empty(arguments: Iterable[str]) -> None:
    """Refuses empty arguments, which a shell passes for an unset variable: a path would be the current folder."""
    if any(not name or (name.startswith("--") and name.find("=") == len(name) - 1) for name in arguments):
        raise UsageError("An argument is empty.", hint="Is a variable of the shell not set?")


@contextlib.contextmanager
def _failures_named(owner: str, name: str) -> Iterator[None]:
    """Turns an exception of a plugin's command into an error that names the plugin; those of click pass."""
    try:
        yield
    except (ZooError, OSError, click.ClickException, click.Abort, click.exceptions.Exit):
        raise  # an OSError may be that of a closed stdout
    except Exception as error:
        raise PluginError(
            f"The plugin {owner} failed while running '{name}': {_describe(error)}",
            hint="Report it to its author.",
        ) from error


def _require_complete(task: str) -> None:
    from zoo.plugins.distributions import is_complete, missing_package

    if not is_complete():
        raise missing_package(f"{task} is part of finetune-zoo, which is not installed.")


@contextlib.contextmanager
def _explained_missing_modules(task: str) -> Iterator[None]:
    """Makes a failed import in the block say what to install, if only the runtime is installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        from zoo.plugins.distributions import explain_missing_module

        if (explained := explain_missing_module(error, task)) is None:
            raise
        raise explained from error


def _plugins_with_commands() -> Iterator[Candidate]:
    from zoo.plugins.entry_points import blocked_names, find_plugins, is_blocked, warn_unused_blocks

    found, blocked = find_plugins(), blocked_names()
    warn_unused_blocks(blocked, found)
    for plugin in found:
        if not (plugin.built_in and plugin.entry in _WITHOUT_COMMANDS) and not is_blocked(plugin, blocked):
            yield plugin


def _commands_of(plugin: Candidate) -> LazyGroup:
    """Lets a plugin add its commands to a group of its own, so that it adds all or none; raises whatever it raises."""
    from zoo.plugins.calls import watched
    from zoo.plugins.hookspecs import register

    group = LazyGroup()
    with watched(plugin, "adding its commands"):
        register(plugin.load()).hook.zoo_commands(cli=group)
    return group


def _describe(error: BaseException) -> str:
    from zoo.plugins.calls import describe_exception

    return describe_exception(error)
