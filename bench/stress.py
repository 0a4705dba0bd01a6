"""Compares recipes of `zoo finetune` by how their runs stand changes of the photos, over data sets and seeds.

For each data set, seed and recipe, `zoo finetune` trains a run and `zoo stress` measures it on the test photos. Name
only kinds of change that are not among the augmentations of a recipe: otherwise the figures say what it has practised.
Runs and measurements are kept in a folder named by a hash of all that decides about them, and a later call goes on.
Differences to the first recipe are paired over photos and seeds, with the intervals of bench/_intervals.py.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import _photos
import _project
from _bench import make_parser, report
from _intervals import analyse, combine
from _recipes import Recipe, parse_recipe, zoo_command
from _sets import PhotoSet, find_sets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Found = dict[tuple[str, str, int], "Scores"]  # by set, recipe and seed

NAME = "stress"
KINDS = ("noise", "blur", "defocus", "jpeg", "fog", "occlusion", "scale", "resolution", "borders")


class Scores(NamedTuple):
    """What a run got right.

    Attributes:
        clean: float64 ``(photos,)``: 1 for a photo that is right as it is, otherwise 0.
        kinds: For each kind of change, the share of its strengths at which a photo is right, ``(photos,)``.
    """

    clean: NDArray[np.float64]
    kinds: Mapping[str, NDArray[np.float64]]

    @property
    def changed(self) -> NDArray[np.float64]:
        """The mean over the kinds, ``(photos,)``."""
        mean: NDArray[np.float64] = np.mean([*self.kinds.values()], axis=0)
        return mean


def measure_run(data: Path, recipe: Recipe, seed: int, folder: Path, arguments: argparse.Namespace) -> Scores:
    """Trains a run and measures it, or goes on where an earlier call was stopped.

    Args:
        data: The data set.
        recipe: The recipe.
        seed: Of the training. The changes and the photos are the same for all seeds.
        folder: Where the run and the measurements are kept.
        arguments: The options of the benchmark.
    """
    done = folder / "trained"
    if not done.exists():
        options = [*recipe.arguments(arguments.backbone, arguments.weights), *arguments.options, "--seed", str(seed)]
        run = _call("finetune", "--data", str(data), *options, "--runs", str(folder / "runs"), "-q")
        done.write_text(run.strip(), "utf-8")
    named = [word for kind in arguments.kinds for word in ("--kind", kind)]
    few = [] if arguments.photos is None else ["--photos", str(arguments.photos)]
    results = folder / "stress"
    _call("stress", done.read_text("utf-8"), *named, *few, "--minutes", "none", "--output", str(results), "--json")
    return read_scores(results, arguments.kinds, arguments.photos)


def read_scores(folder: Path, kinds: Sequence[str], photos: int | None) -> Scores:
    """Returns what a run got right, from the folder of a stress test."""
    with (folder / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:photos]
    labels = np.array([int(row["number"]) for row in rows])

    def read(kind: str) -> NDArray[np.float64]:
        predicted = np.load(folder / "answers" / f"{kind}.npz")["predicted"][: len(labels)]
        right: NDArray[np.float64] = (predicted == labels[:, None]).mean(axis=1)
        return right

    return Scores(clean=read("clean"), kinds={kind: read(kind) for kind in kinds})


def _call(*arguments: str) -> str:
    environment = _project.checkout_environment()
    done = subprocess.run(zoo_command(*arguments), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"zoo {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def measure(sets: Sequence[PhotoSet], arguments: argparse.Namespace) -> tuple[Found, int]:
    """Measures all runs, seed by seed; returns the scores, and how many runs did not start in the time."""
    code = "" if arguments.any_code else _project.hash_code([_project.ROOT / "zoo", _project.ROOT / "plugins"])
    found: Found = {}
    missing = 0
    for seed in range(arguments.seeds):
        for photos in sets:
            data = arguments.keep / "data" / f"{photos.name}-{photos.digest()[:8]}"
            if not data.exists():
                photos.copy(data)
            for recipe in arguments.recipe:
                if time.monotonic() > arguments.deadline:
                    missing += 1
                    continue
                key = json.dumps([photos.digest(), repr(recipe), seed, arguments.options, arguments.weights, code])
                folder = arguments.keep / hashlib.sha256(key.encode()).hexdigest()[:16]
                folder.mkdir(parents=True, exist_ok=True)
                scores = found[photos.name, recipe.name, seed] = measure_run(data, recipe, seed, folder, arguments)
                figures = f"clean {scores.clean.mean():.3f}, changed {scores.changed.mean():.3f}"
                print(f"{photos.name}, {recipe.name}, seed {seed}: {figures}", file=sys.stderr)
    return found, missing


def make_rows(found: Found, sets: Sequence[str], recipes: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Returns a row for each set and recipe, and one for each recipe over all sets.

    Args:
        found: The scores.
        sets: Names of the sets.
        recipes: Names of the recipes; the others are compared with the first.
    """
    rows, totals = [], []
    for recipe in recipes:
        pairs = {name: _pair(found, name, recipe, recipes[0]) for name in sets}
        pairs = {name: pair for name, pair in pairs.items() if pair}
        if not pairs:
            continue
        for name, pair in pairs.items():
            rows.append({"set": name, "recipe": recipe, "seeds": len(pair), **_figures([pair])})
        totals.append({"recipe": recipe, "sets": len(pairs), **_figures([*pairs.values()])})
    return rows, totals


