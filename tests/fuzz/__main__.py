"""Feeds mutated files to every reader of untrusted files, and reports what happens.

Any exception other than a `ZooError` is a finding; so is a program that is started, a pickle that is loaded, a network
address that is contacted, and a file that is opened outside the folder of the case.

    python tests/fuzz --cases 20000                 # all targets together
    python tests/fuzz --target image --cases 5000 --seed 7
    python tests/fuzz --target image --only 1234    # rerun one case in this process, with its traceback

A case depends only on the seed, the target and its number. Cases run in worker processes with limited memory. A case
that ends its process or takes too long is also a finding, and the following cases continue. Findings are saved in a
folder. With ZOO_TEST_DATA, the real problem images are mutated as well.
"""

from __future__ import annotations

import argparse
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
sys.path[0] = str(HERE.parent)

COMMAND = [sys.executable, "-W", "ignore", str(HERE)]
SECONDS = 20  # for one case
STARTUP_SECONDS = 120  # until a worker must be ready
MEMORY = 3 << 30  # bytes that cases may allocate: an image of 100 megapixels takes up to two thirds of that


def make_case(name: str, seed: int, number: int) -> bytes:
    """Returns the mutated file of a case."""
    from fuzz.targets import TARGETS, mutate_case

    return mutate_case(TARGETS[name], name, seed, number)


def run_worker(name: str, seed: int, start: int, stop: int) -> None:
    """Runs cases and prints two lines for each: its number before it starts, its outcome afterwards."""
    from fuzz.targets import TARGETS, mutate_case, read

    target, seeds = TARGETS[name], TARGETS[name].seeds
    if read(target, seeds[0]) != "accepted":  # also imports everything before memory is limited
        raise SystemExit(f"{name}: the valid file is rejected.")
    if sys.platform == "linux":
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for number in range(start, stop):
        content = mutate_case(target, name, seed, number)
        print(number, flush=True)
        try:
            outcome = read(target, content)
        except BaseException as error:
            last = error.__traceback__
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            where = "" if last is None else f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
            outcome = f"{type(error).__name__} at {where}: {str(error)[:200]!r}"
        print(outcome, flush=True)


def supervise(name: str, seed: int, cases: int) -> tuple[Counter[str], dict[int, str]]:
    """Runs cases in workers; returns the counts of outcomes, and the findings by case number."""
    counts: Counter[str] = Counter()
    findings: dict[int, str] = {}
    number = 0
    while number < cases:
        arguments = [name, str(seed), str(number), str(cases)]
        with subprocess.Popen(
            [*COMMAND, "--worker", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            fatal = _read_outcomes(process, counts, findings)
        if fatal is None:
            break
        number = fatal + 1
    return counts, findings


def _read_outcomes(process: subprocess.Popen[bytes], counts: Counter[str], findings: dict[int, str]) -> int | None:
    """Reads a worker's output; returns the number of the case that ended it, or None if it finished."""
    current: int | None = None
    for line in _read_lines(process):
        if current is None:
            current = int(line)
            continue
        if line in ("accepted", "rejected"):
            counts[line] += 1
        else:
            counts["finding"] += 1
            findings[current] = line
        current = None
    status = process.wait()
    if current is None:
        if status:
            raise SystemExit(f"The worker did not start: exit status {status}.")
        return None
    counts["finding"] += 1
    findings[current] = f"no result within {SECONDS} s" if status == -9 else f"the process ended with status {status}"
    return current


def _read_lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yields lines as they arrive; kills a worker that is silent for too long."""
    assert process.stdout is not None
    selector, rest, limit = selectors.DefaultSelector(), b"", STARTUP_SECONDS
    selector.register(process.stdout, selectors.EVENT_READ)
    while True:
        if not selector.select(limit):
            process.kill()
            return
        limit = SECONDS
        data = process.stdout.read1(1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode() for line in lines)


def main() -> int:
    """Runs the fuzzer; returns 1 if there are findings."""
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000, help="total for all targets [2000]")
    parser.add_argument(
        "--target", "--entrance", action="append", choices=sorted(TARGETS), help="only this target; repeatable"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="run one case of one target in this process")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="save the files of findings here [temporary folder]")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    if arguments.only is not None:
        from fuzz.targets import read

        print(read(TARGETS[names[0]], make_case(names[0], arguments.seed, arguments.only)))
        return 0
    cases_each = -(-arguments.cases // len(names))
    total: Counter[str] = Counter()
    keep = arguments.keep
    print(f"{'target':<18} {'cases':>7} {'rejected':>8} {'accepted':>8} {'findings':>8} {'seconds':>8}")
    for name in names:
        started = time.perf_counter()
        counts, findings = supervise(name, arguments.seed, cases_each)
        seconds = time.perf_counter() - started
        total += counts
        cells = (counts["rejected"], counts["accepted"], counts["finding"])
        print(f"{name:<18} {cases_each:>7} {cells[0]:>8} {cells[1]:>8} {cells[2]:>8} {seconds:>8.1f}", flush=True)
        for number, finding in findings.items():
            keep = keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
            keep.mkdir(parents=True, exist_ok=True)
            file = keep / f"{name.replace(' ', '-')}-{arguments.seed}-{number}"
            file.write_bytes(make_case(name, arguments.seed, number))
            print(f"  {file}: {finding}", flush=True)
    print(f"{'all':<18} {sum(total.values()):>7} {total['rejected']:>8} {total['accepted']:>8} {total['finding']:>8}")
    return int(total["finding"] > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        run_worker(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        sys.exit(main())
