"""Spoilt files end in what they hold or in a `ZooError`, at every entrance; `python tests/fuzz` tries as many as asked.

Here a few cases an entrance are tried, always the same ones.
"""

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
    import random

    for number in range(500):
        assert isinstance(scramble(random.Random(number), b"x" * (number % 3), [b""]), bytes)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no memory")
def test_the_command_counts():
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--entrance", "card", "--cases", "30"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[:2] == ["all", "30"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no memory")
@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("1 / 0", "ZeroDivisionError at"),
        ("os.abort()", "the process ended with status -6"),
        ("time.sleep(99)", "no answer within 1 s"),
        ("bytearray(4 << 30)", "MemoryError at"),
    ],
)
def test_an_error_a_crash_a_hang_and_a_filled_memory_are_findings(tmp_path, deed, told):
    """The next cases go on, and the file that did it is kept."""
    program = f"""
import os, runpy, sys, time
sys.path.insert(0, {str(FUZZ.parent)!r})
from fuzz import entrances
from zoo.errors import ZooError
def read(content, folder):
    if content != b"whole":
        if len(content) == 5: raise ZooError("no")
        {deed}
entrances.ENTRANCES = {{"bad": entrances.Entrance(lambda: [b"whole"], read)}}
main = runpy.run_path({str(FUZZ / "__main__.py")!r}, run_name="fuzz of a bad reader")
if sys.argv[1:2] == ["--work"]:
    main["work"](sys.argv[2], *map(int, sys.argv[3:]))
else:
    main["supervise"].__globals__.update(SECONDS=1, COMMAND=[sys.executable, __file__])
    sys.exit(main["main"]())
"""
    (tmp_path / "bad.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "bad.py"), "--cases", "6", "--keep", str(tmp_path / "kept")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert told in done.stdout
    assert done.stdout.splitlines()[-1].split()[1] == "6"
    assert all(path.name.startswith("bad-0-") for path in (tmp_path / "kept").iterdir())
