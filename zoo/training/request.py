"""A request to train: a configuration with everything that it names, found before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.sources.resolve import resolve_data
from zoo.errors import WeightsError
from zoo.models.offers import find_offers
from zoo.runs.open import open_run
from zoo.runs.run import RUNS
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Registry
    from zoo.runs.run import Run
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.resume import ResumePoint

_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedNames:
    """What the names in a configuration refer to.

    Attributes:
        offers: The backbone and the head.
        weights: The file or the run with the weights of the backbone; None for pretrained and none.
        source: The data.
    """

    offers: Offers
    weights: Path | Run | None
    source: DataSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A request to train.

    Attributes:
        config: The configuration.
        names: What its names refer to.
        runs: The folder in which the run folder is created.
        observer: Called with events.
        processes: The processes that train together.
        started: Start time by `time.perf_counter`.
        pictures: Whether to write the pictures of the finished run.
        resume_point: The run to resume; None for a new run.
    """

    config: FinetuneConfig
    names: ResolvedNames
    runs: Path
    observer: Observer
    processes: ProcessGroup
    started: float
    pictures: bool = True
    resume_point: ResumePoint | None = None


def resolve_names(config: FinetuneConfig, *, registry: Registry, runs: Path = RUNS) -> ResolvedNames:
    """Returns what the names in a configuration refer to: backbone, head, weights and data. Imports no torch.

    Raises:
        ZooError: A name is unknown, an option is wrong, or a file is missing.
    """
    offers = find_offers(config, registry)
    weights = find_weights(config, runs=runs)
    source = resolve_data(config.data, registry=registry, options=config.data_options, exclude=config.exclude)
    if config.weights == "pretrained":
        offers.backbone.call("checking the weights of", offers.backbone.spec.check_pretrained)
    return ResolvedNames(offers=offers, weights=weights, source=source)


def find_weights(config: FinetuneConfig, *, runs: Path = RUNS) -> Path | Run | None:
    """Returns the file or the run with the weights that a configuration names; None for pretrained and none.

    Raises:
        WeightsError: There is no such file.
        RunError: There is no such run.
    """
    if config.weights in ("pretrained", "none"):
        return None
    path = parse_path(config.weights)
    if path.is_file():
        return path
    if path.suffix in _WEIGHT_SUFFIXES:
        raise WeightsError(f"There is no weights file {path}.", hint="Check the path given with --weights.")
    return open_run(config.weights, runs=runs)
