"""Compares variants of a configuration: trains each with several seeds, and plots and tabulates the results."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO, make_config
from zoo.display.progress import choose_observer
from zoo.display.scores import ACCURACY, Score, read_score
from zoo.errors import ConfigError, RunError
from zoo.events import Note
from zoo.models.backbone_choice import choose_backbone
from zoo.models.offers import find_offers
from zoo.plugins.distributions import require_torch
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.runs.run import RUNS, RunFolder
from zoo.training.distributed.process_group import ProcessGroup
from zoo.training.finetune import finetune
from zoo.utils.arguments import DICT, FUNCTION, LIST, PATH, TEXT, accepts
from zoo.utils.files import atomic_write
from zoo.utils.markup import bar, block, line, table
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.plugins.specs import ImageSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant of a configuration, trained with several seeds.

    Attributes:
        name: What distinguishes it from the other variants: ``"weights=none"``.
        runs: Paths of its run folders, one for each seed.
        accuracies: Accuracy of each run, 0 to 1, on the test split, or on the validation split if there is no test;
            with several labels per photo, its mAP.
        seconds: Duration of each run.
        mean: Mean of `accuracies`.
        half_width: Half width of the mean's 95 % interval over the seeds (Student's t); None for fewer than three.
        figure: What `accuracies` are: ``"accuracy"`` or ``"mAP"``.
    """

    name: str
    runs: tuple[str, ...]
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    mean: float
    half_width: float | None
    figure: str = ACCURACY


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        variants: The variants, in the order of the grid.
        picture: Path of ``comparison.png``, or of ``comparison-2.png`` if there was one already.
        table: Path of the table, which has the same name and ends in ``.json``.
    """

    variants: tuple[Variant, ...]
    picture: Path
    table: Path

    def _repr_html_(self) -> str:
        from zoo.metrics.intervals import format_mean

        rows = [
            (each.name, bar(each.mean), format_mean(each.accuracies), len(each.runs), f"{fmean(each.seconds):.0f}")
            for each in self.variants
        ]
        shown = table(("variant", "", self.variants[0].figure, "runs", "seconds per run"), rows, right=(3, 4))
        return block(shown, line(f"{self.picture} has the curves."))


@accepts(
    backbone=TEXT,
    grid=DICT,
    common=DICT | None,
    seeds=LIST,
    runs=PATH,
    output=PATH | None,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def compare(
    backbone: str,
    *,
    data: str | os.PathLike[str] | ImageSet,
    grid: Mapping[str, Sequence[Any]],
    common: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    runs: str | os.PathLike[str] = RUNS,
    output: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> Comparison:
    """Fine-tunes with every combination of values and every seed.

    Args:
        backbone: A name from the registry, or ``"auto"`` as in `zoo.training.finetune.finetune`.
        data: The name of a dataset, a folder, a CSV or an `ImageSet`.
        grid: Fields of `FinetuneConfig`, each with the values to try: ``{"weights": ["pretrained", "none"]}``.
        common: Fields with the same value in all variants.
        seeds: The seeds; each variant is trained once with each.
        runs: The folder in which the run folders are created.
        output: The folder for picture and table; by default `runs`. Earlier ones are kept.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Raises:
        MissingPackageError: torch is not installed.
        ConfigError: A value is wrong; all are checked before the first run starts.
        UnknownNameError: No plugin offers one of the backbones or heads.
        RunError: `output` cannot be written to.
    """
    require_torch("Fine-tuning")
    registry, observer = registry or load_registry(), choose_observer(observer)
    if backbone == AUTO:
        backbone = choose_backbone(registry).name
    plan = _plan(backbone, data, grid, dict(common or {}), seeds, registry)
    for configs in plan.values():
        find_offers(configs[0], registry)
    folder = _make_folder(parse_path(runs if output is None else output))
    finished: dict[str, list[RunFolder]] = {}
    total = sum(map(len, plan.values()))
    group = f"compare {backbone} {datetime.now():%Y-%m-%d %H:%M:%S}"
    for name, configs in plan.items():
        for config in configs:
            number = 1 + sum(map(len, finished.values()))
            observer(Note(text=f"Run {number} of {total}: {name}, seed {config.seed}."))
            finished.setdefault(name, []).append(
                finetune(config, runs=runs, observer=observer, registry=registry, group=group)
            )
    return _write_comparison(finished, folder, title=f"{backbone} on {next(iter(plan.values()))[0].to_dict()['data']}")


def _plan(
    backbone: str,
    data: str | os.PathLike[str] | ImageSet,
    grid: Mapping[str, Sequence[Any]],
    common: dict[str, Any],
    seeds: Sequence[int],
    registry: Registry,
) -> dict[str, list[FinetuneConfig]]:
    if not seeds:
        raise ConfigError("compare needs at least one seed.")
    if "devices" in {*grid, *common} or not ProcessGroup.from_environment().is_single:
        raise ConfigError(
            "compare runs in a single process.",
            hint="To use several processes, start each run with 'zoo finetune --devices'.",
        )
    if both := sorted(set(grid) & set(common)):
        raise ConfigError(f"compare: '{both[0]}' is both varied and fixed.")
    for name, choices in grid.items():
        if not LIST.matches(choices):
            raise ConfigError(
                f"compare: the values of '{name}' cannot be of type {type(choices).__name__}.",
                hint=f"Pass a list of values: grid={{'{name}': [...]}}.",
            )
    plan = {}
    for values in itertools.product(*grid.values()):
        varied = dict(zip(grid, values, strict=True))
        name = ", ".join(_describe(key, value) for key, value in varied.items()) or backbone
        plan[name] = [
            make_config(**{"backbone": backbone, "data": data, **common, **varied, "seed": seed, "registry": registry})
            for seed in seeds
        ]
    return plan


def _describe(name: str, value: Any) -> str:
    """Returns ``lr=0.1``, ``augment=blur+mixup`` or ``loss gamma=2``."""
    if isinstance(value, dict):
        return " ".join([name.removesuffix("_options"), *(f"{key}={each}" for key, each in value.items())])
    if isinstance(value, (tuple, list)):
        value = "+".join(map(str, value)) or "none"
    return f"{name}={value}"


def _make_folder(folder: Path) -> Path:
    """Creates a folder before hours of training, unless it exists, and checks that it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"Cannot create the folder {folder}: {error.strerror}.", hint="Pass another folder with --output."
        ) from error
    if not os.access(folder, os.W_OK):
        raise RunError(f"The folder {folder} is not writable.", hint="Pass another folder with --output.")
    return folder


