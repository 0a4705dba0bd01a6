"""A request to train: a configuration with everything that it names, found before torch is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO
from zoo.data.sources.resolve import is_local as is_local_dataset
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ConfigError, PluginError, UnknownNameError, WeightsError, ZooError
from zoo.models.backbone_choice import FROM_SCRATCH, choose_backbone, list_local_backbones
from zoo.models.offers import find_offers
from zoo.plugins.distributions import require_torch
from zoo.plugins.hubs import fetch_model
from zoo.plugins.kinds import BACKBONE, DATASET
from zoo.plugins.options import needs_options
from zoo.plugins.registry import is_local, shortest_names
from zoo.runs.open import open_run, read_fetched
from zoo.runs.run import RUNS
from zoo.training.balance import check_balance
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.parts import adapt_config, find_parts
from zoo.utils.paths import missing_path_advice, parse_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import DataReport
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.parts import Parts
    from zoo.training.resume import ResumePoint
    from zoo.training.scores import Scores

_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedNames:
    """What the names in a configuration refer to.

    Attributes:
        config: The configuration, with the name of a backbone in place of ``"auto"``, and the version of weights on a
            hub; adapted to the optimizer.
        offers: The backbone and the head.
        parts: The other parts that plugins offer.
        weights: The file or the run with the weights of the backbone; None for pretrained and none.
        weights_origin: The reference to the hub that they were fetched from; otherwise empty.
        source: The data.
        backbone_reason: Why the backbone was chosen if the user named none; otherwise empty.
        notes: Sentences for the user on what was adapted.
    """

    config: FinetuneConfig
    offers: Offers
    parts: Parts
    weights: Path | RunFolder | None
    source: DataSource
    weights_origin: str = ""
    backbone_reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A request to train.

    Attributes:
        config: The configuration.
        names: What its names refer to.
        registry: The plugins.
        runs: The folder in which the run folder is created.
        observer: Called with events.
        processes: The processes that train together.
        started: Start time by `time.perf_counter`.
        pictures: Whether to write the pictures of the finished run.
        resume_point: The run to resume; None for a new run.
        group: A name that trackers show the runs of a comparison under, or empty.
        trial: Whether this is one of several trainings to choose from: it leaves the test photos alone, which are for
            the chosen one, and prepares no predictions.
        folder: The run folder; None to create one in `runs` whose name says what is trained.
        report: The report of an earlier check of these photos; None to check them.
        scores: Collects the scores that `zoo.training.scores` describes; None where nobody compares them.
        shared_features: What trainings with the same frozen backbone on the same photos have in common: results of
            `zoo.training.feature_extractor.FeatureExtractor`, which adds to it. None for a training of its own.
    """

    config: FinetuneConfig
    names: ResolvedNames
    registry: Registry
    runs: Path
    observer: Observer
    processes: ProcessGroup
    started: float
    pictures: bool = True
    resume_point: ResumePoint | None = None
    group: str = ""
    trial: bool = False
    folder: Path | None = None
    report: DataReport | None = None
    scores: dict[str, Scores] | None = None
    shared_features: dict[tuple[Any, ...], Any] | None = None


