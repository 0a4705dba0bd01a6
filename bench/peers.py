"""Compares this project with other trainers, from a folder of JPEGs to a trained, evaluated resnet18.

Each process is timed from its start to its last figure, with the same photos, weights, epochs, image size and batch
size. Each evaluates the validation split after every epoch and the test split once. Every trainer runs twice: with its
defaults, and with its best settings (bf16 autocast, channels-last, workers). This project finds its settings itself; it
runs with its default recipe (a probe, then the upper stages), with the whole backbone frozen (run once, the head
trained on its features), and with the recipe of the plain loop (SGD, all layers). The runs alternate after a round that
imports everything; rows are medians.
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

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

NAME = "peers"
_FOLDER = Path(__file__).resolve().parent / "peers"
_OWN_PYTHON = Path(__file__).resolve().parent / ".peers" / "bin" / "python"
PEERS = {
    "plain": "torchvision",
    "timm_pieces": "timm",
    "fastai_learner": "fastai",
    "lightning_trainer": "lightning",
    "transformers_trainer": "transformers",
}
# The recipe of peers/_task.py, as options of zoo finetune.
_LOOP = {
    "recipe": "d2l",
    "lr": "1e-3",
    "head-lr-multiplier": "10",
    "momentum": "0.9",
    "weight-decay": "1e-3",
    "vflip": "0",
}


class Outcome(NamedTuple):
    """Time and accuracy of one trainer."""

    seconds: float
    accuracy: float
    packages: dict[str, str]


def run(command: list[str], environment: dict[str, str], read: Callable[[dict[str, Any]], Outcome | None]) -> Outcome:
    """Runs a trainer; the time ends when it prints the JSON line that `read` recognises.

    Args:
        command: Command to run.
        environment: Its environment variables.
        read: Converts a line's values to an outcome without seconds, or returns None.
    """
    started, found = time.perf_counter(), None
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=_FOLDER
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if (values := _parse_object(line)) and (outcome := read(values)):
                found = outcome._replace(seconds=time.perf_counter() - started)
        if process.wait() or found is None:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
    return found


def _parse_object(line: str) -> dict[str, Any] | None:
    """Parses a line that is a JSON object; returns None for other output of a trainer."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def read_zoo(values: dict[str, Any]) -> Outcome | None:
    """Reads the last event of `zoo finetune --json`."""
    if values["event"] != "Finished":
        return None
    return Outcome(0.0, values["results"]["test"]["accuracy"], {})


def read_peer(values: dict[str, Any]) -> Outcome | None:
    """Reads the result of a peer."""
    if "packages" not in values:
        return None
    return Outcome(0.0, values["accuracy"], values["packages"])


def list_trainers(arguments: argparse.Namespace, data: Path, runs: Path) -> dict[str, Callable[[], Outcome]]:
    """Returns the trainers to measure by the names of their rows."""
    task = ["--data", str(data), "--epochs", str(arguments.epochs)]
    task += ["--image-size", str(arguments.image_size), "--batch-size", str(arguments.batch_size)]
    environment = _project.checkout_environment()
    zoo = [sys.executable, "-m", "zoo", "finetune", "resnet18", *task, "--runs", str(runs), "--json"]
    zoo += ["--weights", str(arguments.weights or "none")]
    loop = [word for name, value in _LOOP.items() for word in (f"--{name}", value)]
    trainers: dict[str, Callable[[], Outcome]] = {
        "zoo: default recipe": partial(run, zoo, environment, read_zoo),
        "zoo: backbone frozen": partial(run, [*zoo, "--freeze", "all"], environment, read_zoo),
        "zoo: the plain loop's recipe": partial(run, [*zoo, *loop], environment, read_zoo),
    }
    weights = ["--weights", str(arguments.weights)] if arguments.weights else []
    for peer in PEERS:
        command = [str(arguments.python), str(_FOLDER / f"{peer}.py"), *task, *weights]
        best = [*command, "--best", "--workers", str(arguments.workers)]
        trainers[f"{peer}: defaults"] = partial(run, command, peer_environment(), read_peer)
        trainers[f"{peer}: best settings"] = partial(run, best, peer_environment(), read_peer)
    wanted = arguments.only.split(",")
    return {name: trainer for name, trainer in trainers.items() if any(name.startswith(each) for each in wanted)}


def peer_environment() -> dict[str, str]:
    """Returns the environment of a peer: without this project on its path, and with cached bytecode."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}


def find_missing_peers(python: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Returns why each unavailable peer cannot run; imports the others once, which compiles their bytecode."""
    reasons = {}
    for peer in sorted(PEERS.keys() & set(wanted)):
        module = {"fastai": "fastai.vision.all"}.get(PEERS[peer], PEERS[peer])
        command = [str(python), "-c", f"import torchvision, safetensors, {module}"]
        done = subprocess.run(command, capture_output=True, text=True, env=peer_environment())
        if done.returncode:
            reasons[peer] = f"{peer} is not measured: {done.stderr.strip().splitlines()[-1]}"
    return reasons


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    data = arguments.data
    if data is None:
        data = _photos.generate(arguments.photos)
    splits = _photos.copy_splits(data.resolve(), arguments.photos, into=folder / "photos")
    photos = _photos.count_photos(splits)["train"]
    chosen = list_trainers(arguments, splits, folder / "runs")
    missing = find_missing_peers(arguments.python, (name.partition(":")[0] for name in chosen))
    chosen = {name: trainer for name, trainer in chosen.items() if name.partition(":")[0] not in missing}
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
                "seconds": seconds,
                "images/s": arguments.epochs * photos / seconds,
                "test accuracy": round(median([outcome.accuracy for outcome in outcomes]), 4),
                "x the first row": seconds / median([outcome.seconds for outcome in next(iter(results.values()))]),
            }
        )
    versions = {key: value for outcomes in results.values() for key, value in outcomes[0].packages.items()}
    notes = [f"{photos} training photos, {arguments.epochs} epochs. Peers: {versions}"] if versions else []
    return rows, [*notes, *missing.values()]


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=1, photos=400)
    parser.add_argument("--epochs", type=int, default=2, help="epochs (2)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (32)")
    parser.add_argument(
        "--workers", type=int, default=min(8, os.cpu_count() or 1), help="loader processes with the best settings"
    )
    parser.add_argument(
        "--only", default="zoo," + ",".join(PEERS), help="comma-separated beginnings of the rows to measure"
    )
    own = _OWN_PYTHON if _OWN_PYTHON.exists() else Path(sys.executable)
    parser.add_argument(
        "--python", type=Path, default=own, help="interpreter with the peers installed (bench/.peers, or this one)"
    )
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.photos, arguments.epochs, arguments.image_size, arguments.batch_size = 16, 1, 32, 8
        arguments.only, arguments.python = "zoo: the,plain: defaults", Path(sys.executable)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(arguments, Path(folder))
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
