"""Compares recipes of `zoo finetune` over data sets of several domains, with other trainers beside them.

Each run is a process of its own, timed from its start to its end, with a seed that recipes share. A run is kept as one
JSON file, named by a hash of all that decides its result: the options, the photos, the weights, the seed, the versions,
the machine and the code. A later call reuses it, so a comparison goes on after a stop, and one more recipe costs its
own runs only. Accuracy is the run's own; balanced accuracy and paired differences come from `zoo predict`, which is not
timed. The differences of a data set are paired over its test photos and the seeds that both trainers ran; their 95 %
intervals allow for other photos and other seeds (bench/_intervals.py).

Peers get the same photos, train on all of them, and test once at the end: a plain PyTorch loop (5 epochs, batches of
32, SGD at the one of several rates that does best on held-out training photos of one data set), fastai as its
documentation uses it (vision_learner, fine_tune(5), Resize(460) and aug_transforms(size=224), batches of 64), and
transformers' Trainer with its defaults (3 epochs, batches of 8, AdamW at 5e-5).
"""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _machine
import _photos
import _project
from _bench import make_parser, report
from _peers import Settings, choose_settings, default_python, find_missing_peers
from _recipes import parse_project, parse_recipe
from _runs import Result, Store
from _sets import PhotoSet, find_sets
from _tables import tabulate
from _trainers import PEER_RECIPES, RunError, Trainer, make_peer_trainer, make_recipe_trainer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

NAME = "domains"
_RESULTS = _project.ROOT / "bench" / "results" / NAME
_HELD_OUT = 0.2  # of the training photos, to choose the plain loop's rate
SPEED = ("cpu", "cores", "gpu", "torch_capability", "limits")  # what times depend on
_RATES = ("1e-3", "3e-3", "1e-2", "3e-2")
_BUSY = 0.5  # load per core


class Comparison:
    """Runs trainers on data sets, unless the store has the result.

    Args:
        store: The finished runs.
        machine: What times depend on.
        deadline: `time.monotonic` after which no further run starts.

    Attributes:
        results: Results by trainer, set and seed.
        failures: Messages of trainers that failed; a later call tries again.
        missing: Number of runs that did not start before the deadline.
    """

    def __init__(self, store: Store, machine: Mapping[str, Any], deadline: float = math.inf) -> None:
        self._store = store
        self._deadline = deadline
        self._machine = machine
        self.results: dict[tuple[str, str, int], Result] = {}
        self.failures: list[str] = []
        self.missing = 0

    def measure(self, trainers: Sequence[Trainer], sets: Sequence[PhotoSet], *, limit: int | None) -> None:
        """Runs all trainers on all sets, seed by seed, so that a stopped comparison has complete seeds."""
        for seed in range(max(trainer.seeds for trainer in trainers)):
            for photos in sets:
                self._measure_set([each for each in trainers if seed < each.seeds], photos.limit(limit, seed), seed)

    def _measure_set(self, trainers: Sequence[Trainer], photos: PhotoSet, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder).resolve() / photos.name
            for trainer in trainers:
                key = {"photos": photos.digest(), "seed": seed, "machine": self._machine, **trainer.identity}
                result = self._store.find(key, trainer.code)
                if result is None and time.monotonic() > self._deadline:
                    self.missing += 1
                    continue
                if result is None:
                    if not data.exists():
                        photos.copy(data)
                    result = self._run(trainer, data, seed, key)
                if result is not None:
                    self.results[trainer.name, photos.name, seed] = result

    def _run(self, trainer: Trainer, data: Path, seed: int, key: Mapping[str, Any]) -> Result | None:
        title, load = f"{data.name}, {trainer.name}, seed {seed}", get_load()
        try:
            with tempfile.TemporaryDirectory() as scratch:
                values = trainer.train(data, seed, Path(scratch))
        except RunError as error:
            self.failures.append(f"{title}: {error}")
            print(f"{title} failed: {error}", file=sys.stderr)
            return None
        self._store.add(key, trainer.code, {"trainer": trainer.name, "set": data.name, "load": load, **values})
        print(f"{title}: {values['accuracy']:.3f}, {values['seconds']:.1f} s", file=sys.stderr)
        return self._store.find(key, trainer.code)


def get_load() -> float:
    """Returns the machine's load over the last minute, where the system knows it, else 0."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def choose_rate(trainers: Mapping[str, Trainer], photos: PhotoSet, comparison: Comparison) -> tuple[str, str]:
    """Returns the plain loop's best rate on held-out training photos of one set, and a note about it."""
    held_out = photos.hold_out(_HELD_OUT, 0)
    accuracies = {}
    for rate, trainer in trainers.items():
        name = f"plain at {rate}"
        comparison.measure([trainer._replace(name=name)], [held_out], limit=None)
        if result := comparison.results.pop((name, photos.name, 0), None):
            accuracies[rate] = result.accuracy
    if not accuracies:
        sys.exit("No rate of the plain loop was measured:\n" + "\n".join(comparison.failures or ["no time was left"]))
    rate = max(accuracies, key=lambda each: accuracies[each])
    figures = ", ".join(f"{each}: {accuracy:.3f}" for each, accuracy in accuracies.items())
    count = len(held_out.photos["test"])
    return rate, f"plain: rate {rate}, the best on {count} held-out training photos of {photos.name} ({figures})."


