"""The exported file that a user means, what it says of itself, and its place in the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import ExportError
from zoo.manifest import MANIFEST, update_manifest
from zoo.run import RUNS, is_run, locate
from zoo_export.card import KEY, ModelCard

if TYPE_CHECKING:
    from pathlib import Path

EXPORT = "model.onnx"


def find_file(reference: str | Path, *, runs: Path = RUNS) -> Path:
    """Returns the file of a path; of a run, its name or its tag, the run's exported file.

    Raises:
        RunError: There is no such file, run or tag.
        ExportError: The run was not exported.
    """
    path = locate(reference, runs=runs)
    if not path.is_dir():
        return path
    if not (path / EXPORT).is_file():
        raise ExportError(
            f"{path} has no {EXPORT}.",
            hint=f"'zoo export {path}' writes it." if is_run(path) else "Name the file, not the folder.",
        )
    return path / EXPORT


def take_in(file: Path) -> None:
    """Enters a file that was just written into the manifest of its folder, if that is a run's."""
    if (file.parent / MANIFEST).is_file() or is_run(file.parent):
        update_manifest(file.parent, [file.name])


def read_card(path: Path) -> ModelCard:
    """Returns what an exported file says of itself; imports onnx, no torch, and opens no session.

    Raises:
        ExportError: It is no ONNX file, or not one of ``zoo export``.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ExportError(f"{path} is no ONNX file that can be read: {error}.", hint="Was it cut off?") from error
    texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    if not texts:
        raise ExportError(f"{path} does not tell what it is.", hint="It was not made by 'zoo export'.")
    return ModelCard.from_json(texts[0], where=str(path))
