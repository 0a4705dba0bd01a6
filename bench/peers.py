"""Compares this project with other trainers, from a folder of JPEGs to a trained, evaluated resnet18.

Each process is timed from its start to its last figure, with the same photos, weights, epochs, image size and batch
size. Each evaluates the validation split after every epoch and the test split once. Every trainer runs twice: with its
defaults, and with the best settings for this processor (fp32 or bf16 autocast, layout, workers), which are measured
beforehand on a few training steps in plain PyTorch. This project finds its settings itself; it runs with its default
recipe, with the whole backbone frozen (run once, the head trained on its features), and with the recipe of the plain
loop (SGD, all layers). The runs alternate after a round that imports everything; rows are medians. To compare as on a
processor with AVX2 only, set ATEN_CPU_CAPABILITY=avx2 and ONEDNN_MAX_CPU_ISA=AVX2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import _photos
import _project
from _bench import alternate, make_parser, median, report
from _machine import describe_machine
from _peers import (
    FOLDER,
    PEERS,
    Settings,
    choose_settings,
    default_python,
    find_missing_peers,
    peer_command,
    peer_environment,
)
from _recipes import parse_recipe, zoo_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

NAME = "peers"
# The recipe of peers/_task.py, as options of zoo finetune.
_LOOP = (
    *("--recipe", "d2l"),
    *("--lr", "1e-3"),
    *("--head-lr-multiplier", "10"),
    *("--momentum", "0.9"),
    *("--weight-decay", "1e-3"),
    *("--vflip", "0"),
)


class Outcome(NamedTuple):
    """What was measured of one trainer."""

    seconds: float
    accuracy: float
    settings: str
    packages: dict[str, str]


def run(command: list[str], environment: dict[str, str], read: Callable[[dict[str, Any]], dict[str, Any]]) -> Outcome:
    """Runs a trainer; the time ends when it prints its accuracy.

    Args:
        command: Command to run.
        environment: Its environment variables.
        read: Converts the values of a JSON line to fields of the outcome.
    """
    started, seconds = time.perf_counter(), 0.0
    fields: dict[str, Any] = {"settings": "", "packages": {}}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=FOLDER
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            fields.update(read(_parse_object(line)))
            if "accuracy" in fields and not seconds:
                seconds = time.perf_counter() - started
        if process.wait() or not seconds:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
    return Outcome(seconds=seconds, **fields)


def _parse_object(line: str) -> dict[str, Any]:
    """Parses a line that is a JSON object; returns an empty one for other output of a trainer."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def read_zoo(values: dict[str, Any]) -> dict[str, Any]:
    """Reads the events of `zoo finetune --json` that say what was chosen and what came out."""
    match values.get("event"):
        case "Started":
            return {"settings": f"chosen itself: {values['precision']}"}
        case "Finished":
            return {"accuracy": values["results"]["test"]["accuracy"]}
    return {}


def read_peer(values: dict[str, Any], settings: str) -> dict[str, Any]:
    """Reads the result of a peer."""
    if "packages" not in values:
        return {}
    return {"accuracy": values["accuracy"], "packages": values["packages"], "settings": settings}


def name_trainers(arguments: argparse.Namespace) -> list[str]:
    """Returns the names of the rows to measure."""
    zoo = ["default recipe", "backbone frozen", "the plain loop's recipe", *(each.name for each in arguments.recipe)]
    names = [f"zoo: {name}" for name in zoo]
    names += [f"{peer}: {settings}" for peer in PEERS for settings in ("defaults", "best settings")]
    wanted = tuple(arguments.only.split(","))
    return [name for name in names if name.startswith(wanted)]


