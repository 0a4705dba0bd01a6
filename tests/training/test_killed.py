"""Trainings that are killed for real, by SIGKILL, at any moment: see resume_job.py beside this file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("resume_job.py")
KILLS = 4
CASES = ("plain", "average", "views")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the job says of each case."""
    if not hasattr(os, "fork"):
        pytest.skip("the trainings are forks of one process, which this system does not have")
    cases = [argument for case in CASES for argument in ("--case", case)]
    done = subprocess.run(
        [sys.executable, JOB, tmp_path_factory.mktemp("killed"), "--kills", str(KILLS), *cases],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {told["case"]: told for told in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_at_any_moment_ends_with_the_same_weights_and_figures(told, case):
    assert told[case]["by the clock"] + told[case]["in a save"] == KILLS
    assert told[case]["other"] == 0, told[case]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_command_line_saves_at_a_signal_and_says_how_to_go_on(told, name, code):
    assert told[name]["code"] == code
    line = r"warning: Stopped\. 'zoo finetune --resume (runs/[\w-]+)' goes on after (step \d+ of )?epoch \d+\."
    assert re.fullmatch(line, told[name]["last line"])
