"""What shells offer when a user presses Tab: names of runs, tags and offers of plugins, and values of options.

Shells ask with ``_ZOO_COMPLETE=bash_complete zoo`` (https://click.palletsprojects.com/en/stable/shell-completion/). An
answer takes as long as a help page, imports no library of a plugin, and never writes an error beside the prompt.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

VARIABLE = "_ZOO_COMPLETE"
# A shell puts names on its command line as they are: others could be run as commands, or need quotes.
_SAFE = re.compile(r"[\w@%+=:,./-]+")
# Fields of `FinetuneConfig` that name offers, by the name of the kind.
_KIND_OF_FIELD = {"data": "dataset", "augment": "augmentation"}
_FILES = ("data", "weights", "recipe", "exclude", "labels", "groups")  # fields that may also be a path


class _BashComplete(BashComplete):
    """Completes words with ``@``, ``=`` or a colon, such as tags, which bash takes apart: it replaces the last part."""

    source_template = BashComplete.source_template.replace(
        "COMP_WORDS=", 'COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDS=', 1
    )
    _present = ""  # the part of the word that bash keeps

    def get_completion_args(self) -> tuple[list[str], str]:
        """Returns the arguments before the word, and the word; from the whole line, if the script passes it."""
        line = os.environ.get("COMP_LINE")
        if not line:
            return super().get_completion_args()
        words, program = split_arg_string(line), split_arg_string(os.environ["COMP_WORDS"])[0]
        incomplete = "" if line[-1].isspace() else words.pop()
        # The last part begins with an @, but behind a = or a colon.
        self._present = incomplete[: max(0, incomplete.rfind("@"), *(1 + incomplete.rfind(mark) for mark in "=:"))]
        return words[words.index(program) + 1 :], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Returns the answer for an item, without the part that bash keeps."""
        if item.type == "plain":
            item = CompletionItem(item.value.removeprefix(self._present))
        return super().format_completion(item)


_COMPLETERS: dict[str, type[ShellComplete]] = {"bash": _BashComplete, "zsh": ZshComplete, "fish": FishComplete}
SHELLS = tuple(_COMPLETERS)


def answer(cli: click.Command) -> int:
    """Answers the shell that has set `VARIABLE`, and returns the exit code."""
    shell, _, task = os.environ[VARIABLE].partition("_")
    if shell not in SHELLS or task not in ("complete", "source"):
        return 1
    text = script(cli, shell) if task == "source" else _complete(cli, shell)
    sys.stdout.buffer.write(text.encode(errors="replace") + b"\n")
    sys.stdout.flush()
    return 0


def script(cli: click.Command, shell: str) -> str:
    """Returns the script that makes a shell ask for completions."""
    return _COMPLETERS[shell](cli, {}, "zoo", VARIABLE).source()


def _complete(cli: click.Command, shell: str) -> str:
    # Whatever plugins print, and whatever fails: next to the prompt it would only disturb.
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _COMPLETERS[shell](cli, {}, "zoo", VARIABLE).complete()
        except Exception:
            return ""


def complete_runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the runs and their tags; folders if none fits."""
    return _select(_list_runs(ctx), incomplete, otherwise="file")


def complete_runs_and_folds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the runs and their tags, and the cross-validations; folders if none fits."""
    from zoo.runs.cross_validation import list_cross_validations
    from zoo.runs.run import RUNS

    folds = [(each.name, "") for each in list_cross_validations(ctx.params.get("runs") or RUNS)]
    return _select([*_list_runs(ctx), *folds], incomplete, otherwise="file")


def complete_tags(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the tags."""
    return _select(((tag, run) for tag, run in _list_runs(ctx) if run), incomplete)


def complete_offers(*kinds: str, files: bool = False) -> Completer:
    """Returns a function that offers what plugins offer.

    Args:
        *kinds: Names of kinds; all if there are none.
        files: Whether a path is possible, too.
    """

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _select(_list_offers(kinds, incomplete), incomplete, otherwise="file" if files else "")

    return complete


def complete_anything(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers whatever 'zoo info' describes: offers of plugins, runs and tags."""
    return _select([*_list_offers((), incomplete), *_list_runs(ctx)], incomplete, otherwise="file")


def complete_words(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers what 'zoo list' can list: the plurals of the kinds."""
    from zoo.plugins.kinds import KINDS

    return _select([*((kind.word, "") for kind in KINDS), ("runs", "")], incomplete)


def complete_field(name: str) -> Completer:
    """Returns a function that offers the values of a field of `FinetuneConfig`."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [*_list_values(name), *_list_offers((_KIND_OF_FIELD.get(name, name),), incomplete)]
        if name == "weights":
            found += [("pretrained", ""), ("none", ""), *_list_runs(ctx)]
        return _select(found, incomplete, otherwise="file" if name in _FILES else "")

    return complete


def _select(names: Iterable[tuple[str, str]], incomplete: str, *, otherwise: str = "") -> list[CompletionItem]:
    """Returns the names that begin with a text, each with its help; if there are none, what the shell is to offer."""
    found = {
        name: CompletionItem(name, help=about)
        for name, about in names
        if name.startswith(incomplete) and _SAFE.fullmatch(name) and name[0] != "-"
    }
    if not found and otherwise:
        return [CompletionItem(incomplete, type=otherwise)]
    return list(found.values())


def _list_runs(ctx: click.Context) -> list[tuple[str, str]]:
    """Returns the names of runs, and tags with the run of each."""
    from zoo.errors import RunError
    from zoo.runs.open import list_run_names
    from zoo.runs.run import RUNS
    from zoo.runs.tags import list_tags

    runs: Path = ctx.params.get("runs") or RUNS
    tags: list[tuple[str, str]] = []
    with contextlib.suppress(RunError, OSError):
        tags = [(tag.name, tag.run) for tag in list_tags(runs)]
    return [*((name, "") for name in list_run_names(runs)), *tags]


def _list_offers(kinds: Iterable[str], incomplete: str) -> list[tuple[str, str]]:
    """Returns the names of offers with their summaries; members of families only where nothing else fits."""
    from zoo.plugins.kinds import KINDS
    from zoo.plugins.registry import list_known_names, load_registry, shortest_names

    registry, wanted = load_registry(), set(kinds)
    selected = [kind for kind in KINDS if not wanted or kind.name in wanted]
    found = [
        (offer.name if "/" in incomplete else name, offer.spec.summary)
        for kind in selected
        for name, offer in shortest_names(registry.offers(kind)).items()
    ]
    if any(name.startswith(incomplete) for name, _ in found):
        return found
    families = [pair for kind in selected for pair in registry.families(kind)]
    members = [name for family, plugin in families for name in list_known_names(family, plugin)]
    return [(name if "/" in incomplete else name.partition("/")[2], "") for name in members]


def _list_values(name: str) -> list[tuple[str, str]]:
    from zoo.config import FinetuneConfig
    from zoo.plugins.options import describe_options

    info = next((info for info in describe_options(FinetuneConfig) if info.name == name), None)
    if info is None:
        return []
    values: list[Any] = ["yes", "no"] if info.type is bool else [*info.choices, *info.literals]
    return [(str(value), "") for value in (*values, *(["none"] if info.optional else []))]
