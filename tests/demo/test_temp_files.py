"""Tests of the folder for temporary files."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from zoo_demo import temp_files
from zoo_demo.temp_files import SweepAfterUploads, TempFiles, TempLimits, mark_used

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "temp" / "uploads").mkdir(parents=True)
    return tmp_path / "temp"


def make_files(folder: Path, **limits: Any) -> TempFiles:
    return TempFiles(folder, folder / "uploads", TempLimits(**limits))


def write(folder: Path, name: str, size: int = 10) -> Path:
    """Writes a file that is younger than those before."""
    file = folder / name / "photo.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(size))
    time.sleep(0.01)
    return file


def names(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.rglob("*.png"))


def test_only_old_files_are_removed_and_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    precious = write(tmp_path, "precious")
    write(folder / "old", "deep")
    (folder / "old" / "link").symlink_to(precious.parent)
    time.sleep(0.3)
    write(folder, "new")
    files = make_files(folder, seconds=0.2, unused_seconds=0.2)

    files.sweep()  # removing its content makes a folder young again
    assert names(folder) == ["new"]
    time.sleep(0.3)
    files.sweep()
    time.sleep(0.3)
    files.sweep()

    assert [each for each in folder.rglob("*") if each.name != "uploads"] == []
    assert precious.exists()


def test_uploads_that_nobody_uses_are_removed_sooner(folder: Path) -> None:
    write(folder / "uploads", "unused")
    mark_used(write(folder / "uploads", "used"))
    write(folder, "table")
    time.sleep(0.2)

    make_files(folder, seconds=60.0, unused_seconds=0.2).sweep()

    assert names(folder) == ["table", "used"]


def test_uploads_that_nobody_uses_are_capped_in_all_and_the_oldest_go(folder: Path) -> None:
    mark_used(write(folder / "uploads", "used", 1000))
    for number in range(5):
        write(folder / "uploads", f"unused {number}", 100)

    make_files(folder, max_unused_bytes=250).sweep()

    assert names(folder) == ["unused 3", "unused 4", "used"]
    assert not (folder / "uploads" / "unused 0").exists()


def test_all_files_are_capped_and_unused_uploads_go_first_then_those_not_used_for_longest(folder: Path) -> None:
    first, second = write(folder / "uploads", "first", 100), write(folder / "uploads", "second", 100)
    mark_used(second)
    time.sleep(0.01)
    mark_used(first)
    write(folder, "table", 100)
    write(folder / "uploads", "unused", 100)

    make_files(folder, max_bytes=300).sweep()
    assert names(folder) == ["first", "second", "table"]
    make_files(folder, max_bytes=299).sweep()
    assert names(folder) == ["first", "table"]


def test_the_number_of_files_is_capped(folder: Path) -> None:
    for number in range(5):
        write(folder / "uploads", f"unused {number}", 0)

    make_files(folder, max_files=2).sweep()

    assert names(folder) == ["unused 3", "unused 4"]


def test_the_uploads_in_use_that_are_remembered_are_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temp_files, "_MAX_REMEMBERED", 2)
    temp_files._in_use.clear()
    for name in "abc":
        mark_used(folder / name)

    assert list(temp_files._in_use) == [str(folder / "b"), str(folder / "c")]


def test_an_upload_is_followed_by_a_sweep_even_if_it_fails(folder: Path) -> None:
    async def upload(scope: Scope, receive: Receive, send: Send) -> None:
        write(folder / "uploads", "partial", 100)
        if scope["path"] == "/fails":
            raise ConnectionError

    async def work() -> None:
        files = make_files(folder, max_unused_bytes=50)
        app = SweepAfterUploads(upload, is_upload=lambda scope: scope["path"] != "/other", files=files)
        for path in ("/upload", "/fails"):
            try:
                await app({"type": "http", "path": path}, None, None)  # type: ignore[arg-type]
            except ConnectionError:
                assert path == "/fails"
            assert names(folder) == []
        await app({"type": "http", "path": "/other"}, None, None)  # type: ignore[arg-type]
        assert names(folder) == ["partial"]

    asyncio.run(work())


def test_uploads_that_end_together_share_a_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = []
    monkeypatch.setattr(TempFiles, "sweep", lambda self: sweeps.append(time.sleep(0.05)))

    async def work() -> None:
        files = make_files(folder)
        await asyncio.gather(*(files.sweep_now() for _ in range(50)))

    asyncio.run(work())

    assert len(sweeps) <= 2
