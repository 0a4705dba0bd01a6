"""Folders of generated photos."""

from pathlib import Path

import pytest
from scenes import encode, make_scene


@pytest.fixture
def folder(tmp_path):
    """Returns a function that writes files into a folder `photos`, and returns it: pictures, bytes or seeds by name."""

    def fill(files: dict[str, object]) -> Path:
        for name, content in files.items():
            file = tmp_path / "photos" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = make_scene(content) if isinstance(content, int) else content
            file.write_bytes(picture if isinstance(picture, bytes) else encode(picture))
        return tmp_path / "photos"

    return fill


@pytest.fixture
def fine(folder):
    """Returns a function that fills a folder with a fine set of two classes: 14 training photos, 10 per other split."""

    def fill(more: dict[str, object] | None = None, **sizes: int) -> Path:
        counts = sizes or {"train": 14, "test": 10, "val": 10}
        files: dict[str, object] = {
            f"{split}/{label}/{number}.jpg": 10_000 * place + 1_000 * side + number
            for place, (split, count) in enumerate(counts.items(), start=1)
            for side, label in enumerate(("cat", "dog"))
            for number in range(count)
        }
        return folder({**files, **(more or {})})

    return fill