def _pair(found: Found, name: str, recipe: str, first: str) -> list[tuple[Scores, Scores]]:
    """Returns the scores of a recipe and of the first one on a set, for each seed that both have."""
    seeds = sorted({seed for each, _, seed in found if each == name})
    keys = [((name, recipe, seed), (name, first, seed)) for seed in seeds]
    return [(found[one], found[two]) for one, two in keys if one in found and two in found]


def _figures(sets: Sequence[Sequence[tuple[Scores, Scores]]]) -> dict[str, str]:
    figures = {}
    kinds = [*sets[0][0][0].kinds]
    for title in ("clean", "changed", *kinds):
        values = [[[_column(each, title) for each in pair] for pair in pairs] for pairs in sets]
        own = float(np.mean([np.mean([pair[0].mean() for pair in pairs]) for pairs in values]))
        differences = [np.stack([pair[0] - pair[1] for pair in pairs], axis=1) for pairs in values]
        gain = combine([analyse(each, np.zeros(len(each), dtype=np.intp)) for each in differences])
        figures[title] = f"{own:.3f}"
        if title in ("clean", "changed"):
            figures[f"{title}, points"] = f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return figures


def _column(scores: Scores, title: str) -> NDArray[np.float64]:
    if title == "clean":
        return scores.clean
    return scores.changed if title == "changed" else scores.kinds[title]


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    sets = "folder of data sets, or one data set; may be repeated"
    add("--sets", type=Path, metavar="FOLDER", action="append", default=[], help=sets)
    add("--names", type=_split, help="comma-separated names of the sets to use, in this order (all)")
    recipe = (
        "options of zoo finetune, perhaps after a backbone; may be repeated; the others are compared with the first"
    )
    add("--recipe", type=parse_recipe, action="append", default=[], metavar="NAME=[BACKBONE] [OPTIONS]", help=recipe)
    add("--kinds", type=_split, default=list(KINDS), help=f"comma-separated kinds of change ({','.join(KINDS)})")
    add("--photos", type=int, metavar="N", help="most test photos of a set (all)")
    add("--backbone", default="efficientnet_lite0", help="backbone of the recipes that name none (efficientnet_lite0)")
    add("--weights", help="its weights: a file, or none (zoo finetune's default)")
    add("--options", type=_split, default=[], help="comma-separated options of zoo finetune for every recipe")
    add("--seeds", type=int, default=3, help="seeds, from 0 (3)")
    add("--time-limit", type=float, default=math.inf, metavar="MINUTES", help="start no run after that time")
    add("--keep", type=Path, help="folder of what is done (bench/results/stress; a temporary one with --quick)")
    add("--any-code", action="store_true", help="go on with what other versions of the code did, too")
    arguments = parser.parse_args(args)
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    default = ["default=", "trivialaugment=--augment trivialaugment"]
    arguments.recipe = arguments.recipe or [parse_recipe(text) for text in default]
    if arguments.quick:
        arguments.backbone, arguments.weights, arguments.seeds = "timm/resnet10t", "none", 1
        arguments.options = ["--epochs", "1", "--batch-size", "8", "--image-size", "32"]
        arguments.kinds = arguments.kinds[:2]
    arguments.deadline = time.monotonic() + 60 * arguments.time_limit
    return arguments


def _split(text: str) -> list[str]:
    return text.split(",")


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        sets = find_sets(arguments.sets, arguments.names) if arguments.sets else []
        if arguments.quick:
            arguments.keep = arguments.keep or Path(folder) / "kept"
            sets = sets or find_sets([_photos.generate(24, size=(64, 48), below=Path(folder))], None)
        arguments.keep = (arguments.keep or _project.ROOT / "bench" / "results" / NAME).resolve()
        found, missing = measure(sets, arguments)
        names = [recipe.name for recipe in arguments.recipe]
        rows, totals = make_rows(found, [each.name for each in sets], names)
        notes = [f"{missing} runs are missing, because the time was over. Call again to go on."] if missing else []
        report(NAME, arguments, rows, tables={"Over all sets": totals}, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
