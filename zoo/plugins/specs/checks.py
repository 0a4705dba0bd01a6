"""Checks of the installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from zoo.plugins.specs.base import Spec

CHECK_SECONDS = 60.0  # for a check of the installation, imports on a slow machine included


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a check of the installation.

    Attributes:
        about: The subject: ``"CUDA in torch"``.
        status: ``"ok"``; ``"warning"``: it works with restrictions; ``"problem"``: something does not work.
        text: The result.
        advice: What to do about it, or empty.
    """

    about: str
    status: Literal["ok", "warning", "problem"]
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec(Spec):
    """A check of the installation, run by ``zoo doctor``.

    Attributes:
        run: Tries out what it reports on, within seconds: after `CHECK_SECONDS` nobody waits for it any longer. May
            import heavy packages; prints nothing.
    """

    run: Callable[[], list[Finding]] | str
