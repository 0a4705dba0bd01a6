"""Measures what int8 costs in accuracy: runs exported in float32 and in int8, on the test photos of data sets.

For each network and data set, `zoo finetune` trains a run, and `zoo export` writes both files. `gate` is what the
export decides by its rules, from the validation photos of the run: whether it writes the int8 file. The file is
measured in any case, unless it is slower. All differences are paired: `int8 - fp32` is in percentage points, with a
95 % interval over the photos. `speed` is the throughput of int8 at batch size 32, relative to float32.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _photos
import _project
from _bench import make_parser, median, report
from _recipes import Recipe, parse_recipe, zoo_command
from _sets import PhotoSet, find_sets
from _trainers import hash_weights, run_process

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from zoo.runs.run import RunFolder

NAME = "int8"
_ANY_DROP = 100.0  # percentage points: writes every file that is faster
_QUICK = [parse_recipe("tiny=timm/resnet10t --weights none --image-size 64 --epochs 1 --batch-size 8")]
_TWO_SIDED = 0.975  # the level of each bound of a 95 % interval
_COUNTS = ("photos", "fp32 right", "int8 right", "lost", "gained", "same")


def train(network: Recipe, data: Path, folder: Path) -> RunFolder:
    """Trains a network with `zoo finetune` on a folder of photos."""
    from zoo.runs.open import open_run

    options = network.arguments("auto", None)
    command = zoo_command("finetune", *options, "--data", str(data), "--runs", str(folder), "--json")
    done = run_process(command, _project.checkout_environment())
    events = [json.loads(line) for line in done["output"].splitlines()]
    return open_run(next(event["path"] for event in events if event["event"] == "Finished"))


def measure(run: RunFolder, folder: Path) -> dict[str, Any]:
    """Exports a run in float32 and int8; returns the decision of the gate, the speed, and counts of test photos."""
    from zoo.errors import ExportError
    from zoo.events import ignore
    from zoo.inference.evaluate import load_samples, predict_samples
    from zoo.plugins.registry import load_registry
    from zoo_export.runtime.predictor import load
    from zoo_export.targets.onnx import export_onnx
    from zoo_export.targets.options import MAX_DROP
    from zoo_export.validation.precision_gate import PrecisionGain, check_gain

    exact = export_onnx(run, folder / "fp32.onnx", verify=False, device="cpu")
    try:
        rounded = export_onnx(
            run, folder / "int8.onnx", precision="int8", verify=False, max_drop=_ANY_DROP, device="cpu"
        )
    except ExportError as error:
        return {"gate": error.message, "speed": None, "busy": None, **dict.fromkeys(_COUNTS, 0)}
    recorded = rounded.card.quantisation
    assert recorded is not None
    gain = PrecisionGain(**{field.name: recorded[field.name] for field in fields(PrecisionGain)})
    try:
        check_gain(gain, "int8", max_drop=MAX_DROP)
        gate = "written"
    except ExportError as error:
        gate = error.message
    samples = load_samples(run, split="test", data=None, registry=load_registry(), observer=ignore)
    (first, labels), (second, _) = (
        predict_samples(load(file.path, device="cpu"), samples, split="test", observer=ignore)
        for file in (exact, rounded)
    )
    before, after = first.argmax(axis=1), second.argmax(axis=1)
    right, still = before == labels, after == labels
    counts = (len(labels), right.sum(), still.sum(), (right & ~still).sum(), (still & ~right).sum())
    numbers = map(int, (*counts, (before == after).sum()))
    return {"gate": gate, "speed": gain.speedup, "busy": gain.busy, **dict(zip(_COUNTS, numbers, strict=True))}


def describe(network: str, name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of a network on a data set, or on all of them."""
    from zoo.metrics.intervals import paired_loss_bound

    photos, fp32, int8, lost, gained, same = (figures[key] for key in _COUNTS)
    row = {"network": network, "set": name, "photos": photos}
    empty = dict.fromkeys(("fp32 %", "int8 %", "int8 - fp32", "low", "high", "lost", "gained", "same class %"))
    if photos:
        empty = {
            "fp32 %": 100 * fp32 / photos,
            "int8 %": 100 * int8 / photos,
            "int8 - fp32": round(100 * (gained - lost) / photos, 2),
            "low": round(-100 * paired_loss_bound(lost, gained, photos, confidence=_TWO_SIDED), 2),
            "high": round(100 * paired_loss_bound(gained, lost, photos, confidence=_TWO_SIDED), 2),
            "lost": lost,
            "gained": gained,
            "same class %": 100 * same / photos,
        }
    return {**row, **empty, "speed": figures["speed"], "gate": figures["gate"]}


def pool(network: str, measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the row of a network over the photos of all data sets."""
    totals: dict[str, Any] = {key: sum(each[key] for each in measured) for key in _COUNTS}
    totals["speed"] = median([each["speed"] for each in measured if each["speed"] is not None])
    written = sum(each["gate"] == "written" for each in measured)
    return describe(network, "all", {**totals, "gate": f"{written} of {len(measured)} written"})


def measure_or_recall(network: Recipe, photos: PhotoSet, keep: Path | None) -> dict[str, Any]:
    """Returns the figures of a network on a data set; those of an earlier call if nothing has changed since."""
    options = [hash_weights(option) for option in network.arguments("auto", None)]
    code = _project.hash_code([_project.ROOT / folder for folder in ("zoo", "plugins", "export")])
    key = {"network": options, "photos": photos.digest(), "code": code}
    file = keep / f"{network.name}-{photos.name}.json" if keep else None
    if file and file.is_file() and (kept := json.loads(file.read_text("utf-8")))["key"] == key:
        return dict(kept["figures"])
    data = photos.photos["test"][0].parents[2]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(train(network, data, Path(folder, "runs")), Path(folder))
    print(network.name, photos.name, *figures.values(), file=sys.stderr, flush=True)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"key": key, "figures": figures}), "utf-8")
    return figures


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(NAME, __doc__)
    several: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument(
        "--sets", type=Path, metavar="FOLDER", help="folder of data sets, or one data set; may be repeated", **several
    )
    network = "a network: options of zoo finetune, after a backbone; may be repeated"
    parser.add_argument("--network", type=parse_recipe, metavar="NAME=BACKBONE [OPTIONS]", help=network, **several)
    parser.add_argument("--keep", type=Path, help="folder of finished measurements, which a later call reuses (none)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.network = arguments.network or _QUICK
    elif not (arguments.sets and arguments.network):
        parser.error("--sets FOLDER and --network NAME=BACKBONE are required, except with --quick")
    return arguments


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    _project.require("onnx", "onnxscript", "onnxruntime")
    sets = find_sets(arguments.sets or [_photos.generate(24, size=(96, 72))], None)
    rows, totals, busy = [], [], []
    for network in arguments.network:
        measured = []
        for photos in sets:
            measured.append(measure_or_recall(network, photos, arguments.keep))
            rows.append(describe(network.name, photos.name, measured[-1]))
            busy += [f"{network.name} on {photos.name}"] if measured[-1]["busy"] else []
        totals.append(pool(network.name, measured))
    notes = [f"Other work ran while the speed was measured: {', '.join(busy)}."] if busy else []
    report(NAME, arguments, rows, tables={"All sets together": totals}, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
