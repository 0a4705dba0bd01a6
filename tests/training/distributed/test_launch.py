"""``zoo finetune`` in several processes, started for real: with --devices, and by torchrun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo import open_run
from zoo.errors import TrainingError
from zoo.training.distributed import launch
from zoo.utils.interrupts import SIGNALS

ROOT = Path(__file__).parents[3]
# A distribution as an author would publish it: a small network, and a head that a test can slow down or make fail.
PLUGIN = '''
import os, time
import fakes, zoo
from zoo.errors import DataError

class Head(fakes.SmallHead):
    """Is slow in training, or fails in process 1."""

    def forward(self, features):
        if self.training and os.environ.get("FAULT") == "slow":
            time.sleep(0.1)
        if len(features.pooled) > 2 and os.environ.get("FAULT") == "fail" and os.environ["RANK"] == "1":
            raise DataError("This is process 1.", hint="Ask process 0.")
        return super().forward(features)

@zoo.hookimpl
def zoo_backbones():
    return [fakes.make_backbone_spec()]

@zoo.hookimpl
def zoo_heads():
    return [zoo.HeadSpec(name="flat", build=Head)]

@zoo.hookimpl
def zoo_datasets():
    return [zoo.DatasetSpec(name="colours", load=lambda request: fakes.make_images())]
'''
FINETUNE = ["finetune", "small", "--head", "flat", "--data", "colours", "--device", "cpu", "--quiet"]
# With a frozen backbone no optimizer is needed, which takes torch seconds to import.
FROZEN = [*FINETUNE, "--freeze", "all"]
UNFROZEN = [*FINETUNE, "--freeze", "none", "--probe", "no", "--batch-size", "8", "--precision", "fp32"]


@pytest.fixture
def start(tmp_path):
    """Returns a function that starts ``python -m MODULE ARGUMENTS`` where the plugin is installed."""
    described = tmp_path / "site" / "zoo_small-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-small\nVersion: 1.0\n", "utf-8")
    (described / "entry_points.txt").write_text("[zoo]\nsmall = zoo_small\n", "utf-8")
    (tmp_path / "site" / "zoo_small.py").write_text(PLUGIN, "utf-8")
    path = os.pathsep.join(map(str, (tmp_path / "site", ROOT / "tests", *sys.path)))

    started = []

    def run(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "ZOO_BLOCK_PLUGINS": "timm,torchvision,export", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_torchrun_may_start_the_processes(start, tmp_path):
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start(*torchrun, "-m", "zoo", *FROZEN, OMP_NUM_THREADS="1")
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    assert out == "runs/small-flat-colours-1\n"
    run = open_run(tmp_path / out.strip())
    assert run.record.hardware["processes"] == 2
    assert run.results["test"]["count"] == 18
    assert len(run.metrics()) == 1
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {"small-flat-colours-1"}


def test_the_error_of_one_process_is_printed_once(start, tmp_path):
    process = start("zoo", *FROZEN, "--devices", "2", FAULT="fail")
    out, err = process.communicate(timeout=250)
    assert process.returncode == 1
    assert out == ""
    assert err.rstrip() == "error: This is process 1.\nAsk process 0."
    assert open_run(tmp_path / "runs/small-flat-colours-1").record.status == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("number", [each for each in SIGNALS if each != signal.SIGTERM])
def test_an_interrupt_ends_all_processes_and_keeps_the_checkpoint(start, tmp_path, number):
    process = start("zoo", *UNFROZEN, "--epochs", "100", "--devices", "2", FAULT="slow")
    checkpoint = tmp_path / "runs/small-flat-colours-1/checkpoint.pt"
    deadline = time.monotonic() + 250
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=250)
    assert process.returncode == 128 + number
    assert (out, err.strip()) == ("", "")
    assert open_run(checkpoint.parent).record.status == "interrupted"
    # The pipes are closed, so no process that would write to them is left.


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP")
def test_the_launcher_leaves_an_ignored_hangup_ignored(monkeypatch):
    variable = "TORCHELASTIC_SIGNALS_TO_HANDLE"
    for name in (variable, "OMP_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "TORCH_CPP_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        launch._prepare_environment(2)
        assert "SIGHUP" not in os.environ.pop(variable).split(",")
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        launch._prepare_environment(2)
        assert variable not in os.environ
    finally:
        signal.signal(signal.SIGHUP, before)


def failure(exitcode, reported=False):
    data = {"message": {"message": "DataError: no"} if reported else "<NONE>"}
    return SimpleNamespace(exitcode=exitcode, error_file_data=data, signal_name=lambda: "SIGKILL")


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ({0: failure(3), 1: failure(2, reported=True)}, 2),
        ({0: failure(-15), 1: failure(-15, reported=True)}, 1),
        ({0: failure(130), 1: failure(3)}, 130),
        ({0: failure(3), 1: failure(3)}, 1),
    ],
)
def test_exit_codes(failures, code):
    assert launch._exit_code(failures) == code


def test_a_process_that_was_killed_is_named():
    with pytest.raises(TrainingError, match=r"^Process 1 was killed by the signal SIGKILL\."):
        launch._exit_code({0: failure(3), 1: failure(-9)})
