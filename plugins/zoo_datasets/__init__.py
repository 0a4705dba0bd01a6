"""The built-in datasets: the hot dog photos of d2l.ai, and generated drawings of hot dogs."""

from __future__ import annotations

from zoo import DatasetSpec, hookimpl
from zoo_datasets.cartoon import CartoonOptions


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Returns `hotdog` and `hotdog-cartoon`."""
    return [
        DatasetSpec(
            name="hotdog",
            load="zoo_datasets.hotdog:load",
            is_local="zoo_datasets.hotdog:is_local",
            summary="Photos of hot dogs and other food, from d2l.ai: 2000 for training, 800 for testing (download).",
        ),
        DatasetSpec(
            name="hotdog-cartoon",
            load="zoo_datasets.cartoon:load",
            is_local="zoo_datasets.cartoon:is_local",
            summary="Generated drawings, not photos, of hot dogs and other food; needs no network.",
            licence="same as finetune-zoo",
            options=CartoonOptions,
        ),
    ]