def describe_quality(comparison: Comparison, store: Store) -> list[str]:
    """Returns notes about what a reader of the table has to know."""
    results = comparison.results.values()
    notes = [
        "Differences are in percentage points, with 95 % intervals for other test photos and other seeds of the same "
        "sets (with one seed in common: photos alone); 'other sets': for other sets like these."
    ]
    busy = sum(result.load > _BUSY * (os.cpu_count() or 1) for result in results)
    if busy:
        notes.append(f"The machine was busy when {busy} of {len(results)} runs began: their seconds are too high.")
    gap = max((abs(result.accuracy - result.predicted_accuracy()) for result in results), default=0.0)
    if gap:
        notes.append(f"Accuracy differs by up to {100 * gap:.2f} points between a run and its later predictions.")
    if store.others:
        notes.append(f"{store.others} results are of other versions of the code.")
    if comparison.missing:
        notes.append(f"{comparison.missing} runs are missing, because the time was over. Call again to go on.")
    return notes


def list_recipes(arguments: argparse.Namespace, folder: Path) -> list[Trainer]:
    """Returns the trainers of the recipes, which run copies of their checkouts in a folder."""
    projects = dict(arguments.project)
    roots = {recipe.name: projects.get(recipe.name, _project.ROOT) for recipe in arguments.recipe}
    copies = {
        root: _project.copy_checkout(root, folder / str(number)) for number, root in enumerate(set(roots.values()))
    }
    home = arguments.keep / "home"
    return [
        make_recipe_trainer(recipe, arguments, project=copies[roots[recipe.name]], home=home)
        for recipe in arguments.recipe
    ]


def list_peers(
    arguments: argparse.Namespace, sets: Sequence[PhotoSet], comparison: Comparison
) -> tuple[list[Trainer], list[str]]:
    """Returns the trainers of the available peers, and notes about them."""
    scripts = {name: PEER_RECIPES[name][0] for name in arguments.peers}
    missing = find_missing_peers(arguments.python, scripts.values())
    notes = list(missing.values())

    @cache
    def measure_settings() -> Settings:
        with tempfile.TemporaryDirectory() as folder:
            data = sets[0].limit(arguments.limit, 0).copy(Path(folder) / sets[0].name)
            size, workers = arguments.image_size or 224, min(8, os.cpu_count() or 1)
            return choose_settings(arguments.python, data, image_size=size, batch_size=32, workers=workers)

    def make(name: str, *extra: str) -> Trainer:
        quick = ["--epochs", "1", "--batch-size", "8"] if arguments.quick else []
        settings = measure_settings if arguments.best else None
        return make_peer_trainer(name, arguments, *quick, *extra, settings=settings)

    trainers = []
    for name in (name for name, script in scripts.items() if script not in missing):
        extra = []
        if name == "plain":
            tried = {rate: make(name, "--rate", rate)._replace(seeds=1) for rate in arguments.rates}
            chosen = next(each for each in sets if each.name == arguments.rate_set)
            rate, note = choose_rate(tried, chosen.limit(arguments.limit, 0), comparison)
            extra = ["--rate", rate]
            notes.append(note)
        trainers.append(make(name, *extra))
    return trainers, notes


def write_quick_sets(folder: Path) -> list[PhotoSet]:
    """Generates two small data sets."""
    for name, count in (("few", 12), ("fewer", 10)):
        _photos.generate(count, size=(64, 48), below=folder / "photos").rename(folder / name)
    return find_sets([folder], ["few", "fewer"])


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    several: dict[str, Any] = {"action": "append", "default": []}
    add("--sets", type=Path, metavar="FOLDER", help="folder of data sets, or one data set; may be repeated", **several)
    add("--names", type=_split, help="comma-separated names of the sets to use, in this order (all)")
    recipe = "options of zoo finetune ('frozen=--freeze all'), perhaps after a backbone, or after 'auto' to name none; "
    recipe += "may be repeated ('default=')"
    add("--recipe", type=parse_recipe, metavar="NAME=[BACKBONE] [OPTIONS]", help=recipe, **several)
    project = "another checkout of this project, which the recipe NAME runs; may be repeated"
    add("--project", type=parse_project, metavar="NAME=FOLDER", help=project, **several)
    add("--baseline", help="the recipe or peer that the others are compared with (the first recipe)")
    add("--options", type=shlex.split, default=[], help="options of zoo finetune for every recipe")
    add("--backbone", default="resnet18", help="backbone of the recipes that name none (resnet18)")
    add("--weights", help="its weights and those of the peers: a file, or none (zoo finetune's default)")
    add("--image-size", type=int, help="side of the input (that of the weights; 224 for peers)")
    add("--seeds", type=int, default=3, help="seeds, from 0 (3)")
    add("--limit", type=int, metavar="N", help="most training photos of a set (all)")
    add("--peers", type=_split, default=[], help=f"comma-separated: {','.join(PEER_RECIPES)} (none)")
    add("--peer-seeds", type=int, default=1, help="seeds of the peers (1)")
    add("--best", action="store_true", help="run peers with the best settings for this processor")
    add("--rates", type=_split, default=list(_RATES), help=f"rates of the plain loop to try ({','.join(_RATES)})")
    add("--rate-set", help="the set on which the plain loop's rate is chosen (the first)")
    add("--python", type=Path, default=default_python(), help="interpreter with the peers (bench/.peers, or this one)")
    add("--time-limit", type=float, default=math.inf, metavar="MINUTES", help="start no run after that time")
    add("--keep", type=Path, help="folder of the finished runs (bench/results/domains; a temporary one with --quick)")
    add("--any-code", action="store_true", help="reuse runs of other versions of the code, too")
    arguments = parser.parse_args(args)
    if arguments.quick:
        _make_quick(arguments)
    _check(arguments, parser)
    return arguments


