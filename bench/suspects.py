"""Measures how well `zoo data suspects` finds wrong labels that were planted, over data sets of several domains.

Of each set, a share of all labels is changed to another class, drawn at random. The precision is the share of planted
ones among as many photos at the start of the list. Sets have wrong labels of their own: these count as false alarms, so
the figures are lower bounds. If cleanlab is installed (Apache 2.0), it ranks the same probabilities, as a referee.

Each result is kept as one JSON file: a later call goes on where a stopped one was.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

import _project
from _bench import make_parser, report
from _peers import FOLDER, default_python
from _sets import PhotoSet, find_sets
from domains import write_quick_sets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from numpy.typing import NDArray

NAME = "suspects"
_COUNTS = ("photos", "planted")  # that are summed up in no mean
_RESULTS = _project.ROOT / "bench" / "results" / NAME
_REFEREE = FOLDER / "label_referee.py"
_CODE = ("zoo/training/suspects", "zoo/training/frozen", "zoo/metrics")


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    sets = "folder of data sets, or one data set; may be repeated"
    add("--sets", type=Path, metavar="FOLDER", action="append", default=[], help=sets)
    add("--names", type=lambda text: text.split(","), help="comma-separated names of the sets to use, in this order")
    add("--backbone", help="whose features to use (that of zoo data suspects)")
    add("--share", type=float, default=0.05, help="share of the labels to change (0.05)")
    add("--seeds", type=int, default=3, help="seeds, from 0 (3)")
    add("--python", type=Path, default=default_python(), help="interpreter with cleanlab (bench/.peers, or this one)")
    add("--keep", type=Path, help="folder of the results (bench/results/suspects; a temporary one with --quick)")
    arguments = parser.parse_args(args)
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    if arguments.quick:
        arguments.seeds = 1
    return arguments


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Returns a row for each set, and one with the means.

    Args:
        arguments: Parsed arguments.
        folder: Temporary folder.
    """
    sets = find_sets(arguments.sets, arguments.names) if arguments.sets else write_quick_sets(folder / "sets")
    keep = arguments.keep or (folder / "results" if arguments.quick else _RESULTS)
    keep.mkdir(parents=True, exist_ok=True)
    code = _project.hash_code(_project.ROOT / each for each in _CODE)[:8]
    referee = _has_cleanlab(arguments.python)
    rows: list[dict[str, Any]] = []
    for each in sets:
        key = [each.digest(), arguments.backbone, arguments.share, code, referee]
        stem = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
        files = [keep / f"{stem}-{seed}.json" for seed in range(arguments.seeds)]
        missing = [seed for seed, file in enumerate(files) if not file.is_file()]
        if missing:
            for seed, result in _measure_set(each, missing, arguments, referee=referee):
                files[seed].write_text(json.dumps(result) + "\n", "utf-8")
                print(f"{each.name}, seed {seed}: {result}", file=sys.stderr)
        results = [json.loads(file.read_text("utf-8")) for file in files]
        means = {name: fmean(result[name] for result in results) for name in results[0]}
        rows.append(
            {"set": each.name, **{name: round(value) if name in _COUNTS else value for name, value in means.items()}}
        )
    mean = {name: fmean(row[name] for row in rows) for name in rows[0] if name not in ("set", *_COUNTS)}
    return [*rows, {"set": "mean", **dict.fromkeys(_COUNTS), **mean}]


def _measure_set(
    photo_set: PhotoSet, seeds: list[int], arguments: argparse.Namespace, *, referee: bool
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields each seed with its results; the backbone runs once for all of them."""
    from zoo.config import make_config
    from zoo.data.sources.load import load_splits
    from zoo.events import ignore
    from zoo.metrics.label_errors import judge_labels
    from zoo.plugins.registry import load_registry
    from zoo.training.request import resolve_names
    from zoo.training.suspects.probe import build_probe

    root = next(iter(photo_set.photos["train"])).parents[2]
    registry = load_registry()
    config = make_config(arguments.backbone, data=root, registry=registry, freeze="all", head="linear")
    names = resolve_names(config, registry=registry)
    started = time.perf_counter()
    probe = build_probe(names, load_splits(names.source, config, ignore), registry=registry, observer=ignore)
    seconds = time.perf_counter() - started
    true = np.array([sample.labels[0] for sample in probe.samples])
    for seed in seeds:
        started = time.perf_counter()
        labels, planted = plant_errors(true, classes=probe.classes, share=arguments.share, seed=seed)
        probabilities = probe.predict(labels, seed=0, observer=ignore)
        held_out = np.isfinite(probabilities[:, 0])
        p, labels, planted = probabilities[held_out], labels[held_out], planted[held_out]
        judgement = judge_labels(p, labels)
        orders = {"zoo": judgement.order}
        taken = time.perf_counter() - started
        if referee:
            orders |= _ask_cleanlab(arguments.python, p, labels)
        first = round(arguments.share * len(true))
        yield (
            seed,
            {
                "photos": len(true),
                "planted": int(planted.sum()),
                **{name: float(planted[order[:first]].mean()) for name, order in orders.items()},
                "suspects": judgement.count,
                "found": float(planted[judgement.order[: judgement.count]].sum() / planted.sum()),
                "probe accuracy": float((p.argmax(axis=1) == true[held_out]).mean()),
                "seconds": seconds + taken,
            },
        )


def plant_errors(
    labels: NDArray[np.int64], *, classes: int, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns labels of which a share is another class, and which they are.

    Args:
        labels: ``(N,)``.
        classes: Number of classes.
        share: Share to change.
        seed: Draws the photos and their classes, uniformly.
    """
    draw = np.random.default_rng(seed)
    chosen = draw.choice(len(labels), round(share * len(labels)), replace=False)
    changed, planted = labels.copy(), np.zeros(len(labels), dtype=bool)
    changed[chosen] = (labels[chosen] + draw.integers(1, classes, len(chosen))) % classes
    planted[chosen] = True
    return changed, planted


def _has_cleanlab(python: Path) -> bool:
    done = subprocess.run([str(python), "-c", "import cleanlab"], capture_output=True, check=False)
    return done.returncode == 0


def _ask_cleanlab(python: Path, p: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.npz"
        np.savez(file, probabilities=p, labels=labels)
        done = subprocess.run([str(python), str(_REFEREE), str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"cleanlab failed: {done.stderr}")
    orders = json.loads(done.stdout.splitlines()[-1])
    return {f"cleanlab {name}": np.array(order) for name, order in orders.items()}


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    _project.use_checkout()
    arguments = make_arguments(args)
    notes = [
        "zoo and cleanlab: precision in as many photos at the start of the list as labels were changed.",
        *([] if _has_cleanlab(arguments.python) else [f"{arguments.python} has no cleanlab to compare with."]),
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder).resolve())
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
