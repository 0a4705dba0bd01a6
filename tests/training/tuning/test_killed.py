"""Kills processes of a study by SIGKILL; tune_job.py beside this file is one of them."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("tune_job.py")
TRIALS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]


@pytest.fixture
def start(tmp_path):
    """Starts a process of the study; those that still run at the end of the test are killed."""
    processes = []

    def start_process(storage, runs="runs"):
        process = subprocess.Popen(
            [sys.executable, JOB, tmp_path / runs, storage, str(TRIALS)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def kill_in(process, beginning):
    """Kills a process once it prints a line that begins so; returns that line."""
    for line in process.stdout:
        if line.startswith(beginning):
            process.kill()
            process.wait()
            return line.strip()
    pytest.fail(f"the process ended with {process.wait()}")


def read_report(folder):
    (report,) = folder.glob("studies/*/report.json")
    return json.loads(report.read_text("utf-8"))


def count_states(report):
    return Counter(trial["state"] for trial in report["trials"])


def test_a_study_whose_process_is_killed_goes_on_with_the_values_of_its_trial(start, tmp_path):
    kill_in(start(""), "training 2")
    process = start("")
    assert process.wait(timeout=500) == 0
    report = read_report(tmp_path / "runs")
    states = count_states(report)
    assert states["finished"] + states["pruned"] == TRIALS
    killed, again = report["trials"][1:3]
    assert (killed["state"], killed["reason"]) == ("failed", "its process was killed")
    assert again["values"] == killed["values"]
    assert again["state"] == "finished"
    assert len([*tmp_path.glob("runs/studies/*/trials/*")]) == 1  # nothing of the killed trial is left
    assert [*tmp_path.glob("runs/studies/*/.*.lock")] == []


@pytest.mark.parametrize("database", ["{}/tune.journal", "sqlite:///{}/tune.db"])
def test_two_processes_share_a_study_and_one_ends_it_after_the_other_is_killed(start, tmp_path, database):
    storage = database.format(tmp_path)
    first, second = start(storage), start(storage)
    victim = int(kill_in(first, "training").split()[1])
    assert second.wait(timeout=500) == 0
    survivor = second.stdout.read().split()
    report = read_report(tmp_path / "runs")
    states = count_states(report)
    assert states["finished"] + states["pruned"] == TRIALS
    assert report["trials"][victim - 1]["reason"] == "its process was killed"
    tried = [trial["values"] for trial in report["trials"]]
    assert tried.count(tried[victim - 1]) == 2
    assert survivor.count("finished") + survivor.count("pruned") == TRIALS


def test_processes_that_share_a_study_do_its_trials_together(start, tmp_path):
    storage = str(tmp_path / "tune.journal")
    both = [start(storage), start(storage, runs="elsewhere")]
    assert [process.wait(timeout=500) for process in both] == [0, 0]
    lines = [process.stdout.read().splitlines() for process in both]
    ended = [[line for line in each if not line.startswith("training")] for each in lines]
    assert sum(map(len, ended)) == TRIALS
    numbers = sorted(int(line.split()[1]) for each in ended for line in each)
    assert numbers == [*range(1, TRIALS + 1)]
