"""Tests of the folder for temporary files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from zoo_demo.temp_files import sweep

if TYPE_CHECKING:
    from pathlib import Path


def test_only_old_files_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "photo.png").write_bytes(b"1")
    folder = tmp_path / "temp"
    (folder / "old" / "deep").mkdir(parents=True)
    (folder / "old" / "deep" / "photo.png").write_bytes(b"1")
    (folder / "old" / "link").symlink_to(elsewhere)
    time.sleep(0.3)
    (folder / "new").mkdir()
    (folder / "new" / "photo.png").write_bytes(b"1")

    sweep(folder, seconds=0.2)  # removing its content makes a folder young again
    assert [each.name for each in folder.rglob("*.*")] == ["photo.png"]
    time.sleep(0.3)
    sweep(folder, seconds=0.2)
    sweep(folder, seconds=-1)

    assert list(folder.iterdir()) == []
    assert (elsewhere / "photo.png").exists()
