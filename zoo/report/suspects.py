"""The sheet of photos whose labels may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.report.plot import INK, MUTED, WRONG, class_labels
from zoo.report.sheets import Tile, load_photo, write_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.data.check.suspect import Suspect

_COLUMNS = 6


def write_suspects(path: Path, suspects: Sequence[Suspect], *, title: str, total: int) -> Path:
    """Writes a sheet of photos, each with the class that it looks like, its label, and its split and name.

    Args:
        path: The file to write.
        suspects: The photos to show, the most suspicious first.
        title: The title.
        total: The number of all suspects.

    Returns:
        `path`. An empty frame replaces a photo that cannot be read. Without suspects the picture says so.

    Raises:
        RunError: The file cannot be written.
    """
    subtitle = (
        f"{len(suspects)} of {total} suspects, each with what it looks like, its label, and their probabilities"
        if suspects
        else "No photo is confidently predicted as another class than its label."
    )
    tiles = [_tile(each) for each in suspects]
    return write_tiles(path, tiles, columns=_COLUMNS, title=title, subtitle=subtitle)


def _tile(suspect: Suspect) -> Tile:
    suggested, label = class_labels((suspect.suggested, suspect.label))
    captions = (
        (f"looks like {suggested}, {suspect.suggested_probability:.2f}", WRONG),
        (f"label: {label}, {suspect.label_probability:.2f}", INK),
        (f"{suspect.split}: {suspect.sample.name}", MUTED),
    )
    return Tile(photo=load_photo(suspect.sample.source), captions=captions)
