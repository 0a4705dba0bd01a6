"""The built-in datasets: the hot dog photos of d2l.ai, and hot dogs drawn by the program."""

from __future__ import annotations

from zoo import DatasetRequest, DatasetSpec, ImageSet, hookimpl
from zoo_datasets.cartoon import CartoonOptions, load


def _load_hotdog(request: DatasetRequest) -> ImageSet:
    # urllib and the archive modules cost more than the rest of the listing.
    from zoo_datasets import hotdog

    return hotdog.load(request)


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Returns `hotdog` and `hotdog-cartoon`."""
    return [
        DatasetSpec(
            name="hotdog",
            load=_load_hotdog,
            summary="photos: hot dog or not, the set of d2l.ai; 2000 to train, 800 to test (downloaded)",
        ),
        DatasetSpec(
            name="hotdog-cartoon",
            load=load,
            summary="drawings made by the program, not photos: hot dog or another food; needs no network",
            licence="as finetune-zoo",
            options=CartoonOptions,
        ),
    ]
