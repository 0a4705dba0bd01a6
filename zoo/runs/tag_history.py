"""The history of tags, ``tags.json`` in the folder of the runs: every pointing and every withdrawal, oldest first.

Nothing is ever taken out of it, and two processes never write at once.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORMAT = 1
TAGS = "tags.json"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
NAME = re.compile(rf"({_PART})(?:@({_PART}))?")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_PATIENCE = 10.0  # seconds that another process may hold the file
_HINT = f"{TAGS} was edited, or cut off. Put it back from a copy; moved away, all tags are forgotten."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A name and what it stood for from some moment on.

    Attributes:
        name: ``"hotdog@3"``, ``"hotdog@prod"``.
        run: Name of the run's folder; empty where the name was withdrawn.
        created: When that run was begun, as its record says: a later run may get the same folder name.
        weights: SHA-256 of its ``model.safetensors``.
        at: When the name was pointed there, ISO 8601.
        by: By which user of the machine; empty where the machine does not know.
    """

    name: str
    run: str
    created: str
    weights: str
    at: str
    by: str

    @property
    def model(self) -> str:
        """What stands before the ``@``."""
        return self.name.partition("@")[0]

    @property
    def label(self) -> str:
        """What stands behind the ``@``."""
        return self.name.partition("@")[2]

    @property
    def version(self) -> int | None:
        """The number of a numbered version; None for a label."""
        return int(self.label) if NUMBER.fullmatch(self.label) else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def is_tag(reference: str) -> bool:
    """Returns whether a reference has the form of a tag, ``hotdog@3``."""
    return bool((match := NAME.fullmatch(reference)) and match[2])


def read_history(runs: Path) -> list[Tag]:
    """Returns every entry of ``tags.json``, oldest first.

    Raises:
        RunError: It cannot be read, or holds what was never written there; the message names it.
    """
    path = runs / TAGS
    try:
        content = json.loads(read_regular_file(path).decode("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint=_HINT) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("history"), list):
        raise RunError(f"{path} is no record of tags of format {FORMAT}.", hint="Was it written by a newer version?")
    return [_tag_of(entry, path, number) for number, entry in enumerate(content["history"], start=1)]


def write_history(runs: Path, history: Sequence[Tag]) -> None:
    """Writes ``tags.json``, whole or not at all; only within `locked`."""
    with atomic_write(runs / TAGS) as aside:
        content = {"format": FORMAT, "history": [tag.to_dict() for tag in history]}
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def locked(runs: Path) -> Iterator[None]:
    """Keeps other processes from writing between our reading and our writing.

    Raises:
        RunError: There is no such folder, it cannot be written to, or another process does not let go.
    """
    import filelock

    if not runs.is_dir():
        raise RunError(f"There is no folder {runs}/.", hint="Say where the runs are with --runs DIR.")
    lock = filelock.FileLock(runs / f".{TAGS}.lock", timeout=_PATIENCE)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"Another process has held {lock.lock_file} for {_PATIENCE:.0f} s.", hint="Try again.") from None
    except OSError as error:
        raise RunError(f"Cannot write to {runs}: {error.strerror}.", hint="Choose another with --runs DIR.") from error
    try:
        yield
    finally:
        lock.release()


def is_folder_name(name: str) -> bool:
    """Returns whether a name stays where it is, and on one line, on every system."""
    return name not in (".", "..") and not set(name) & set("/\\:") and name.isprintable()


def now() -> str:
    """Returns the time as it is written down: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Returns who is at work, as far as the machine knows."""
    import getpass

    try:
        return "".join(filter(str.isprintable, getpass.getuser()))
    except (OSError, KeyError, ImportError):  # a container without a name for its user, or a system without users
        return ""


def _tag_of(entry: Any, path: Path, number: int) -> Tag:
    names = {field.name for field in fields(Tag)}
    if not isinstance(entry, dict) or entry.keys() != names or not all(isinstance(v, str) for v in entry.values()):
        raise RunError(f"{path}: entry {number} has not the fields {', '.join(sorted(names))}.", hint=_HINT)
    tag = Tag(**entry)
    if not is_tag(tag.name) or not is_folder_name(tag.run) or not all(map(str.isprintable, entry.values())):
        raise RunError(f"{path}: entry {number} points {tag.name!r} to {tag.run!r}, which is no run here.", hint=_HINT)
    return tag
