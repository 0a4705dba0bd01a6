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
ARCHIVE, UNPACKED = "hotdog.zip", "unpacked"
COUNTS = {"train": {"hotdog": 1000, "not-hotdog": 1000}, "test": {"hotdog": 400, "not-hotdog": 400}}


def load(request: DatasetRequest) -> ImageSet:
    """Reads the photos; downloads and extracts them first if the cache has neither the photos nor their archive.

    A manual copy in the cache works without a network: ``hotdog.zip``, or the extracted folder ``hotdog`` that contains
    ``train`` and ``test``.

    Raises:
        DataError: The photos are not available, or their number is wrong.
    """
    archive, unpacked = request.cache / ARCHIVE, request.cache / UNPACKED
    folder = _find_photos(request.cache)
    if folder is None:
        try:
            download(URL, archive, sha1=SHA1, progress=request.progress)
        except DataError as error:
            if archive.exists():
                raise
            hint = f"Without a network, use the dataset hotdog-cartoon. {error.hint}"
            raise DataError(error.message, hint=hint, offline=error.offline) from None
        extract_zip(archive, unpacked, progress=request.progress)
        folder = _find_photos(request.cache) or unpacked
    images = read_folder(folder)
    _check_counts(images, folder)
    source = "from an archive with the correct SHA-1" if folder.is_relative_to(unpacked) else "from a manual copy"
    note = f"The hot dogs of d2l.ai, {source}: 1000 + 1000 photos for training, 400 + 400 for testing."
    return dataclasses.replace(images, name="hotdog", note=note)


def is_local(cache: Path) -> bool:
    """Returns whether the cache contains the photos, or their archive."""
    return (cache / ARCHIVE).is_file() or _find_photos(cache) is not None


def _find_photos(cache: Path) -> Path | None:
    """Returns the folder that contains train and test, or None."""
    unpacked = cache / UNPACKED
    places = (unpacked / "hotdog", unpacked, cache / "hotdog", cache)
    return next((place for place in places if (place / "train").is_dir() and (place / "test").is_dir()), None)


def _check_counts(images: ImageSet, folder: Path) -> None:
    counts = {
        split: dict(sorted(Counter(sample.label_text(images.classes) for sample in samples).items()))
        for split, samples in (("train", images.train), ("test", images.test))
    }
    if counts != COUNTS or images.val:
        listed = "; ".join(
            f"{split}: {', '.join(f'{n} {c}' for c, n in counts[split].items()) or 'none'}" for split in counts
        )
        raise DataError(
            f"{folder} does not contain the photos of d2l.ai (train: 1000 + 1000, test: 400 + 400), but {listed}.",
            hint=f"Delete it to download them again. To use photos of your own, pass their path: --data {folder}",
        )
