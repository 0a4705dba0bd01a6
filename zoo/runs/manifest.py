"""The manifest of a folder: size and SHA-256 of every file, written when a run is finished, and what no longer agrees.

A manifest finds what was damaged, mixed up or forgotten. Whoever can change a file can change the manifest too: against
that there are signatures, which cover it.
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
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE_SUFFIX = ".sig"  # A signature of the folder covers the manifest, so the manifest cannot cover the signature.
State = Literal["changed", "missing", "additional", "not a plain file"]


class Entry(NamedTuple):
    """What a manifest says of one file.

    Attributes:
        sha256: Hex digest of the content.
        size: Bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not as the manifest says.

    Attributes:
        file: Path inside the folder, with ``/``.
        state: What is wrong with it; links and other special files are never followed.
    """

    file: str
    state: State


def file_hash(path: Path) -> str:
    """Returns the hex SHA-256 of a plain file, read in pieces.

    Raises:
        RunError: It cannot be read, or is a link or another special file.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise RunError(f"{path} is not a plain file.", hint="Links are not followed: give the file itself.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def write_manifest(folder: Path) -> None:
    """Writes ``manifest.json`` anew, for all files that are in the folder now.

    Raises:
        RunError: A file cannot be read, or the folder not written to.
    """
    _write(folder, {name: _entry(folder / name) for name, plain in _files(folder).items() if plain})


def update_manifest(folder: Path, names: Iterable[str]) -> None:
    """Takes files that were just written into the manifest; what it says of others stays.

    In a folder without a manifest one of all files is written, so that an older run gets its own.

    Args:
        folder: A run folder.
        names: Paths inside the folder, with ``/``; of those that are gone the entries are dropped.

    Raises:
        RunError: The manifest or a file cannot be read, or the folder not written to.
    """
    if not (folder / MANIFEST).exists():
        write_manifest(folder)
        return
    entries = dict(read_manifest(folder))
    for name in names:
        _check_name(name, folder / MANIFEST)
        if os.path.lexists(folder / name):
            entries[name] = _entry(folder / name)
        else:
            entries.pop(name, None)
    _write(folder, entries)


def read_manifest(folder: Path) -> Mapping[str, Entry]:
    """Returns what the manifest of a folder says of each file.

    Raises:
        RunError: There is none, it cannot be read, or it names what lies outside the folder.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(read_regular_file(path).decode("utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{folder} has no {MANIFEST}.",
            hint="A run gets it when it is finished, and an older one when it is exported.",
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint="Was it cut off, or edited by hand?") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("files"), dict):
        raise RunError(f"{path} is no manifest of format {FORMAT}.", hint="Was it written by a newer version?")
    return {_check_name(name, path): _entry_of(value, name, path) for name, value in content["files"].items()}


def check_folder(folder: Path) -> list[Finding]:
    """Returns every file that is not as the manifest says, by name; empty if all are.

    Raises:
        RunError: The manifest or a file cannot be read.
    """
    expected, there = read_manifest(folder), _files(folder)
    findings = [Finding(name, "missing") for name in expected.keys() - there.keys()]
    for name, plain in there.items():
        if not plain:
            findings.append(Finding(name, "not a plain file"))
        elif name not in expected:
            findings.append(Finding(name, "additional"))
        elif (folder / name).lstat().st_size != expected[name].size or _entry(folder / name) != expected[name]:
            findings.append(Finding(name, "changed"))
    return sorted(findings, key=lambda finding: finding.file)


def _files(folder: Path) -> dict[str, bool]:
    """Returns the paths of all that is in a folder except manifest and signatures, and whether it is a plain file."""
    found: dict[str, bool] = {}
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=False):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST and not ("/" not in relative and name.endswith(SIGNATURE_SUFFIX)):
                found[relative] = stat.S_ISREG(path.lstat().st_mode)
    return found


def _raise(error: OSError) -> None:
    raise RunError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _entry(path: Path) -> Entry:
    return Entry(sha256=file_hash(path), size=path.stat().st_size)


def _entry_of(value: Any, name: str, path: Path) -> Entry:
    match value:
        case {"sha256": str(digest), "size": int(size)} if re.fullmatch(r"[0-9a-f]{64}", digest) and size >= 0:
            return Entry(sha256=digest, size=size)
    raise RunError(f"{path} has no size and SHA-256 for {name!r}.", hint="Was it edited by hand?")


def _check_name(name: str, path: Path) -> str:
    """Refuses what may lead out of the folder on any system."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise RunError(
            f"{path} names {name!r}, which is not a file inside the folder.", hint="It is not to be trusted."
        )
    return name


def _write(folder: Path, entries: Mapping[str, Entry]) -> None:
    content = {"format": FORMAT, "files": {name: entries[name]._asdict() for name in sorted(entries)}}
    with atomic_write(folder / MANIFEST) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
