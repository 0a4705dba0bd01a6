"""The manifest of a run folder: the size and the SHA-256 of every file, written when the run is finished.

The files of trackers, below ``trackers/``, are no part of it.

A manifest reveals files that are damaged, mixed up or missing. It does not protect against attackers, who can change it
together with a file; signatures, which cover the manifest, do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.errors import RunError
from zoo.utils.files import atomic_write, parse_json, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = 1
MANIFEST = "manifest.json"
TRACKERS = "trackers"  # the folder for files of trackers, which may still write to them when the run is finished
SIGNATURE_SUFFIX = ".sig"  # A signature of the folder covers the manifest, so the manifest cannot cover the signature.
State = Literal["changed", "missing", "additional", "not a regular file"]


class Entry(NamedTuple):
    """The entry of a file in a manifest.

    Attributes:
        sha256: Hex digest of its content.
        size: Its size in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A file that does not match the manifest.

    Attributes:
        file: Its path inside the folder, with ``/``.
        state: What is wrong. Links are not followed; they count as files that are not regular.
    """

    file: str
    state: State


def hash_file(path: Path) -> str:
    """Returns the hex SHA-256 of a regular file, without reading it into memory as a whole.

    Raises:
        RunError: The file cannot be read, or is a link or another special file.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise RunError(f"{path} is not a regular file.", hint="Links are not followed; pass the file itself.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def write_manifest(folder: Path) -> None:
    """Writes a new ``manifest.json`` for all files in the folder.

    Raises:
        RunError: A file cannot be read, or the folder cannot be written to.
    """
    _write(folder, {name: _create_entry(folder / name) for name, regular in _list_files(folder).items() if regular})


def update_manifest(folder: Path, names: Iterable[str]) -> None:
    """Updates the entries of some files in the manifest, and leaves all others as they are.

    If the folder has no manifest, as in runs of old versions, it gets one for all files.

    Args:
        folder: A run folder.
        names: Paths inside the folder, with ``/``; the entries of missing files are removed.

    Raises:
        RunError: The manifest or a file cannot be read, or the folder cannot be written to.
    """
    if not (folder / MANIFEST).exists():
        write_manifest(folder)
        return
    entries = dict(read_manifest(folder))
    for name in names:
        _check_name(name, folder / MANIFEST)
        if os.path.lexists(folder / name):
            entries[name] = _create_entry(folder / name)
        else:
            entries.pop(name, None)
    _write(folder, entries)


def read_manifest(folder: Path) -> Mapping[str, Entry]:
    """Returns the entries of the manifest of a folder by file.

    Raises:
        RunError: The manifest is missing or cannot be read, or names a file outside the folder.
    """
    path = folder / MANIFEST
    try:
        content = parse_json(read_regular_file(path))
    except FileNotFoundError:
        raise RunError(
            f"{folder} has no {MANIFEST}.",
            hint="A run gets one when it is finished; a run of an old version gets one when it is exported.",
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint="It may be truncated or edited by hand.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("files"), dict):
        raise RunError(
            f"{path} is not a manifest of format {FORMAT}.", hint="A newer version of the zoo may have written it."
        )
    return {_check_name(name, path): _parse_entry(value, name, path) for name, value in content["files"].items()}


def check_folder(folder: Path) -> list[Mismatch]:
    """Returns the files of a folder that do not match its manifest, sorted by name.

    Raises:
        RunError: The manifest or a file cannot be read.
    """
    expected, existing = read_manifest(folder), _list_files(folder)
    mismatches = [Mismatch(name, "missing") for name in expected.keys() - existing.keys()]
    for name, regular in existing.items():
        if not regular:
            mismatches.append(Mismatch(name, "not a regular file"))
        elif name not in expected:
            mismatches.append(Mismatch(name, "additional"))
        elif (folder / name).lstat().st_size != expected[name].size or _create_entry(folder / name) != expected[name]:
            mismatches.append(Mismatch(name, "changed"))
    return sorted(mismatches, key=lambda mismatch: mismatch.file)


def _list_files(folder: Path) -> dict[str, bool]:
    """Returns the paths in a folder except manifest and signatures, and whether each is a regular file."""
    found: dict[str, bool] = {}
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=False):
        if Path(parent) == folder and TRACKERS in folders:
            folders.remove(TRACKERS)
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST and not ("/" not in relative and name.endswith(SIGNATURE_SUFFIX)):
                found[relative] = stat.S_ISREG(path.lstat().st_mode)
    return found


def _raise(error: OSError) -> None:
    raise RunError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _create_entry(path: Path) -> Entry:
    return Entry(sha256=hash_file(path), size=path.stat().st_size)


def _parse_entry(value: Any, name: str, path: Path) -> Entry:
    match value:
        case {"sha256": str(digest), "size": int(size)} if re.fullmatch(r"[0-9a-f]{64}", digest) and size >= 0:
            return Entry(sha256=digest, size=size)
    raise RunError(f"{path} has no size and SHA-256 for {name!r}.", hint="It may have been edited by hand.")


def _check_name(name: str, path: Path) -> str:
    """Refuses names that lead out of the folder on any operating system."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise RunError(
            f"{path} names {name!r}, which is not a file inside the folder.", hint="Do not trust this folder."
        )
    return name


def _write(folder: Path, entries: Mapping[str, Entry]) -> None:
    content = {"format": FORMAT, "files": {name: entries[name]._asdict() for name in sorted(entries)}}
    with atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
