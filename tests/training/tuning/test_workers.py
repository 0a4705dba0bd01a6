import socket
import subprocess
import sys
import time

import optuna
import pytest

from zoo.training.tuning import workers
from zoo.training.tuning.workers import BEAT, GRACE_SECONDS, WORKER, Worker


@pytest.fixture
def trial():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study().ask()


HOLD = """
import sys, time, pathlib
from zoo.training.tuning.workers import Worker

with Worker(pathlib.Path(sys.argv[1])) as worker:
    print(worker.name, flush=True)
    time.sleep(60)
"""


def test_a_process_of_this_machine_is_dead_as_soon_as_it_was_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        attributes = {WORKER: process.stdout.readline().strip(), BEAT: time.time()}
        worker = Worker(tmp_path)
        assert not worker.is_dead(attributes, 0)
        process.kill()
        process.wait()
        assert worker.is_dead(attributes, 0)
    assert [*tmp_path.iterdir()] == []  # its lock is gone, too


def test_a_process_of_another_machine_is_dead_without_a_recent_beat(tmp_path):
    worker, now = Worker(tmp_path), time.time()
    for age, dead in ((0, False), (GRACE_SECONDS - 5, False), (GRACE_SECONDS + 5, True)):
        assert worker.is_dead({WORKER: "other-1-abc", BEAT: now - age}, now) == dead
        assert worker.is_dead({}, now - age) == dead  # killed before it could say who it is
    assert not worker.is_dead({WORKER: worker.name}, 0)


def test_the_name_in_a_database_leads_to_no_file_elsewhere(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "victim.lock").touch()
    name = f"{socket.gethostname()}-/../victim"
    assert Worker(tmp_path / "study").is_dead({WORKER: name, BEAT: 0}, 0)
    assert (tmp_path / "victim.lock").exists()


def test_a_process_shows_that_it_is_alive_while_it_works(tmp_path, trial, monkeypatch):
    monkeypatch.setattr(workers, "SECONDS_BETWEEN_BEATS", 0.01)
    with Worker(tmp_path) as worker:
        with worker.working_on(trial):
            first = trial.user_attrs[BEAT]
            deadline = time.monotonic() + 5
            while trial.user_attrs[BEAT] == first and time.monotonic() < deadline:
                time.sleep(0.01)
            assert trial.user_attrs[BEAT] > first
            assert trial.user_attrs[WORKER] == worker.name
        last = trial.user_attrs[BEAT]
        time.sleep(0.05)
        assert trial.user_attrs[BEAT] == last
    assert [*tmp_path.iterdir()] == []
