"""The history of tags: ``tags.json`` in the folder of the runs records when each tag was set or removed, oldest first.

Entries are never deleted, and a lock keeps processes from writing at the same time.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.utils.files import atomic_write, parse_json, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORMAT = 1
TAGS = "tags.json"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
NAME = re.compile(rf"({_PART})(?:@({_PART}))?")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_LOCK_TIMEOUT = 10.0  # seconds
_HINT = f"{TAGS} may be truncated or edited by hand. Restore it from a backup; without it, all tags are lost."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag, and the run it refers to from some time on.

    Attributes:
        name: ``"hotdog@3"``, ``"hotdog@prod"``.
        run: Name of the run folder; empty if the tag was removed.
        created: Start of the run, ISO 8601, as in its record. It tells the run from a later one of the same name.
        weights: SHA-256 of its ``model.safetensors``.
        at: When the tag was set or removed, ISO 8601.
        by: The name of the user who did it; empty if unknown.
    """

    name: str
    run: str
    created: str
    weights: str
    at: str
    by: str

    @property
    def model(self) -> str:
        """The part before the ``@``."""
        return self.name.partition("@")[0]

    @property
    def label(self) -> str:
        """The part after the ``@``."""
        return self.name.partition("@")[2]

    @property
    def version(self) -> int | None:
        """The number of a version; None for a label."""
        return int(self.label) if NUMBER.fullmatch(self.label) else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def is_tag(reference: str) -> bool:
    """Returns whether a reference has the form of a tag, ``hotdog@3``."""
    return bool((match := NAME.fullmatch(reference)) and match[2])


def read_history(runs: Path) -> list[Tag]:
    """Returns the entries of ``tags.json``, oldest first.

    Raises:
        RunError: The file cannot be read, or has an invalid entry; the message names it.
    """
    path = runs / TAGS
    try:
        content = parse_json(read_regular_file(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint=_HINT) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("history"), list):
        raise RunError(
            f"{path} is not a history of tags of format {FORMAT}.",
            hint="A newer version of the zoo may have written it.",
        )
    return [_parse_tag(entry, path, number) for number, entry in enumerate(content["history"], start=1)]


def format_history(history: Sequence[Tag]) -> str:
    """Returns the text of ``tags.json``."""
    return json.dumps({"format": FORMAT, "history": [tag.to_dict() for tag in history]}, indent=2) + "\n"


def write_history(runs: Path, history: Sequence[Tag]) -> None:
    """Writes ``tags.json`` atomically. Call it only inside `locked`.

    Raises:
        RunError: The folder cannot be written to.
    """
    with atomic_write(runs / TAGS) as temporary:
        temporary.write_text(format_history(history), encoding="utf-8")


@contextmanager
def locked(runs: Path) -> Iterator[None]:
    """Locks ``tags.json`` inside the block, so that no other process writes between reading and writing.

    Raises:
        RunError: There is no such folder, it cannot be written to, or another process holds the lock.
    """
    import filelock

    if not runs.is_dir():
        raise RunError(f"There is no folder {runs}/.", hint="Pass the folder of the runs with --runs DIR.")
    lock = filelock.FileLock(runs / f".{TAGS}.lock", timeout=_LOCK_TIMEOUT)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(
            f"Another process has locked {lock.lock_file} for {_LOCK_TIMEOUT:.0f} s.", hint="Try again."
        ) from None
    except OSError as error:
        raise RunError(
            f"Cannot write to {runs}: {error.strerror}.", hint="Choose another folder with --runs DIR."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_folder_name(name: str) -> bool:
    """Returns whether a name is that of a single folder on every operating system, and printable on one line."""
    return name not in (".", "..") and not set(name) & set("/\\:") and name.isprintable()


def utc_now() -> str:
    """Returns the current time: UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def current_user() -> str:
    """Returns the name of the current user; empty if unknown."""
    import getpass

    try:
        return "".join(filter(str.isprintable, getpass.getuser()))
    except (OSError, KeyError, ImportError):  # a container without a name for its user, or a system without users
        return ""


def _parse_tag(entry: Any, path: Path, number: int) -> Tag:
    names = {field.name for field in fields(Tag)}
    if not isinstance(entry, dict) or entry.keys() != names or not all(isinstance(v, str) for v in entry.values()):
        raise RunError(f"{path}: the fields of entry {number} are not {', '.join(sorted(names))}.", hint=_HINT)
    tag = Tag(**entry)
    if not is_tag(tag.name) or not is_folder_name(tag.run) or not all(map(str.isprintable, entry.values())):
        raise RunError(f"{path}: in entry {number}, {tag.name!r} or {tag.run!r} is not a valid name.", hint=_HINT)
    return tag