def make_trainers(
    arguments: argparse.Namespace, data: Path, runs: Path, best: Settings | None
) -> dict[str, Callable[[], Outcome]]:
    """Returns all trainers by the names of their rows.

    Args:
        arguments: Parsed arguments.
        data: Folder with the splits.
        runs: Folder for the zoo's runs.
        best: The peers' best settings; None leaves out their rows.
    """
    task = ["--data", str(data), "--epochs", str(arguments.epochs)]
    task += ["--image-size", str(arguments.image_size), "--batch-size", str(arguments.batch_size)]
    weights = str(arguments.weights.resolve()) if arguments.weights else "none"
    recipes = {
        "default recipe": ["resnet18", "--weights", weights],
        "backbone frozen": ["resnet18", "--weights", weights, "--freeze", "all"],
        "the plain loop's recipe": ["resnet18", "--weights", weights, *_LOOP],
        **{each.name: each.arguments("resnet18", weights) for each in arguments.recipe},
    }
    trainers: dict[str, Callable[[], Outcome]] = {}
    for name, options in recipes.items():
        command = zoo_command("finetune", *task, "--runs", str(runs), "--json", *options)
        trainers[f"zoo: {name}"] = partial(run, command, _project.checkout_environment(), read_zoo)
    given = ["--weights", weights] if arguments.weights else []
    for peer in PEERS:
        command = peer_command(arguments.python, peer, *task, *given)
        read = partial(read_peer, settings="its defaults")
        trainers[f"{peer}: defaults"] = partial(run, command, peer_environment(), read)
        if best:
            read = partial(read_peer, settings=str(best))
            trainers[f"{peer}: best settings"] = partial(run, [*command, *best.options], peer_environment(), read)
    return trainers


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    data = arguments.data
    if data is None:
        data = _photos.generate(arguments.photos)
    splits = _photos.copy_splits(data.resolve(), arguments.photos, into=folder / "photos")
    photos = _photos.count_photos(splits)["train"]
    names = name_trainers(arguments)
    missing = find_missing_peers(arguments.python, (name.partition(":")[0] for name in names))
    names = [name for name in names if name.partition(":")[0] not in missing]
    best = None
    if any(name.endswith(": best settings") for name in names):
        best = choose_settings(
            arguments.python,
            splits,
            image_size=arguments.image_size,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
        )
    trainers = make_trainers(arguments, splits, folder / "runs", best)
    chosen = {name: trainers[name] for name in names}
    if not arguments.quick:
        for name in chosen:
            if name.startswith("zoo"):
                chosen[name]()  # the first run on a machine measures which precision is fastest
    results = alternate(chosen, arguments.repeats)
    rows = []
    for name, outcomes in results.items():
        seconds = median([outcome.seconds for outcome in outcomes])
        rows.append(
            {
                "trainer": name,
                "settings": outcomes[0].settings,
                "seconds": seconds,
                "images/s": arguments.epochs * photos / seconds,
                "test accuracy": round(median([outcome.accuracy for outcome in outcomes]), 4),
                "x the first row": seconds / median([outcome.seconds for outcome in next(iter(results.values()))]),
            }
        )
    versions = {key: value for outcomes in results.values() for key, value in outcomes[0].packages.items()}
    notes = [f"{photos} training photos, {arguments.epochs} epochs. Peers: {versions}"] if versions else []
    if best:
        notes.append(best.describe_measurement())
    return rows, [*notes, *missing.values()]


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=1, photos=400)
    parser.add_argument("--epochs", type=int, default=2, help="epochs (2)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (32)")
    parser.add_argument(
        "--workers", type=int, default=min(8, os.cpu_count() or 1), help="most loader processes of the best settings"
    )
    parser.add_argument(
        "--recipe",
        type=parse_recipe,
        action="append",
        default=[],
        metavar="NAME=[BACKBONE] [OPTIONS]",
        help="another row: options of zoo finetune, such as 'lite0=efficientnet_lite0 --freeze all'; may be repeated",
    )
    parser.add_argument(
        "--only", default="zoo," + ",".join(PEERS), help="comma-separated beginnings of the rows to measure"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=default_python(),
        help="interpreter with the peers installed (bench/.peers, or this one)",
    )
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.photos, arguments.epochs, arguments.image_size, arguments.batch_size = 16, 1, 32, 8
        arguments.only, arguments.python = "zoo: the,plain", Path(sys.executable)
    arguments.python = arguments.python.absolute()  # not resolved: the link makes it the environment's
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(arguments, Path(folder))
    report(NAME, arguments, rows, notes=notes, machine=describe_machine(ask_torch=True))


if __name__ == "__main__":
    main(sys.argv[1:])
