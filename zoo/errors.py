"""The exceptions of the zoo, and suggestions for misspelt names.

The tree:

    ZooError
    ├── ConfigError            an invalid value in a fine-tuning configuration or option
    ├── UnknownNameError       no such backbone, head, dataset, run or recipe
    │   └── AmbiguousNameError a bare name that two plugins offer
    ├── PluginError            a plugin that cannot be used or violates its contract
    ├── DataError              a dataset that cannot be read or is inconsistent
    │   └── ImageError         a single image that cannot be read
    ├── WeightsError           weights that are unavailable or do not fit the network
    ├── RunError               a run folder that is missing, damaged or incomplete
    ├── TrainingError          training that cannot continue (out of memory, features of NaN)
    │   └── DivergedError      a loss, a gradient or weights that became NaN or infinite
    ├── PredictionError        a network whose output for a photo is NaN or infinite
    ├── MissingPackageError    a package that only `finetune-zoo` installs, not `finetune-zoo-runtime`
    ├── RequirementError       a model that does not meet a requirement on its accuracy
    ├── OtherProcessError      another process of the same job failed and reports the reason
    ├── ExportError            a run that cannot be exported, or an exported file that cannot be used
    └── IntegrityError         a file that differs from what was signed or encrypted, or the wrong key

Every message says what happened and where; `hint` says what to do next. The command line prints the two on separate
lines and exits with 1. Any other exception that reaches a user is a bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ZooError(Exception):
    """An error that the user can fix.

    Args:
        message: What happened and where, in one sentence.
        hint: What to do next, in one sentence; empty if there is no advice to give.
        offline: Whether something is neither on this machine nor can be downloaded. `zoo.finetune` then adds a command
            that works without a network to the hint.
    """

    def __init__(self, message: str, *, hint: str = "", offline: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offline = offline

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(ZooError):
    """A value in a configuration or option is invalid; the message names the option."""


class UnknownNameError(ZooError):
    """There is no backbone, head, dataset, run or recipe of that name; the hint lists close matches."""


class AmbiguousNameError(UnknownNameError):
    """Two third-party plugins offer the same bare name; the hint lists both qualified names."""


class PluginError(ZooError):
    """A plugin cannot be loaded, or violates the contract of its hook."""


class PluginWarning(UserWarning):
    """A plugin, or a name that should block one, does not do what its user expects."""


class HubWarning(UserWarning):
    """A hub cannot be reached, and a copy of an earlier download is used."""


class ImageWarning(UserWarning):
    """A photo was decoded, but is damaged; the message names the file and what its decoder says."""


class DataError(ZooError):
    """A dataset cannot be found, downloaded or read, or its splits contradict each other."""


class ImageError(DataError):
    """An image cannot be read; the message names the file and the reason."""


class WeightsError(ZooError):
    """Weights are unavailable (offline, no such file) or do not fit the network."""


class RunError(ZooError):
    """A run folder is missing, incomplete or not a run folder."""


class TrainingError(ZooError):
    """Training cannot continue; the progress made so far is kept."""


class DivergedError(TrainingError):
    """A loss, a gradient or the weights became NaN or infinite; `--resume` with a lower rate goes back to good ones."""


class PredictionError(ZooError):
    """A network returns NaN or infinity for a photo, which is no prediction of any class."""


class MissingPackageError(ZooError):
    """A package is missing that `finetune-zoo` requires and `finetune-zoo-runtime` does not."""


class RequirementError(ZooError):
    """A model does not meet a requirement on its accuracy; the message names all that it fails."""


class OtherProcessError(ZooError):
    """Another process of the same job failed; that process reports the reason."""

    def __init__(self) -> None:
        super().__init__("Another process failed.", hint="Its own message gives the reason.")


class ExportError(ZooError):
    """A run cannot be exported as requested, or an exported file is damaged or fails its checks."""


class IntegrityError(ZooError):
    """A file differs from what was recorded, signed or encrypted, or the key or passphrase does not match."""


def close_matches(name: str, known: Iterable[str], *, limit: int = 4) -> list[str]:
    """Returns up to `limit` of the `known` names that `name` may be a misspelling of, nearest first.

    Those are the names at the smallest edit distance, if that is 1 or at most one edit per three letters; then the
    names that begin with `name`, if it has three letters or more. An edit inserts, deletes or replaces a letter or
    swaps two neighbours, as in git's suggestions. Case, hyphens and underscores make no difference. Of qualified
    names only the last part counts.
    """
    typed = _normalize(name)
    most = min(len(typed) // 3, 3) if len(typed) > 2 else len(typed) - 1
    near: list[str] = []
    longer: list[str] = []
    for candidate in known:
        tail = _normalize(candidate)
        edits = _edit_distance(typed, tail, most)
        if edits <= most:
            near, most = ([*near, candidate] if edits == most else [candidate]), edits
        elif len(typed) > 2 and tail.startswith(typed):
            longer.append(candidate)
    return [*near, *longer][:limit]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"Did you mean a, b or c?"`` for close matches of `name` in `known`, or an empty string."""
    *others, last = close_matches(name, known) or [""]
    if not last:
        return ""
    return f"Did you mean {', '.join(others)} or {last}?" if others else f"Did you mean {last}?"


def _normalize(name: str) -> str:
    return name.rpartition("/")[2].lower().replace("-", "").replace("_", "")


def _edit_distance(a: str, b: str, most: int) -> int:
    """Returns the optimal string alignment distance of two strings, or more than `most` as soon as that is certain."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        earlier, before, row = before, row, [i]
        for j, y in enumerate(b, start=1):
            edits = min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                edits = min(edits, earlier[j - 2] + 1)
            row.append(edits)
        if min(row) > most:
            return most + 1
    return row[-1]
