"""Kills a search by SIGKILL, and resumes it."""

import json
import subprocess
import sys
import time

import pytest

from zoo.runs.manifest import check_folder
from zoo.runs.open import open_run

ZOO = (sys.executable, "-P", "-m", "zoo", "best")
DATA = ("--data", "hotdog-cartoon", "--data-option", "images=60", "--data-option", "size=96")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_search_that_was_killed_keeps_what_it_tried(tmp_path):
    search = ("--minutes", "2", "--backbone", "efficientnet_lite0", "--only", "--runs", str(tmp_path))
    process = subprocess.Popen([*ZOO, *DATA, *search, "--quiet"])
    try:
        before = wait_for_outcome(tmp_path, process)
    finally:
        process.kill()
        process.wait()
    (folder,) = tmp_path.glob("search-*")
    done = subprocess.run([*ZOO, "--resume", str(folder), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = [row["name"] for row in found["tried"]]
    assert names[0] == "efficientnet_lite0, 224 px, probe"
    assert found["tried"][0]["seconds"] == before["outcomes"][0]["seconds"]
    assert len(set(names)) == len(names)
    assert found["seconds"] > before["used"]
    run = open_run(found["run"])
    assert run.finished
    assert "test" in run.results
    assert check_folder(run.path) == []


def wait_for_outcome(runs, process):
    """Returns the state of a search once it has tried something."""
    for _ in range(3000):
        for file in runs.glob("search-*/search.json"):
            if (state := json.loads(file.read_text("utf-8")))["outcomes"]:
                return state
        assert process.poll() is None, "the search ended"
        time.sleep(0.1)
    pytest.fail("nothing was tried in five minutes")
