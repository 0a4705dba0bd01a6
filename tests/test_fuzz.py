"""Spoilt files end in what they hold or in a `ZooError`, at every entrance; `python tests/fuzz` tries as many as asked.

Here a few cases an entrance are tried, always the same ones.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.entrances import ENTRANCES, read, spoilt
from fuzz.mutations import scramble

FUZZ = Path(__file__).parent / "fuzz"
CASES = 40


@pytest.mark.parametrize("name", ENTRANCES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about pickles that are not its own
def test_a_whole_file_is_taken_and_spoilt_ones_are_taken_or_refused(name):
    entrance = ENTRANCES[name]
    assert read(entrance, entrance.made[0]) == "taken"
    outcomes = [read(entrance, spoilt(entrance, name, 1, number)) for number in range(CASES)]
    assert len(outcomes) == CASES
    assert "refused" in outcomes


def test_a_case_is_the_same_each_time():
    entrance = ENTRANCES["card"]
    assert spoilt(entrance, "card", 3, 5) == spoilt(entrance, "card", 3, 5) != spoilt(entrance, "card", 3, 6)


def test_no_way_of_spoiling_fails_on_a_file_however_short():
    for number in range(500):
        assert isinstance(scramble(random.Random(number), b"x" * (number % 3), [b""]), bytes)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no memory")
def test_the_command_counts():
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--entrance", "card", "--cases", "30"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[:2] == ["all", "30"]


BAD = """
import os, pickle, runpy, sys, time
sys.path.insert(0, {tests!r})
from fuzz import entrances
from zoo.errors import ZooError

def refuse(): raise ZooError("no")

DEEDS = {{
    "refusal": refuse,
    "error": lambda: 1 / 0,
    "crash": os.abort,
    "hang": lambda: time.sleep(99),
    "memory": lambda: bytearray(4 << 30),
    "listing": lambda: os.listdir(os.sep),
    "program": lambda: os.system("exit"),
    "pickle": lambda: pickle.loads(pickle.dumps(len)),
}}

def entrance(deed):
    return entrances.Entrance(lambda: [b"whole"], lambda content, folder: content == b"whole" or deed())

entrances.ENTRANCES = {{name: entrance(deed) for name, deed in DEEDS.items()}}
main = runpy.run_path({main!r}, run_name="fuzz of bad readers")
if sys.argv[1:2] == ["--work"]:
    main["work"](sys.argv[2], *map(int, sys.argv[3:]))
else:
    main["supervise"].__globals__.update(SECONDS=1, COMMAND=[sys.executable, __file__])
    sys.exit(main["main"]())
"""
FOUND = {
    "error": "ZeroDivisionError at bad.py:",
    "crash": "the process ended with status -6",
    "hang": "no answer within 1 s",
    "memory": "MemoryError at bad.py:",
    "listing": "['os.listdir",
    "program": "['os.system",
    "pickle": "['pickle.find_class",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no memory")
def test_whatever_a_reader_should_not_do_is_a_finding(tmp_path):
    """The next cases go on, and the file that did it is kept."""
    program, kept = tmp_path / "bad.py", tmp_path / "kept"
    program.write_text(BAD.format(tests=str(FUZZ.parent), main=str(FUZZ / "__main__.py")))
    arguments = [sys.executable, str(program), "--cases", "16", "--keep", str(kept)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for deed, told in FOUND.items():
        assert f"{deed}-0-1: " in done.stdout
        assert told in next(line for line in done.stdout.splitlines() if f"{deed}-0-0: " in line)
    assert done.stdout.splitlines()[-1].split() == ["all", "16", "2", "0", "14"]
    assert sorted(path.name for path in kept.iterdir()) == sorted(f"{deed}-0-{n}" for deed in FOUND for n in (0, 1))
