"""``exports.json`` in a run folder: what the run was exported to, when, and by which version of which plugin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.runs.manifest import update_manifest
from zoo.utils.files import atomic_write, parse_json, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPORTS = "exports.json"
FORMAT = 1
_MAX_VALUES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """One export of a run.

    Attributes:
        file: What was written: a path inside the run folder with ``/``, or, if it is elsewhere, only its name, because
            the folders of a machine are private.
        target: The qualified name of the target, ``"export/onnx"``.
        plugin: The key of its plugin.
        version: The version of the plugin.
        verified: Whether the target was to compare the file with the run.
        exported: Date and time, in ISO 8601.
    """

    file: str
    target: str
    plugin: str
    version: str
    verified: bool
    exported: str


def read_exports(folder: Path) -> tuple[ExportRecord, ...]:
    """Returns the exports of the run in a folder, in the order of their first export; empty if there are none.

    Raises:
        RunError: The file cannot be read, or is of a newer format.
    """
    path = folder / EXPORTS
    try:
        content = parse_json(read_regular_file(path), most=_MAX_VALUES)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="Remove it, and export the run again.") from error
    match content:
        case {"format": int(version), "exports": list(rows)} if version == FORMAT:
            return tuple(_parse(row, path) for row in rows)
    raise RunError(f"{path} is not of format {FORMAT}.", hint="A newer version of the zoo may have written it.")


def record_export(folder: Path, path: Path, **values: Any) -> None:
    """Records an export in the run folder, and adds what was written to its manifest, if it is inside.

    Args:
        folder: The run folder.
        path: The file or folder that was written.
        **values: The fields of `ExportRecord` except `file`.

    Raises:
        RunError: The run folder cannot be written to, or its files cannot be read.
    """
    inner, outer = path.resolve(), folder.resolve()
    inside = inner.is_relative_to(outer)
    new = ExportRecord(file=inner.relative_to(outer).as_posix() if inside else path.name, **values)
    earlier = [row for row in read_exports(folder) if (row.file, row.target) != (new.file, new.target)]
    content = {"format": FORMAT, "exports": [asdict(row) for row in (*earlier, new)]}
    with atomic_write(folder / EXPORTS) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    written = list(_files_of(outer / inner.relative_to(outer).parts[0])) if inside else []
    update_manifest(folder, [EXPORTS, *(file.relative_to(outer).as_posix() for file in written)])


def _files_of(path: Path) -> Iterator[Path]:
    """Yields a file, or the files of a folder: a target may write more beside the path that it returns."""
    yield from [path] if path.is_file() else (each for each in path.rglob("*") if each.is_file())


def _parse(row: Any, path: Path) -> ExportRecord:
    names = [field.name for field in fields(ExportRecord)]
    if not isinstance(row, dict) or set(row) != set(names):
        raise RunError(f"{path} has an entry without {', '.join(names)}.", hint="It may have been edited by hand.")
    if any(type(row[name]) is not (bool if name == "verified" else str) for name in names):
        raise RunError(f"{path} has a value of the wrong type.", hint="It may have been edited by hand.")
    return ExportRecord(**row)
