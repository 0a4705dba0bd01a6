"""The dataset `hotdog`: the photos of "Dive into Deep Learning" (d2l.ai), section "Fine-Tuning"."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from zoo.data.sources.folder import read_folder
from zoo.errors import DataError
from zoo.utils.fetch.download import download
from zoo.utils.fetch.unzip import extract_zip

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.specs import DatasetRequest, ImageSet

URL = "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
SHA1 = "fba480ffa8aa7e0febbb511d181409f899b9baa5"
COUNTS = {"train": {"hotdog": 1000, "not-hotdog": 1000}, "test": {"hotdog": 400, "not-hotdog": 400}}


def load(request: DatasetRequest) -> ImageSet:
    """Reads the photos; downloads and unpacks them first where neither they nor their archive lie in the cache.

    A copy put there by hand works without network: ``hotdog.zip``, or the unpacked folder ``hotdog`` with ``train``
    and ``test`` in it.

    Raises:
        DataError: The photos cannot be had, or are not as many as they should be.
    """
    archive, unpacked = request.cache / "hotdog.zip", request.cache / "unpacked"
    folder = _photos(request.cache, unpacked)
    if folder is None:
        try:
            download(URL, archive, sha1=SHA1, progress=request.progress)
        except DataError as error:
            if archive.exists():
                raise
            hint = f"For first steps without network there is the dataset hotdog-cartoon. {error.hint}"
            raise DataError(error.message, hint=hint) from None
        extract_zip(archive, unpacked, progress=request.progress)
        folder = _photos(request.cache, unpacked) or unpacked
    images = read_folder(folder)
    _check_counts(images, folder)
    checked = "from an archive with the right SHA-1" if folder.is_relative_to(unpacked) else "put there by hand"
    note = f"The hot dogs of d2l.ai, {checked}: 1000 + 1000 photos to train, 400 + 400 to test."
    return dataclasses.replace(images, name="hotdog", note=note)


def _photos(cache: Path, unpacked: Path) -> Path | None:
    """Returns the folder that holds train and test, if it is there."""
    places = (unpacked / "hotdog", unpacked, cache / "hotdog", cache)
    return next((place for place in places if (place / "train").is_dir() and (place / "test").is_dir()), None)


def _check_counts(images: ImageSet, folder: Path) -> None:
    found = {
        part: dict(sorted(Counter(images.classes[sample.label] for sample in samples).items()))
        for part, samples in (("train", images.train), ("test", images.test))
    }
    if found != COUNTS or images.val:
        counts = "; ".join(
            f"{part}: {', '.join(f'{n} {c}' for c, n in found[part].items()) or 'none'}" for part in found
        )
        raise DataError(
            f"{folder} does not hold the d2l.ai photos (1000 + 1000 to train, 400 + 400 to test), but {counts}.",
            hint=f"Delete it to download them again; photos of your own are used with their path, {folder}",
        )
