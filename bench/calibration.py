"""Measures how far probabilities and prediction sets can be relied on, over networks and data sets.

For each network and data set, `zoo finetune` trains a run, and the run is evaluated on its test photos: the debiased
calibration error (root mean square, in percentage points) and the Brier score before and after calibration, and the
coverage of prediction sets that promise 90 % and 95 %, with 95 % intervals over the photos.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import _photos
import _project
from _bench import make_parser, report
from _recipes import Recipe, parse_recipe, zoo_command
from _trainers import hash_weights, run_process

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

NAME = "calibration"
_QUICK = [parse_recipe("tiny=timm/resnet10t --weights none --image-size 64 --epochs 1 --batch-size 8")]


def measure(network: Recipe, data: Path, folder: Path) -> dict[str, Any]:
    """Trains a network on a dataset; returns the calibration of the run, and its reliability on the test photos."""
    from zoo.events import ignore
    from zoo.inference.evaluate import evaluate
    from zoo.runs.open import open_run

    options = network.arguments("auto", None)
    command = zoo_command("finetune", *options, "--data", str(data), "--runs", str(folder), "--json")
    done = run_process(command, _project.checkout_environment())
    events = [json.loads(line) for line in done["output"].splitlines()]
    run = open_run(next(event["path"] for event in events if event["event"] == "Finished"))
    evaluation = evaluate(run, observer=ignore)
    assert run.calibration is not None
    assert evaluation.reliability is not None
    sets = run.calibration.sets
    return {
        "test photos": evaluation.count,
        "method": run.calibration.method,
        "temperature": run.calibration.temperature,
        "photos": run.calibration.photos,
        "fitted on": run.calibration.fitted_on,
        "score": sets and sets.score,
        **evaluation.reliability.to_dict(),
    }


def measure_or_recall(network: Recipe, data: Path, keep: Path) -> dict[str, Any]:
    """Returns the figures of a network on a dataset; those of an earlier call if nothing has changed since."""
    options = [hash_weights(option) for option in network.arguments("auto", None)]
    code = _project.hash_code([_project.ROOT / folder for folder in ("zoo", "plugins")])
    key = {"options": options, "data": str(data.resolve()), "files": _list_files(data), "code": code}
    file = keep / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.json"
    if file.is_file():
        return dict(json.loads(file.read_text("utf-8"))["figures"])
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(network, data, Path(folder))
    print(network.name, data.name, figures, file=sys.stderr, flush=True)
    keep.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"key": key, "figures": figures}), "utf-8")
    return figures


def describe(network: str, name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of a network on a data set."""
    after, before = figures["calibrated"], figures["uncalibrated"] or figures["calibrated"]
    temperature = [f"{each:.2f}" for each in figures["temperature"]]
    sets = {each["promised"]: each for each in figures["sets"]}
    return {
        "network": network,
        "set": name,
        "calibrated on": f"{figures['photos']} {figures['fitted on']}",
        "temperature": "none" if not temperature else " to ".join(dict.fromkeys((min(temperature), max(temperature)))),
        "error before": 100 * before["calibration_error"],
        "after": 100 * after["calibration_error"],
        "Brier before": before["brier"],
        "Brier after": after["brier"],
        "score": figures["score"],
        **{
            f"{100 * promised:g} %": _describe_sets(sets[promised]) if promised in sets else None
            for promised in (0.9, 0.95)
        },
        "test photos": figures["test photos"],
    }


def _describe_sets(sets: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in sets["interval"])
    return f"{100 * sets['measured']:.1f} ({low:.1f} to {high:.1f}), {sets['size']:.2f}"


def average(network: str, measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the row of a network over all data sets: means, and the coverage of all sets together."""
    from zoo.metrics.intervals import wilson_interval

    def mean(which: str, what: str) -> float:
        return fmean((each[which] or each["calibrated"])[what] for each in measured)

    row = {
        "network": network,
        "error before": 100 * mean("uncalibrated", "calibration_error"),
        "after": 100 * mean("calibrated", "calibration_error"),
        "Brier before": mean("uncalibrated", "brier"),
        "Brier after": mean("calibrated", "brier"),
    }
    for promised in (0.9, 0.95):
        found = [(each["test photos"], sets) for each in measured for sets in each["sets"]]
        own = [(count, sets) for count, sets in found if sets["promised"] == promised]
        hits, total = round(sum(count * sets["measured"] for count, sets in own)), sum(count for count, _ in own)
        size = sum(count * sets["size"] for count, sets in own) / total if total else 0.0
        pooled = {"measured": hits / max(total, 1), "interval": wilson_interval(hits, max(total, 1)), "size": size}
        row[f"{100 * promised:g} %"] = _describe_sets(pooled) if total else None
    return row


def _list_files(data: Path) -> list[tuple[str, int]]:
    """Returns the names and the sizes of the files of a dataset, or of the folder of a table."""
    data = data.parent if data.is_file() else data
    return sorted((str(path.relative_to(data)), path.stat().st_size) for path in data.rglob("*") if path.is_file())


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(NAME, __doc__)
    several: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA",
        help="a folder or a table of photos with a test split; may be repeated",
        **several,
    )
    network = "a network: options of zoo finetune, after a backbone; may be repeated"
    parser.add_argument("--network", type=parse_recipe, metavar="NAME=BACKBONE [OPTIONS]", help=network, **several)
    keep = _project.ROOT / "bench" / "results" / NAME
    parser.add_argument("--keep", type=Path, default=keep, help="folder of finished measurements (%(default)s)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.network = arguments.network or _QUICK
        arguments.keep = Path(tempfile.mkdtemp())
    elif not (arguments.data and arguments.network):
        parser.error("--data DATA and --network NAME=BACKBONE are required, except with --quick")
    return arguments


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    rows, totals = [], []
    for network in arguments.network:
        measured = []
        for data in arguments.data or [_photos.generate(24, size=(96, 72))]:
            measured.append(measure_or_recall(network, data, arguments.keep))
            name = data.parent.name if data.is_file() else data.name
            rows.append(describe(network.name, name, measured[-1]))
        totals.append(average(network.name, measured))
    report(NAME, arguments, rows, tables={"All data sets": totals})


if __name__ == "__main__":
    main(sys.argv[1:])
