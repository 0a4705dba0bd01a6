"""Spoilt files end in what they hold or in a `ZooError`, at every entrance; `python tests/fuzz` tries as many as asked.

Here a few cases an entrance are tried, always the same ones.
"""

import os
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


DIGESTS = """
import hashlib
from fuzz.entrances import ENTRANCES, spoilt
for name, entrance in ENTRANCES.items():
    for number in range(20):
        print(name, number, hashlib.sha256(spoilt(entrance, name, 3, number)).hexdigest())
"""


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_case_is_the_same_in_every_process(capsys):
    exec(DIGESTS, {})
    here = capsys.readouterr().out
    assert len({line.split()[-1] for line in here.splitlines()}) > 19 * len(ENTRANCES)
    paths = os.pathsep.join([str(FUZZ.parent), os.environ.get("PYTHONPATH", "")])
    there = subprocess.run(
        [sys.executable, "-c", DIGESTS], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert there.returncode == 0, there.stderr
    assert set(there.stdout.splitlines()) ^ set(here.splitlines()) == set()


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
    b"whole": lambda: None,
    b"refusal": refuse,
    b"error": lambda: 1 / 0,
    b"crash": os.abort,
    b"hang": lambda: time.sleep(99),
    b"memory": lambda: bytearray(4 << 30),
    b"listing": lambda: os.listdir(os.sep),
    b"program": lambda: os.system("exit"),
    b"pickle": lambda: pickle.loads(pickle.dumps(len)),
}}
entrances.ENTRANCES = {{"bad": entrances.Entrance(lambda: [b"whole"], lambda content, folder: DEEDS[content]())}}
entrances.spoilt = lambda entrance, name, seed, number: list(DEEDS)[number]
main = runpy.run_path({main!r}, run_name="fuzz of bad readers")
if sys.argv[1:2] == ["--work"]:
    main["work"](sys.argv[2], *map(int, sys.argv[3:]))
else:
    main["supervise"].__globals__.update(SECONDS=1, COMMAND=[sys.executable, __file__])
    sys.exit(main["main"]())
"""
FOUND = {
    2: "ZeroDivisionError at bad.py:",
    3: "the process ended with status -6",
    4: "no answer within 1 s",
    5: "MemoryError at bad.py:",
    6: "os.listdir",
    7: "os.system",
    8: "pickle.find_class",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no memory")
def test_whatever_a_reader_should_not_do_is_a_finding(tmp_path):
    """The next cases go on, and the file that did it is kept."""
    program, kept = tmp_path / "bad.py", tmp_path / "kept"
    program.write_text(BAD.format(tests=str(FUZZ.parent), main=str(FUZZ / "__main__.py")))
    arguments = [sys.executable, str(program), "--cases", "9", "--keep", str(kept)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for number, told in FOUND.items():
        assert told in next(line for line in done.stdout.splitlines() if f"bad-0-{number}: " in line)
    assert done.stdout.splitlines()[-1].split() == ["all", "9", "1", "1", "7"]
    assert sorted(path.name for path in kept.iterdir()) == [f"bad-0-{number}" for number in FOUND]
