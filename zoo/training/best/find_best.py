"""Searches for the best model within a given time: from a configuration to a finished run and a table."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig, make_config
from zoo.data.sources.load import load_splits
from zoo.data.sources.resolve import resolve_data
from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, DataError, RunError
from zoo.events import Note
from zoo.inference.run import Run
from zoo.plugins.distributions import require_torch
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.plugins.specs import ImageSet
from zoo.runs.run import RUNS
from zoo.training.best.sources import find_sources
from zoo.training.best.state import PICTURE, SearchState, create_folder, read_state
from zoo.training.distributed.process_group import ProcessGroup
from zoo.utils.arguments import DICT, FLAG, FUNCTION, NAMES, NUMBER, PATH, Accepted, accepts
from zoo.utils.markup import bar, block, line, table
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.events import Observer
    from zoo.training.best.table import Row

# What the search itself varies, or what only a single run can have.
RESERVED = frozenset(
    {"backbone", "backbone_options", "weights", "image_size", "freeze", "epochs", "patience", "devices", "tracker"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A finished search.

    Attributes:
        run: The chosen run.
        rows: What was tried, in order.
        folder: Its folder, with ``search.json``, ``search.csv`` and ``search.png``.
        seconds: How long it took.
    """

    run: Run
    rows: tuple[Row, ...]
    folder: Path
    seconds: float

    @property
    def picture(self) -> Path:
        """The picture: accuracy against the time of a prediction."""
        return self.folder / PICTURE

    def _repr_html_(self) -> str:
        from zoo.display.formatting import format_duration

        rows = [
            (each.number, each.name, bar(each.accuracy), f"{each.milliseconds:.1f}", format_duration(each.seconds))
            for each in self.rows
            if each.accuracy is not None
        ]
        shown = table(("", "tried", "accuracy", "ms for a photo", "time"), rows, right=(0, 3, 4))
        return block(shown, line(f"Chosen: {self.run.path}. {self.picture} shows the intervals."))


@accepts(
    data=PATH | Accepted("a zoo.ImageSet", (ImageSet,)),
    minutes=NUMBER,
    backbones=NAMES,
    backbone_options=DICT | None,
    only=FLAG,
    keep=FLAG,
    runs=PATH,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def find_best(
    data: str | os.PathLike[str] | ImageSet,
    *,
    minutes: float = 10.0,
    backbones: Sequence[str] = (),
    backbone_options: Mapping[str, Any] | None = None,
    only: bool = False,
    keep: bool = False,
    runs: str | os.PathLike[str] = RUNS,
    observer: Observer | None = None,
    registry: Registry | None = None,
    **values: Any,
) -> Search:
    """Finds the best model that can be had within some minutes, of all backbones whose weights are at hand.

    Args:
        data: As in `zoo.finetune`.
        minutes: The time that the search may take, its last evaluation included.
        backbones: Further backbones to try, each with a file of weights or a run if it is not to have pretrained ones:
            ``["resnet18=resnet18.safetensors"]``.
        backbone_options: Options of backbones, each with the name of its backbone: ``{"resnet18.width": 64}``.
        only: Whether to try no others than `backbones`.
        keep: Whether to keep the runs that were not chosen, in the folder of the search.
        runs: The folder in which the run and the folder of the search are created.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.
        **values: Fields of `FinetuneConfig` that all attempts have in common: ``limit=500``.

    Raises:
        TrainingError: Nothing was finished in the time, or everything failed.
        ZooError: As `zoo.finetune`.
        KeyboardInterrupt: After the progress has been saved.
    """
    require_torch("Fine-tuning")
    started = time.monotonic()
    observer, plugins = choose_observer(observer), registry or load_registry()
    if not ProcessGroup.from_environment().is_single:
        raise ConfigError("find_best runs in a single process.", hint="Start it without torchrun.")
    minutes = _check_minutes(minutes)
    if fixed := sorted(RESERVED & values.keys()):
        raise ConfigError(f"find_best: '{fixed[0]}' is for the search to decide.", hint="Leave it out.")
    config = make_config(data=data, registry=plugins, **values)  # checks all values
    sources = find_sources(backbones, backbone_options or {}, only=only, registry=plugins)
    images = _load(config, plugins, observer)
    folder = create_folder(parse_path(runs), stem=f"search-{images.name}")
    plain = config.to_dict()
    state = SearchState(
        folder=folder,
        minutes=minutes,
        data=config.data,
        values={name: plain[name] for name in values},
        sources=sources,
    )
    state.save()
    found = _search(state, images, keep=keep, started=started, observer=observer, registry=plugins)
    return replace(found, run=Run(found.run.path, found.run.record, registry))


@accepts(
    folder=PATH,
    minutes=NUMBER | None,
    data=Accepted("the zoo.ImageSet of the search", (ImageSet,)) | None,
    keep=FLAG,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def resume_search(
    folder: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    data: ImageSet | None = None,
    keep: bool = False,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> Search:
    """Resumes a search that was stopped or killed. What it had tried counts, and so does the time that this took.

    Args:
        folder: The folder of the search.
        minutes: Another time for the whole search; by default that with which it began.
        data: The photos, for a search that was given an `ImageSet`, which is not stored.
        keep: As in `find_best`.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Raises:
        RunError: There is no such search, it is finished, or another process runs it.
        ZooError: As `find_best`.
    """
    require_torch("Fine-tuning")
    started = time.monotonic()
    observer, plugins = choose_observer(observer), registry or load_registry()
    state = read_state(parse_path(folder))
    if state.finished:
        raise RunError(
            f"The search {state.folder} is finished: it chose {state.run}.",
            hint="It has looked at the test photos. Start a new search for another result.",
        )
    if minutes is not None:
        state.minutes = _check_minutes(minutes)
    if data is not None:
        state.data = data
    config = make_config(data=state.data, registry=plugins, **state.values)
    images = _load(config, plugins, observer)
    found = _search(state, images, keep=keep, started=started, observer=observer, registry=plugins)
    return replace(found, run=Run(found.run.path, found.run.record, registry))


def _check_minutes(minutes: float) -> float:
    if not 0 < minutes < math.inf:
        raise ConfigError(f"A search cannot take {minutes!r} minutes.", hint="Pass a number above 0.")
    return float(minutes)


def _load(config: FinetuneConfig, registry: Registry, observer: Observer) -> ImageSet:
    source = resolve_data(
        config.data,
        registry=registry,
        options=config.data_options,
        exclude=config.exclude,
        labels=config.labels,
    )
    images = load_splits(source, config, observer)
    if images.multi_label:  # the scores of a search are those of one label for each photo
        raise DataError(
            f"'{images.name}' is multi-label data, on which a search is not possible yet.",
            hint="'zoo finetune' and 'zoo tune' take it.",
        )
    return images


def _search(
    state: SearchState, images: ImageSet, *, keep: bool, started: float, observer: Observer, registry: Registry
) -> Search:
    # Imported only now, so that a wrong name or path is reported without waiting for torch.
    from zoo.training.best.search import search

    listed = ", ".join(each.backbone.rpartition("/")[2] for each in state.sources)
    text = f"Searching for at most {state.minutes:g} minutes: {listed}."
    observer(Note(text=f"{text} If it is stopped, 'zoo best --resume {state.folder}' goes on."))
    run, rows, seconds = search(state, images, keep=keep, started=started, observer=observer, registry=registry)
    return Search(run=run, rows=rows, folder=state.folder, seconds=seconds)