def resolve_names(
    config: FinetuneConfig, *, registry: Registry, runs: Path = RUNS, processes: ProcessGroup = SINGLE_PROCESS
) -> ResolvedNames:
    """Returns what the names in a configuration refer to: backbone, head, weights and data. Imports no torch.

    Args:
        config: The configuration.
        registry: The plugins.
        runs: The folder of the runs.
        processes: The processes that train together. The main one, which loads the weights, chooses a backbone for all.

    Raises:
        MissingPackageError: torch is not installed.
        ZooError: A name is unknown, an option is wrong, or a file is missing.
    """
    require_torch("Fine-tuning")
    config, reason = _resolve_backbone(config, registry, processes)
    offers, parts = find_offers(config, registry), find_parts(config, registry)
    assert offers.loss is not None
    check_balance(config, offers.loss.spec)
    config, notes = adapt_config(config, parts)
    weights: Path | RunFolder | None
    if (fetched := fetch_model(config.weights, "weights", registry=registry)) is not None:
        weights = read_fetched(fetched) if fetched.path.is_dir() else fetched.path
        config = dataclasses.replace(config, weights=fetched.origin)  # what the name means now
    else:
        weights = find_weights(config, runs=runs)
    source = resolve_data(
        config.data,
        registry=registry,
        options=config.data_options,
        exclude=config.exclude,
        labels=config.labels,
    )
    if config.weights == "pretrained":
        offers.backbone.call("checking the weights of", offers.backbone.spec.check_pretrained)
    return ResolvedNames(
        config=config,
        offers=offers,
        parts=parts,
        weights=weights,
        weights_origin="" if fetched is None else fetched.origin,
        source=source,
        backbone_reason=reason,
        notes=notes,
    )


def _resolve_backbone(
    config: FinetuneConfig, registry: Registry, processes: ProcessGroup
) -> tuple[FinetuneConfig, str]:
    """Returns the configuration with the name of a backbone, and why it was chosen; empty if the user named it."""
    if config.backbone != AUTO:
        return config, ""
    if config.weights != "pretrained":
        raise ConfigError(
            f"finetune: no backbone is named, but option 'weights' is {config.weights!r}.",
            hint="Name the backbone as well: zoo finetune resnet18 --weights ...",
        )
    choice = processes.broadcast(lambda: choose_backbone(registry))
    return dataclasses.replace(config, backbone=choice.name), choice.reason


def find_weights(config: FinetuneConfig, *, runs: Path = RUNS) -> Path | RunFolder | None:
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
        hint = missing_path_advice(config.weights) or "Check the path given with --weights."
        raise WeightsError(f"There is no weights file {path}.", hint=hint)
    return open_run(config.weights, runs=runs)


@contextmanager
def suggested_offline_command(config: FinetuneConfig, registry: Registry) -> Iterator[None]:
    """If something in the block cannot be downloaded, adds a command that works without a network to the hint.

    Args:
        config: The configuration of the training in the block.
        registry: The plugins.
    """
    try:
        yield
    except ZooError as error:
        if error.offline and (command := _offline_command(config, registry)):
            error.hint = f"{error.hint}\nWithout a network, this works: {command}".strip()
        raise


def _offline_command(config: FinetuneConfig, registry: Registry) -> str:
    """Returns a command as similar to a training as possible that needs no download; empty if there is none."""
    backbone, weights = config.backbone, config.weights
    if not isinstance(config.data, str):  # an `ImageSet`, which no command can name
        return ""
    if weights == "pretrained" and not _has_local_weights(backbone, registry):
        local = list_local_backbones(registry)
        weights = "pretrained" if local else "none"
        backbone = local[0] if local else (FROM_SCRATCH if backbone == AUTO else backbone)
    data = _local_data(config, registry)
    if not data or (backbone, weights, data) == (config.backbone, config.weights, config.data):
        return ""
    options = () if weights == "pretrained" else ("--weights", weights)
    return shlex.join(("zoo", "finetune", backbone, "--data", data, *options))


def _has_local_weights(backbone: str, registry: Registry) -> bool:
    with contextlib.suppress(UnknownNameError, PluginError):
        return is_local(registry.find(BACKBONE, backbone))
    return False


def _local_data(config: FinetuneConfig, registry: Registry) -> str:
    """Returns the data of a configuration if it is on this machine; otherwise the first dataset that is, or nothing."""
    with contextlib.suppress(ZooError):
        if resolve_data(config.data, registry=registry, options=config.data_options).is_local:
            return str(config.data)
    for name, offer in shortest_names(registry.offers(DATASET)).items():
        with contextlib.suppress(PluginError):
            if not needs_options(offer.spec.options) and is_local_dataset(offer):
                return name
    return ""
