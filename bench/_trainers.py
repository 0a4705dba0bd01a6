"""Trainers that benchmarks compare over data sets: recipes of `zoo finetune`, and peers with their own recipes.

Each run is a process of its own, timed from its start to its end. The test accuracy is the one that the trainer prints;
the predicted class of each test photo is read afterwards, which is not timed.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import os
import subprocess
import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import _project
from _peers import FOLDER, Settings, peer_command, peer_environment
from _recipes import zoo_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from _recipes import Recipe

_VERSIONS = ("torch", "torchvision", "timm")
# The script of each peer, and the options that make up its own recipe.
PEER_RECIPES = {
    "plain": ("plain", ("--epochs", "5", "--batch-size", "32")),
    "fastai": ("fastai_learner", ("--epochs", "6", "--batch-size", "64", "--own-augmentation")),
    "transformers": ("transformers_trainer", ("--epochs", "3", "--batch-size", "8", "--rate", "5e-5")),
}


class RunError(Exception):
    """A trainer failed."""


class Trainer(NamedTuple):
    """A recipe or a peer.

    Attributes:
        name: Name in the tables.
        identity: What decides its results besides photos, seed and machine.
        code: Hash of its source code.
        seeds: Number of seeds to run it with.
        train: Trains on a folder of photos with a seed, writing to a scratch folder; returns what it measured.
    """

    name: str
    identity: Mapping[str, Any]
    code: str
    seeds: int
    train: Callable[[Path, int, Path], dict[str, Any]]


def make_recipe_trainer(recipe: Recipe, arguments: argparse.Namespace, *, project: Path, home: Path) -> Trainer:
    """Returns the trainer of a recipe.

    Args:
        recipe: The recipe.
        arguments: Parsed arguments of the benchmark.
        project: The checkout to run.
        home: Folder in which the zoo remembers what it measured on this machine.
    """
    size = ["--image-size", str(arguments.image_size)] if arguments.image_size else []
    common = [*size, *arguments.options]
    identity = {
        "zoo": [*common, *recipe.arguments(arguments.backbone, hash_weights(arguments.weights))],
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }
    options = [*common, *recipe.arguments(arguments.backbone, arguments.weights)]
    environment = _project.checkout_environment(project, ZOO_HOME=str(home.resolve()))
    code = _project.hash_code([project / "zoo", project / "plugins"])
    return Trainer(recipe.name, identity, code, arguments.seeds, partial(train_zoo, options, environment))


def make_search_trainer(
    name: str, options: Sequence[str], *, seeds: int, project: Path, home: Path, weights: Sequence[str]
) -> Trainer:
    """Returns the trainer that searches with `zoo best`.

    Args:
        name: Its name in the tables.
        options: Options of `zoo best`.
        seeds: Number of seeds.
        project: The checkout to run.
        home: Folder in which the zoo remembers what it measured on this machine.
        weights: Files of weights in the options, whose content decides the results.
    """
    identity = {
        "best": [*options],
        "weights": [hash_weights(each) for each in weights],
        "versions": {each: importlib.metadata.version(each) for each in _VERSIONS},
    }
    environment = _project.checkout_environment(project, ZOO_HOME=str(home.resolve()))
    code = _project.hash_code([project / "zoo", project / "plugins"])
    return Trainer(name, identity, code, seeds, partial(search_zoo, options, environment))


def make_peer_trainer(
    name: str, arguments: argparse.Namespace, *extra: str, settings: Callable[[], Settings] | None
) -> Trainer:
    """Returns the trainer of a peer.

    Args:
        name: Name of the peer.
        arguments: Parsed arguments of the benchmark.
        *extra: Further options of the peer.
        settings: Measures the best settings; None for the peer's defaults.
    """
    script, own = PEER_RECIPES[name]
    options = [*own, "--image-size", str(arguments.image_size or 224), *extra]
    identity = {"peer": [name, *options], "weights": hash_weights(arguments.weights), "best": bool(settings)}
    given = [] if arguments.weights == "none" else ["--weights", arguments.weights]
    train = partial(train_peer, arguments.python, script, [*options, *given], settings)
    return Trainer(name, identity, _project.hash_code([FOLDER]), min(arguments.seeds, arguments.peer_seeds), train)


@cache
def hash_weights(weights: str | None) -> str | None:
    """Returns a hash of a file with weights; other values as they are."""
    if weights is None or not Path(weights).is_file():
        return weights
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()


def run_process(
    command: list[str], environment: Mapping[str, str], *, cwd: Path | None = None, allowed: int = 0
) -> dict[str, Any]:
    """Runs a command; returns its output and its seconds.

    Args:
        command: The command.
        environment: Its environment variables.
        cwd: Its working directory.
        allowed: Largest exit code that is no failure.

    Raises:
        RunError: It failed.
    """
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    seconds, after = time.perf_counter() - started, os.times()
    if not 0 <= done.returncode <= allowed:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise RunError(f"{' '.join(command)} ended with {done.returncode}: " + "\n".join(lines[-4:]))
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"output": done.stdout, "seconds": seconds, "cpu_seconds": used}


def train_zoo(
    options: Sequence[str], environment: Mapping[str, str], data: Path, seed: int, folder: Path
) -> dict[str, Any]:
    """Runs `zoo finetune`, and then `zoo predict` on the test photos.

    Raises:
        RunError: One of them failed.
    """
    task = ["--data", str(data), "--seed", str(seed), "--runs", str(folder), "--json"]
    done = run_process(zoo_command("finetune", *options, *task), environment)
    events = [json.loads(line) for line in done.pop("output").splitlines()]
    finished = next(event for event in reversed(events) if event["event"] == "Finished")
    return {**done, **read_run(Path(finished["path"]), data, folder, environment)}


def search_zoo(
    options: Sequence[str], environment: Mapping[str, str], data: Path, seed: int, folder: Path
) -> dict[str, Any]:
    """Runs `zoo best`, and then `zoo predict` on the test photos.

    Raises:
        RunError: One of them failed.
    """
    task = ["--data", str(data), "--seed", str(seed), "--runs", str(folder), "--json"]
    done = run_process(zoo_command("best", *options, *task), environment)
    found = json.loads(done.pop("output"))
    return {**done, **read_run(Path(found["run"]), data, folder, environment), "tried": found["tried"]}


def read_run(run: Path, data: Path, folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns what a finished run recorded, and its predictions for the test photos.

    Raises:
        RunError: `zoo predict` failed, or the run was evaluated on other photos.
    """
    file = folder / "predictions.csv"
    predict = zoo_command("predict", str(run), str(data / "test"), "--csv", str(file), "--quiet")
    run_process(predict, environment, allowed=1)  # 1: it cannot read some photos
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    predictions = {Path(photo).relative_to(data / "test").as_posix(): label for photo, label, *_ in rows if label}
    record = json.loads((run / "run.json").read_text("utf-8"))
    test = record["results"]["test"]
    if len(predictions) != test["count"]:
        raise RunError(f"{len(predictions)} photos were predicted, but {test['count']} were evaluated")
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {"accuracy": test["accuracy"], "predictions": predictions, "run": record, "epochs": epochs}


def train_peer(
    python: Path,
    script: str,
    options: Sequence[str],
    settings: Callable[[], Settings] | None,
    data: Path,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Runs a peer.

    Args:
        python: The peers' interpreter.
        script: The peer.
        options: Its options.
        settings: Measures the best settings, before the run starts; None for the peer's defaults.
        data: Folder of photos.
        seed: Seed.
        folder: Folder for its predictions.

    Raises:
        RunError: It failed.
    """
    file, chosen = folder / "predictions.json", settings().options if settings else []
    task = ["--data", str(data), "--seed", str(seed), "--predictions", str(file)]
    done = run_process(peer_command(python, script, *options, *chosen, *task), peer_environment(), cwd=FOLDER)
    result = json.loads(done.pop("output").splitlines()[-1])
    return {**done, **result, "predictions": json.loads(file.read_text("utf-8")), "settings": chosen}
