"""Gives every entrance spoilt files, and tells what came of them.

Whatever but a `ZooError` comes out is a finding; so is a program that is started, a pickle that is loaded, an address
that is asked, and a file that is opened outside of the folder of the case.

    python tests/fuzz --cases 20000              # of all entrances together
    python tests/fuzz --entrance image --cases 5000 --seed 7
    python tests/fuzz --entrance image --only 1234       # one case again, in this process, with its traceback

A case is made of the seed, the entrance and its number alone. Cases run in processes of their own, whose memory is
limited; one that ends its process, or takes too long, is a finding too, and the next ones go on. Findings are kept in a
folder. With ZOO_TEST_DATA the real problem images are spoilt as well.
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
STARTING = 120  # seconds in which a process must be ready
MEMORY = 3 << 30  # bytes that cases may add: an image of 100 megapixels takes up to two thirds of that


def case(name: str, seed: int, number: int) -> bytes:
    """Returns the spoilt file of a case."""
    from fuzz.entrances import ENTRANCES, spoilt

    return spoilt(ENTRANCES[name], name, seed, number)


def work(name: str, seed: int, start: int, stop: int) -> None:
    """Tries cases and writes a line for each: its number before, what came of it after."""
    from fuzz.entrances import ENTRANCES, read, spoilt

    entrance, seeds = ENTRANCES[name], ENTRANCES[name].made
    if read(entrance, seeds[0]) != "taken":  # and what is imported only now takes its memory before there is a limit
        raise SystemExit(f"{name}: the whole file is refused.")
    if sys.platform == "linux":
        import resource

        grown = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (grown + MEMORY, grown + MEMORY))
    for number in range(start, stop):
        content = spoilt(entrance, name, seed, number)
        print(number, flush=True)
        try:
            outcome = read(entrance, content)
        except BaseException as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
            outcome = f"{type(error).__name__} at {where}: {str(error)[:200]!r}"
        print(outcome, flush=True)


def supervise(name: str, seed: int, cases: int) -> tuple[Counter[str], dict[int, str]]:
    """Has cases tried; returns how many were taken, refused and neither, and the findings by number."""
    counts: Counter[str] = Counter()
    findings: dict[int, str] = {}
    number = 0
    while number < cases:
        arguments = [name, str(seed), str(number), str(cases)]
        with subprocess.Popen(
            [*COMMAND, "--work", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            told = _told(process, counts, findings)
        if told is None:
            break
        number = told + 1
    return counts, findings


def _told(process: subprocess.Popen[bytes], counts: Counter[str], findings: dict[int, str]) -> int | None:
    """Reads what a process tells; returns the number of the case that ended it, or None if it came to its end."""
    current: int | None = None
    lines = _lines(process)
    for line in lines:
        if current is None:
            current = int(line)
            continue
        if line in ("taken", "refused"):
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
    findings[current] = f"no answer within {SECONDS} s" if status == -9 else f"the process ended with status {status}"
    return current


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yields lines as they come; kills a process that is silent for too long."""
    assert process.stdout is not None
    waiting, rest, limit = selectors.DefaultSelector(), b"", STARTING
    waiting.register(process.stdout, selectors.EVENT_READ)
    while True:
        if not waiting.select(limit):
            process.kill()
            return
        limit = SECONDS
        data = process.stdout.read1(1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode() for line in lines)


def main() -> int:
    """Runs the command; returns 1 if there are findings."""
    from fuzz.entrances import ENTRANCES

    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000, help="of all entrances together [2000]")
    parser.add_argument("--entrance", action="append", choices=sorted(ENTRANCES), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try one case of one entrance, here")
    parser.add_argument("--keep", type=Path, help="folder for the files of findings [a temporary one]")
    given = parser.parse_args()
    names = given.entrance or list(ENTRANCES)
    if given.only is not None:
        from fuzz.entrances import read

        print(read(ENTRANCES[names[0]], case(names[0], given.seed, given.only)))
        return 0
    each = -(-given.cases // len(names))
    total: Counter[str] = Counter()
    keep = given.keep
    print(f"{'entrance':<18} {'cases':>7} {'refused':>8} {'taken':>7} {'findings':>8} {'seconds':>8}")
    for name in names:
        started = time.perf_counter()
        counts, findings = supervise(name, given.seed, each)
        seconds = time.perf_counter() - started
        total += counts
        cells = (counts["refused"], counts["taken"], counts["finding"])
        print(f"{name:<18} {each:>7} {cells[0]:>8} {cells[1]:>7} {cells[2]:>8} {seconds:>8.1f}", flush=True)
        for number, what in findings.items():
            keep = keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
            keep.mkdir(parents=True, exist_ok=True)
            file = keep / f"{name.replace(' ', '-')}-{given.seed}-{number}"
            file.write_bytes(case(name, given.seed, number))
            print(f"  {file}: {what}", flush=True)
    print(f"{'all':<18} {sum(total.values()):>7} {total['refused']:>8} {total['taken']:>7} {total['finding']:>8}")
    return int(total["finding"] > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        sys.exit(main())
