import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from zoo.errors import ConfigError
from zoo.runs.open import open_run
from zoo.training.distributed.device import device_for
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup

sys.path.insert(0, str(Path(__file__).parent))
import processes_job as job

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_what_torchrun_says():
    assert ProcessGroup.from_environment({}) is SINGLE_PROCESS
    found = ProcessGroup.from_environment(TORCHRUN)
    assert found == ProcessGroup(rank=3, count=8, local_rank=1, local_count=2)
    assert not found.is_main
    assert not found.is_single


@pytest.mark.parametrize("spoilt", [{"LOCAL_RANK": "x"}, {"LOCAL_RANK": None}])
def test_half_an_environment_is_an_error(spoilt):
    environment = {name: value for name, value in {**TORCHRUN, **spoilt}.items() if value is not None}
    with pytest.raises(ConfigError, match=r"not whole: .*(LOCAL_RANK|'x')") as caught:
        ProcessGroup.from_environment(environment)
    assert "torchrun" in caught.value.hint


def test_alone_nothing_has_to_be_exchanged():
    with SINGLE_PROCESS.session(), SINGLE_PROCESS.local_first():
        SINGLE_PROCESS.barrier()
        assert SINGLE_PROCESS.broadcast(lambda: 3) == 3
        assert SINGLE_PROCESS.all_gather("a") == ["a"]
        assert SINGLE_PROCESS.all_reduce(2.5, 1) == [2.5, 1]
        assert torch.equal(SINGLE_PROCESS.all_gather_rows([torch.ones(1), torch.zeros(2)]), torch.tensor([1.0, 0, 0]))


@pytest.mark.parametrize(
    ("name", "gpus", "message", "hint"),
    [
        ("cuda", 2, "3 processes need a GPU each, but torch .* sees 2", "Say --devices 2 or --device cpu."),
        ("auto", 1, "3 processes need a GPU each, but torch .* sees 1", "Say --devices 1 or --device cpu."),
        ("cuda", 0, "3 processes need a GPU each, but torch .* sees 0", "Say --device cpu."),
        ("cuda:1", 4, "'cuda:1', a single device, for 3 processes", "Say --device cuda or --device cpu"),
    ],
)
def test_too_few_devices(monkeypatch, name, gpus, message, hint):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=message) as caught:
        device_for(name, ProcessGroup(count=3, local_count=3))
    assert caught.value.hint.startswith(hint)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    second = ProcessGroup(rank=5, count=8, local_rank=1, local_count=4)
    assert device_for("cuda", second) == torch.device("cuda", 1)
    assert device_for("cpu", second) == torch.device("cpu")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What two processes saw, by rank; and the folder that they worked in."""
    folder = tmp_path_factory.mktemp("processes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(
        [*torchrun, job.__file__, folder],
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in (0, 1)], folder


def test_what_passes_between_processes(seen):
    for rank, told in enumerate(seen[0]):
        assert told["rank"] == rank
        assert told["decided"] == "by 0"
        assert told["gathered"] == [0, 1]
        assert told["total"] == [1.0, 1.0]
        assert told["joined"] == [1.0, 1.0]


def test_outputs_come_back_in_order_also_where_a_process_has_none(seen):
    assert [told["outputs"] for told in seen[0]] == [[[0], [0, 1, 2, 3, 4]]] * 2


def test_a_step_of_two_is_the_step_of_one(seen):
    """With shares of 3 and 4 images, whole and in parts, and with parameters that get no gradient."""
    for told in seen[0]:
        assert max(told["steps"]) < 1e-6


@pytest.mark.parametrize("name", ["tuned", "solved", "on-features"])
def test_two_processes_learn_what_one_learns(seen, name, tmp_path):
    (told, _), folder = seen
    (run,) = [open_run(path) for path in (folder / "runs" / name).iterdir()]
    alone = job.train(tmp_path, name)
    assert told[name] == alone.results["test"]["accuracy"]
    assert run.record.hardware["processes"] == 2
    for row, expected in zip(run.metrics(), alone.metrics(), strict=True):
        for figure in ("train_loss", "val_loss", "learning_rate"):
            assert row[figure] == pytest.approx(expected[figure], rel=1e-5, abs=1e-6), (figure, row["epoch"])
        for figure in ("train_accuracy", "val_accuracy", "best", "epoch"):
            assert row[figure] == expected[figure]
    ours, theirs = (safetensors.torch.load_file(each.weights_path) for each in (run, alone))
    for weights, expected in zip(ours.values(), theirs.values(), strict=True):
        torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-5)


def test_one_process_alone_writes_and_tells(seen):
    (first, second), folder = seen
    assert second["events"] == 0 < first["events"]
    for name in job.RUNS:
        assert first[name] == second[name]
        assert len(list((folder / "runs" / name).iterdir())) == 1


def test_batch_statistics_of_a_share_are_told(seen):
    notes = [text for text in seen[0][0]["notes"] if "batch normalisation" in text]
    assert len(notes) == 1
    assert "--freeze-norm-stats yes" in notes[0]


def test_random_states_of_all_processes_are_kept(seen):
    assert all(told["random"] for told in seen[0])


def test_a_signal_to_one_saves_in_all_and_the_run_goes_on_as_if_it_had_not_come(seen):
    for told in seen[0]:
        assert told["goes on"] == {"same": True, "saved": {"epoch": 1, "step": 1}}


def test_the_error_of_one_ends_all(seen):
    assert [told["error"] for told in seen[0]] == ["OtherProcessError", "ConfigError"]
