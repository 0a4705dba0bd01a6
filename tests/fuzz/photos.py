"""Targets for photos and datasets: images, tables, archives and names, with valid ones and their readers."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from pathlib import Path

from fuzz.exports import pt2_archives
from problem_images import make_problems
from run_files import make_untrained_run

from zoo.errors import ZooError

_MOST_BYTES = 300_000  # of a real image: larger ones take longer without having more headers
_REAL = Path(os.environ.get("ZOO_TEST_DATA", "/nonexistent")) / "problem_images"


def images() -> list[bytes]:
    real = [path.read_bytes() for path in sorted(_REAL.rglob("*")) if path.is_file() and path.suffix != ".tsv"]
    return [each.content for each in make_problems() if not each.expensive] + [
        each for each in real if len(each) <= _MOST_BYTES
    ]


def decode_whole(content: bytes, folder: Path) -> None:
    from zoo.data.images.decode import decode
    from zoo.data.images.resize import preprocess
    from zoo.preprocess import Preprocess

    try:
        pixels = decode(content, name="x")
    except ZooError as error:
        if "not enough memory" in error.message:
            raise MemoryError from error
        raise
    assert preprocess(pixels, Preprocess(size=(32, 32), resize=40)).shape == (32, 32, 3)


def decode_draft(content: bytes, folder: Path) -> None:
    from zoo.data.images.decode import decode

    decode(content, name="x", min_side=16)


def read_header_only(content: bytes, folder: Path) -> None:
    from zoo.data.check.header import read_header

    if read_header(content) is None:
        raise ZooError("Not an image.")


def archives() -> list[bytes]:
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [*map(_zip_archive, methods), *pt2_archives()]


def _zip_archive(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in ("a/", "a/1.txt", "b/" + "long" * 60 + ".txt", "c/\N{GREEK SMALL LETTER ALPHA}.txt"):
            archive.writestr(zipfile.ZipInfo(name), "" if name.endswith("/") else "hello" * 20, compression)
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    from zoo.utils.fetch.unzip import ZipLimits, extract_zip

    (folder / "a.zip").write_bytes(content)
    try:
        extract_zip(folder / "a.zip", folder / "out", limits=ZipLimits(files=1000, total=50 << 20))
    finally:
        assert {path.name for path in folder.iterdir()} <= {"a.zip", "out"}, (
            "a file was written outside the output folder"
        )


def photo_archives() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, photo in enumerate(images()[:3]):
            archive.writestr(zipfile.ZipInfo(f"a/{number}.png"), photo[:2000], zipfile.ZIP_DEFLATED)
    return [buffer.getvalue(), *archives()]


def read_photo_archive(content: bytes, folder: Path) -> None:
    from zoo_demo.tabs.archives import PhotoReader, find_photos

    (folder / "a.zip").write_bytes(content)
    with PhotoReader() as reader:
        for photo in find_photos([folder / "a.zip"])[0]:
            reader.read(photo)


def read_table(content: bytes, folder: Path) -> None:
    from zoo.data.sources.table import read_csv

    for name in ("1.png", "2.png"):
        (folder / name).touch()
    (folder / "photos.csv").write_bytes(content)
    read_csv(folder / "photos.csv")


def names() -> list[bytes]:
    make_untrained_run()  # imports torch now, because the import starts programs
    return [b"colours", b"fake/colours"]


def read_dataset(content: bytes, folder: Path) -> None:
    from zoo.data.sources.load import load_source
    from zoo.data.sources.resolve import resolve_data

    name = content.decode(errors="surrogateescape")
    if os.path.expanduser(name).startswith(("/", "..")):  # noqa: PTH111  pathlib raises where there is no such user
        raise ZooError("A path may point anywhere.")
    with contextlib.chdir(folder):
        load_source(resolve_data(name, registry=make_untrained_run()[0], options={}))
