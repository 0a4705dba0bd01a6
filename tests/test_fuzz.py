"""Every reader accepts a mutated file or raises a `ZooError`. `python tests/fuzz` runs many more cases than these."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.mutations import mutate_bytes
from fuzz.targets import TARGETS, mutate_case, read

FUZZ = Path(__file__).parent / "fuzz"
CASES = 40

needs_memory_limit = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit a process's memory")


def run_fuzzer(*arguments):
    return subprocess.run([sys.executable, str(FUZZ), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns about foreign pickles
def test_a_valid_file_is_accepted_and_mutated_ones_are_accepted_or_rejected(name):
    target = TARGETS[name]
    assert read(target, target.seeds[0]) == "accepted"
    outcomes = [read(target, mutate_case(target, name, 1, number)) for number in range(CASES)]
    assert len(outcomes) == CASES
    assert "rejected" in outcomes


DIGESTS = """
import hashlib
from fuzz.targets import TARGETS, mutate_case
for name, target in TARGETS.items():
    for number in range(20):
        print(name, number, hashlib.sha256(mutate_case(target, name, 3, number)).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_case_is_the_same_in_every_process(capsys):
    exec(DIGESTS, {})
    here = capsys.readouterr().out
    assert len({line.split()[-1] for line in here.splitlines()}) > 19 * len(TARGETS)
    paths = os.pathsep.join([str(FUZZ.parent), os.environ.get("PYTHONPATH", "")])
    there = subprocess.run(
        [sys.executable, "-c", DIGESTS], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert there.returncode == 0, there.stderr
    assert set(there.stdout.splitlines()) ^ set(here.splitlines()) == set()


def test_byte_mutations_accept_files_of_any_length():
    for number in range(500):
        assert isinstance(mutate_bytes(random.Random(number), b"x" * (number % 3), [b""]), bytes)


@needs_memory_limit
@pytest.mark.parametrize("option", ["--target", "--entrance"])
def test_the_command_counts_its_cases(option):
    done = run_fuzzer(option, "card", "--cases", "30")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[:2] == ["all", "30"]


@pytest.mark.slow
@needs_memory_limit
def test_cases_of_all_targets_have_no_findings():
    done = run_fuzzer("--cases", "3600", "--seed", "2")
    assert done.returncode == 0, done.stdout
    *targets, total = done.stdout.splitlines()[1:]
    assert len(targets) == len(TARGETS)
    assert total.split()[-1] == "0"


BAD_READERS = """
import os, pickle, runpy, sys, time
sys.path.insert(0, {tests!r})
from fuzz import targets
from zoo.errors import ZooError

def reject(): raise ZooError("no")

ACTIONS = {{
    b"valid": lambda: None,
    b"rejected": reject,
    b"error": lambda: 1 / 0,
    b"crash": os.abort,
    b"hang": lambda: time.sleep(99),
    b"memory": lambda: bytearray(4 << 30),
    b"listing": lambda: os.listdir(os.sep),
    b"program": lambda: os.system("exit"),
    b"pickle": lambda: pickle.loads(pickle.dumps(len)),
}}
targets.TARGETS = {{"bad": targets.Target(lambda: [b"valid"], lambda content, folder: ACTIONS[content]())}}
targets.mutate_case = lambda target, name, seed, number: list(ACTIONS)[number]
main = runpy.run_path({main!r}, run_name="fuzz of bad readers")
if sys.argv[1:2] == ["--worker"]:
    main["run_worker"](sys.argv[2], *map(int, sys.argv[3:]))
else:
    main["supervise"].__globals__.update(SECONDS=1, COMMAND=[sys.executable, __file__])
    sys.exit(main["main"]())
"""
FINDINGS = {
    2: "ZeroDivisionError at bad.py:",
    3: "the process ended with status -6",
    4: "no result within 1 s",
    5: "MemoryError at bad.py:",
    6: "os.listdir",
    7: "os.system",
    8: "pickle.find_class",
}


@pytest.mark.slow
@needs_memory_limit
def test_everything_a_reader_must_not_do_is_a_finding(tmp_path):
    """The following cases still run, and the file of each finding is saved."""
    program, saved = tmp_path / "bad.py", tmp_path / "saved"
    program.write_text(BAD_READERS.format(tests=str(FUZZ.parent), main=str(FUZZ / "__main__.py")))
    arguments = [sys.executable, str(program), "--cases", "9", "--keep", str(saved)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for number, finding in FINDINGS.items():
        assert finding in next(line for line in done.stdout.splitlines() if f"bad-0-{number}: " in line)
    assert done.stdout.splitlines()[-1].split() == ["all", "9", "1", "1", "7"]
    assert sorted(path.name for path in saved.iterdir()) == [f"bad-0-{number}" for number in FINDINGS]
