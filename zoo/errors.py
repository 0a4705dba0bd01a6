"""The exceptions of the zoo.

The tree::

    ZooError
    ├── ConfigError            a value of a fine-tune configuration or option is wrong
    ├── UnknownNameError       no such backbone, head, dataset, run or recipe
    │   └── AmbiguousNameError a bare name that two plugins offer
    ├── PluginError            a plugin that cannot be used, or broke its contract
    ├── DataError              a dataset that cannot be read or makes no sense
    │   └── ImageError         one image that cannot be read
    ├── WeightsError           weights that cannot be had, or do not fit
    ├── RunError               a run folder that is missing, broken or half-written
    ├── TrainingError          training that cannot go on (NaN loss, out of memory)
    ├── OtherProcessError         work that ended because another process failed, which tells why
    ├── ExportError            a run that cannot be exported, or an exported file that cannot be used
    └── IntegrityError         a file that is not what was signed or encrypted, or a key that does not fit

Every message says what happened and where; `hint` says what to do next. The command line prints the two as two
lines and exits with 1. Any other exception that reaches a user is a bug.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ZooError(Exception):
    """What went wrong, and what to do about it.

    Args:
        message: What happened and where, in one sentence.
        hint: What to do next, in one sentence; empty where there is nothing to say.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(ZooError):
    """A value of a configuration or of an option is wrong; the message names the option."""


class UnknownNameError(ZooError):
    """No such backbone, head, dataset, run or recipe; the hint lists close matches."""


class AmbiguousNameError(UnknownNameError):
    """A bare name that two outside plugins offer; the hint lists both qualified names."""


class PluginError(ZooError):
    """A plugin that cannot be loaded, or that broke the contract of its hook."""


class DataError(ZooError):
    """A dataset that cannot be found, downloaded or read, or whose parts contradict each other."""


class ImageError(DataError):
    """One image that cannot be read; the message names the file and the reason."""


class WeightsError(ZooError):
    """Weights that cannot be had (offline, no such file) or that do not fit the network."""


class RunError(ZooError):
    """A run folder that is missing, half-written or not a run folder."""


class TrainingError(ZooError):
    """Training that cannot go on; what was reached so far is kept."""


class OtherProcessError(ZooError):
    """Work that ended because another of the processes that share it failed; that one tells why."""

    def __init__(self) -> None:
        super().__init__("Another process failed.", hint="It says why.")


class ExportError(ZooError):
    """A run that cannot be exported as asked, or an exported file that is broken or does not keep its promise."""


class IntegrityError(ZooError):
    """A file that is not what was signed or encrypted, or a key or passphrase that does not fit."""


def close_matches(name: str, known: Iterable[str], *, limit: int = 4) -> list[str]:
    """Returns up to `limit` of `known` resembling `name`, nearest first; of qualified names the last part counts."""
    by_tail: dict[str, list[str]] = {}
    for candidate in known:
        by_tail.setdefault(candidate.rpartition("/")[2].lower(), []).append(candidate)
    tails = difflib.get_close_matches(name.rpartition("/")[2].lower(), by_tail, n=limit, cutoff=0.6)
    return [full for tail in tails for full in by_tail[tail]][:limit]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"Did you mean a, b?"`` for close matches of `name` in `known`, or an empty string."""
    matches = close_matches(name, known)
    return f"Did you mean {', '.join(matches)}?" if matches else ""
