"""The type of options that name kinds of offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.plugins.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLURALS = {kind.singular_word: kind.word for kind in KINDS} | {"command": "commands", "run": "runs"}
_OTHER_NUMBER = _PLURALS | {plural: singular for singular, plural in _PLURALS.items()}


class KindChoice(click.Choice):  # type: ignore[type-arg]  # the oldest click that is supported has no click.Choice[str]
    """One of several kinds, in the singular or the plural; the value is the one that help pages show.

    Args:
        kinds: The kinds as the command line has them: ``"losses"``, or ``"loss"``.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__(kinds)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the kind that a user named."""
        other = _OTHER_NUMBER.get(value)
        return str(super().convert(other if other in self.choices else value, param, ctx))
