"""Kills trainings by SIGKILL at any moment; resume_job.py beside this file does the work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("resume_job.py")
KILLS = 4
CASES = ("plain", "average", "views", "stages")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The results of the job, by case."""
    if not hasattr(os, "fork"):
        pytest.skip("the trainings are forks of a process, which this system does not have")
    cases = [argument for case in CASES for argument in ("--case", case)]
    process = subprocess.run(
        [sys.executable, JOB, tmp_path_factory.mktemp("killed"), "--kills", str(KILLS), *cases],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return {outcome["case"]: outcome for outcome in map(json.loads, process.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_weights_and_results(outcomes, case):
    assert outcomes[case]["after a time"] + outcomes[case]["in a save"] == KILLS
    assert outcomes[case]["different"] == 0, outcomes[case]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_at_a_signal_the_command_saves_and_says_how_to_resume(outcomes, name, code):
    assert outcomes[name]["code"] == code
    line = r"[Ww]arning: Stopped\. 'zoo finetune --resume (runs/[\w-]+)' resumes it after (step \d+ of )?epoch \d+\."
    assert re.fullmatch(line, outcomes[name]["last line"])
