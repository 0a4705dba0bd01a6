"""Compares `zoo best` with `zoo finetune`, over data sets of several domains.

Each run is a process of its own, timed from its start to its end, and kept as one JSON file: a later call goes on
where a stopped one was. Differences are paired over the test photos, and over the seeds if there are several.
bench/domains.py describes the tables, the intervals and what a result is identified by.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _project
from _bench import make_parser
from _recipes import parse_recipe
from _runs import Store
from _sets import find_sets
from _tables import tabulate
from _trainers import make_recipe_trainer, make_search_trainer
from domains import SPEED, Comparison, describe_quality, run, write_quick_sets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

NAME = "best"
_RESULTS = _project.ROOT / "bench" / "results" / NAME
_DEFAULT, _BEST = "default", "best"


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    sets = "folder of data sets, or one data set; may be repeated"
    add("--sets", type=Path, metavar="FOLDER", action="append", default=[], help=sets)
    add("--names", type=lambda text: text.split(","), help="comma-separated names of the sets to use, in this order")
    add("--minutes", type=float, default=10.0, help="time of each search (10)")
    backbone = "backbone for zoo best to try, with its file of weights; may be repeated"
    add("--backbone", dest="backbones", action="append", default=[], metavar="NAME=FILE", help=backbone)
    add("--options", dest="search_options", type=shlex.split, default=[], help="further options of zoo best")
    add("--seeds", type=int, default=1, help="seeds, from 0 (1)")
    add("--limit", type=int, metavar="N", help="most training photos of a set (all)")
    add("--time-limit", type=float, default=math.inf, metavar="MINUTES", help="start no run after that time")
    add("--keep", type=Path, help="folder of the finished runs (bench/results/best; a temporary one with --quick)")
    add("--any-code", action="store_true", help="reuse runs of other versions of the code, too")
    arguments = parser.parse_args(args)
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    # What the recipes of bench/domains.py may have.
    arguments.image_size, arguments.weights, arguments.backbone, arguments.options = None, None, "auto", []
    if arguments.quick:
        arguments.minutes = 1.0
    return arguments


def measure(arguments: argparse.Namespace, machine: Mapping[str, Any], folder: Path) -> tuple[Any, ...]:
    """Returns the rows of each set, those over all sets, notes, and messages of failures.

    Args:
        arguments: Parsed arguments.
        machine: The machine's description.
        folder: Temporary folder.
    """
    sets = find_sets(arguments.sets, arguments.names) if arguments.sets else write_quick_sets(folder / "sets")
    keep = arguments.keep or (folder / "results" if arguments.quick else _RESULTS)
    store = Store(keep, any_code=arguments.any_code)
    deadline = time.monotonic() + 60 * arguments.time_limit
    comparison = Comparison(store, {name: machine[name] for name in SPEED}, deadline)
    project = _project.copy_checkout(_project.ROOT, folder / "project")
    default = make_recipe_trainer(parse_recipe(f"{_DEFAULT}=auto"), arguments, project=project, home=keep / "home")
    named = [word for each in arguments.backbones for word in ("--backbone", each)]
    best = make_search_trainer(
        _BEST,
        ["--minutes", f"{arguments.minutes:g}", *named, *arguments.search_options],
        seeds=arguments.seeds,
        project=project,
        home=keep / "home",
        weights=[each.partition("=")[2] for each in arguments.backbones],
    )
    comparison.measure([default, best], sets, limit=arguments.limit)
    rows, totals = tabulate(comparison.results, [_DEFAULT, _BEST], [each.name for each in sets], _DEFAULT)
    notes = describe_quality(comparison, store)
    slowest = max((each.seconds for (name, *_), each in comparison.results.items() if name == _BEST), default=0.0)
    notes.append(f"The slowest search took {slowest:.0f} s; {60 * arguments.minutes:.0f} s were asked for.")
    return rows, totals, notes, comparison.failures


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    run(NAME, make_arguments(args), measure)


if __name__ == "__main__":
    main(sys.argv[1:])