def _make_quick(arguments: argparse.Namespace) -> None:
    arguments.recipe = arguments.recipe or [parse_recipe("default="), parse_recipe("sgd=--optimizer sgd")]
    arguments.backbone, arguments.weights, arguments.image_size, arguments.seeds = "timm/resnet10t", "none", 32, 1
    arguments.options = ["--epochs", "1", "--batch-size", "8", *arguments.options]
    arguments.rates = arguments.rates[:1]
    if not arguments.peers:
        arguments.peers, arguments.python = ["plain"], Path(sys.executable)


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Completes the arguments; exits if they contradict each other."""
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    arguments.recipe = arguments.recipe or [parse_recipe("default=")]
    recipes = [recipe.name for recipe in arguments.recipe]
    names = [*recipes, *arguments.peers]
    arguments.baseline = arguments.baseline or names[0]
    if unknown := set(arguments.peers) - PEER_RECIPES.keys():
        parser.error(f"--peers: no peer {', '.join(sorted(unknown))}; choose from {', '.join(PEER_RECIPES)}")
    if len(set(names)) < len(names):
        parser.error(f"two of {', '.join(names)} have the same name")
    if arguments.baseline not in names:
        parser.error(f"--baseline: {arguments.baseline} is none of {', '.join(names)}")
    if unknown := dict(arguments.project).keys() - set(recipes):
        parser.error(f"--project: no recipe {', '.join(sorted(unknown))}")
    if arguments.weights is None and arguments.peers:
        parser.error("--peers need --weights FILE, the same for all, or --weights none")
    if arguments.weights not in (None, "none"):
        if not Path(arguments.weights).is_file():
            parser.error(f"--weights: no file {arguments.weights}")
        arguments.weights = str(Path(arguments.weights).resolve())
    arguments.python = arguments.python.absolute()  # not resolved: the link makes it the environment's


def _split(text: str) -> list[str]:
    return text.split(",")


def measure(arguments: argparse.Namespace, machine: Mapping[str, Any], folder: Path) -> tuple[Any, ...]:
    """Returns the rows of each set, those over all sets, notes, and messages of failures.

    Args:
        arguments: Parsed arguments.
        machine: The machine's description.
        folder: Temporary folder.
    """
    sets = find_sets(arguments.sets, arguments.names) if arguments.sets else write_quick_sets(folder / "sets")
    arguments.rate_set = arguments.rate_set or sets[0].name
    if arguments.rate_set not in (each.name for each in sets):
        sys.exit(f"--rate-set: {arguments.rate_set} is none of the data sets")
    arguments.keep = arguments.keep or (folder / "results" if arguments.quick else _RESULTS)
    store = Store(arguments.keep, any_code=arguments.any_code)
    comparison = Comparison(
        store, {name: machine[name] for name in SPEED}, time.monotonic() + 60 * arguments.time_limit
    )
    recipes = list_recipes(arguments, folder / "projects")
    peers, notes = list_peers(arguments, sets, comparison)
    comparison.measure([*recipes, *peers], sets, limit=arguments.limit)
    names = [trainer.name for trainer in (*recipes, *peers)]
    rows, totals = tabulate(comparison.results, names, [each.name for each in sets], arguments.baseline)
    return rows, totals, [*notes, *describe_quality(comparison, store)], comparison.failures


def run(name: str, arguments: argparse.Namespace, measure: Callable[..., tuple[Any, ...]]) -> None:
    """Runs a benchmark that keeps what it has done, and prints its tables.

    Args:
        name: Name of the benchmark.
        arguments: Its options.
        measure: Returns rows, totals, notes and failures, from the options, the machine and a temporary folder.
    """
    _project.use_checkout()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the run in progress, too
    machine = _machine.describe_machine(ask_torch=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows, totals, notes, failures = measure(arguments, machine, Path(folder).resolve())
    except KeyboardInterrupt:
        print("Stopped. The finished runs are kept: call again to go on.", file=sys.stderr)
        sys.exit(130)
    report(name, arguments, rows, tables={"Over all sets": totals}, notes=notes, machine=machine)
    if failures:
        sys.exit("Failed:\n" + "\n".join(failures))


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    run(NAME, make_arguments(args), measure)


if __name__ == "__main__":
    main(sys.argv[1:])