def _reserve_names(folder: Path) -> tuple[Path, Path]:
    """Returns the names of a picture and of a table that do not exist yet, and creates the table."""
    for number in itertools.count(1):
        stem = "comparison" if number == 1 else f"comparison-{number}"
        picture, table = folder / f"{stem}.png", folder / f"{stem}.json"
        if picture.exists():
            continue
        try:
            table.touch(exist_ok=False)  # no other process takes the name
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"Cannot write {table}: {error.strerror}.", hint="Is the disk full?") from error
        return picture, table
    raise AssertionError("unreachable")


def _write_comparison(finished: Mapping[str, Sequence[RunFolder]], folder: Path, *, title: str) -> Comparison:
    from zoo.report import with_mean_ap, write_comparison

    variants = tuple(_variant(name, runs) for name, runs in finished.items())
    picture, table = _reserve_names(folder)
    figure = variants[0].figure
    read_rows = RunFolder.metrics if figure == ACCURACY else lambda run: with_mean_ap(run.metrics())
    write_comparison(
        picture,
        {name: [read_rows(run) for run in runs] for name, runs in finished.items()},
        title=title,
        figure=figure,
        test=_test_accuracies(finished),
    )
    with atomic_write(table) as aside:
        aside.write_text(json.dumps([asdict(variant) for variant in variants], indent=2) + "\n", encoding="utf-8")
    return Comparison(variants=variants, picture=picture, table=table)


def _variant(name: str, runs: Sequence[RunFolder]) -> Variant:
    from zoo.metrics.intervals import mean_interval

    scores = [_score(run, "test" if "test" in run.results else "val") for run in runs]
    accuracies = tuple(score.value for score in scores)
    mean, half_width = mean_interval(accuracies)
    return Variant(
        name=name,
        runs=tuple(str(run.path) for run in runs),
        accuracies=accuracies,
        seconds=tuple(float(run.results["seconds"]) for run in runs),
        mean=mean,
        half_width=half_width,
        figure=scores[0].name,
    )


def _score(run: RunFolder, split: str) -> Score:
    score = read_score(run.results, split)
    assert score is not None, "every finished run has it"
    return score


def _test_accuracies(finished: Mapping[str, Sequence[RunFolder]]) -> dict[str, list[float]] | None:
    if not all("test" in run.results for runs in finished.values() for run in runs):
        return None
    return {name: [_score(run, "test").value for run in runs] for name, runs in finished.items()}
