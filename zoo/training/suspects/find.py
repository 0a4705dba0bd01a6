"""Finds photos whose labels are probably wrong: ``zoo data suspects`` and `zoo.find_suspects`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zoo.config import make_config
from zoo.data.sources.load import load_splits
from zoo.display.progress import choose_observer
from zoo.errors import DataError
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.training.request import resolve_names, suggested_offline_command
from zoo.utils.arguments import DICT, FUNCTION, NUMBER, PATH, TEXT, WHOLE_NUMBER, accepts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from zoo.events import Observer
    from zoo.plugins.specs import ImageSet
    from zoo.training.suspects.result import Suspects


@accepts(
    backbone=TEXT | None,
    data_options=DICT | None,
    test_fraction=NUMBER,
    val_fraction=NUMBER,
    groups=PATH | TEXT,
    labels=PATH | None,
    exclude=PATH | None,
    seed=WHOLE_NUMBER,
    device=TEXT,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def find_suspects(
    data: str | os.PathLike[str] | ImageSet,
    *,
    backbone: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    test_fraction: float = 0.2,
    val_fraction: float = 0.1,
    groups: str | os.PathLike[str] = "auto",
    labels: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> Suspects:
    """Finds photos whose labels are probably wrong, in all splits of a dataset, by confident learning.

    A pretrained backbone runs once over all photos. Linear heads on its features predict every photo without having
    seen it, or a photo of its group, or a near duplicate; then `zoo.metrics.label_errors.judge_labels` compares
    predictions and labels (Northcutt, Jiang and Chuang 2021, https://doi.org/10.1613/jair.1.12125).

    Args:
        data: A dataset's name, a folder, a CSV of path,label, or an `ImageSet`; of one label for each photo.
        backbone: Whose features to use; by default the best whose pretrained weights are on this machine.
        data_options: Options of the dataset.
        test_fraction: As in `zoo.config.FinetuneConfig`; splits are only named, and have no effect on what is found.
        val_fraction: As in `zoo.config.FinetuneConfig`.
        groups: As in `zoo.config.FinetuneConfig`.
        labels: A CSV file of corrected labels; see `zoo.data.sources.corrections`.
        exclude: A list of photos to leave out.
        seed: Seeds the splits, and the folds in which the penalty is chosen.
        device: As in `zoo.config.FinetuneConfig`.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Returns:
        The suspects, the most suspicious first. Nothing is written, and no file of the dataset changes.

    Raises:
        DataError: The data does not exist or is inconsistent, or its photos have several labels.
        WeightsError: There are no pretrained weights.
        ZooError: Whatever else the user can put right.
    """
    started, observer, plugins = time.perf_counter(), choose_observer(observer), registry or load_registry()
    config = make_config(
        backbone,
        data=data,
        registry=plugins,
        data_options=data_options or {},
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        groups=groups,
        labels=labels,
        exclude=exclude,
        seed=seed,
        device=device,
        freeze="all",
        head="linear",
    )
    with suggested_offline_command(config, plugins):
        names = resolve_names(config, registry=plugins)
    images = load_splits(names.source, config, observer)
    if images.multi_label:
        raise DataError(
            f"The photos of '{images.name}' have any number of labels; suspects are found among photos of one class.",
            hint="'zoo data check' compares the labels of near duplicates, of multi-label data too.",
        )
    # Imported only now, so that wrong names and paths are reported without waiting for torch.
    import numpy as np

    from zoo.metrics.label_errors import judge_labels
    from zoo.models.memory_errors import memory_errors
    from zoo.training.suspects.probe import build_probe
    from zoo.training.suspects.result import Suspects

    with memory_errors():
        probe = build_probe(names, images, registry=plugins, observer=observer)
        given = np.array([sample.labels[0] for sample in probe.samples])
        probabilities = probe.predict(given, seed=config.seed, observer=observer)
    held_out = np.flatnonzero(np.isfinite(probabilities[:, 0]))
    return Suspects(
        name=images.name,
        backbone=names.offers.backbone.spec.name,
        classes=images.classes,
        samples=tuple(probe.samples[row] for row in held_out),
        splits=tuple(probe.splits[row] for row in held_out),
        probabilities=probabilities[held_out],
        judgement=judge_labels(probabilities[held_out], given[held_out]),
        unjudged=len(given) - len(held_out),
        seconds=time.perf_counter() - started,
    )
