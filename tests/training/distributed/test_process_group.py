import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import read_weights

from zoo.errors import ConfigError
from zoo.runs.open import open_run
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup

sys.path.insert(0, str(Path(__file__).parent))
import processes_job as job

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_the_variables_of_torchrun_are_read():
    assert ProcessGroup.from_environment({}) is SINGLE_PROCESS
    processes = ProcessGroup.from_environment(TORCHRUN)
    assert processes == ProcessGroup(rank=3, count=8, local_rank=1, local_count=2)
    assert not processes.is_main
    assert not processes.is_single


@pytest.mark.parametrize("changes", [{"LOCAL_RANK": "x"}, {"LOCAL_RANK": None}])
def test_incomplete_variables_are_an_error(changes):
    environment = {name: value for name, value in {**TORCHRUN, **changes}.items() if value is not None}
    with pytest.raises(ConfigError, match=r"variables of torchrun are incomplete: .*(LOCAL_RANK|'x')") as caught:
        ProcessGroup.from_environment(environment)
    assert "torchrun" in caught.value.hint


def test_a_single_process_exchanges_nothing():
    with SINGLE_PROCESS.session(), SINGLE_PROCESS.local_first():
        SINGLE_PROCESS.barrier()
        assert SINGLE_PROCESS.broadcast(lambda: 3) == 3
        assert SINGLE_PROCESS.all_gather("a") == ["a"]
        assert SINGLE_PROCESS.all_reduce(2.5, 1) == [2.5, 1]
        assert torch.equal(SINGLE_PROCESS.all_gather_rows([torch.ones(1), torch.zeros(2)]), torch.tensor([1.0, 0, 0]))


@pytest.fixture(scope="module")
def job_results(tmp_path_factory):
    """The results of two processes, by rank, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("processes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    process = subprocess.run(
        [*torchrun, job.__file__, folder],
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert process.returncode == 0, process.stderr
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in (0, 1)], folder


@pytest.fixture
def results(job_results):
    """The results of both processes, by rank."""
    return job_results[0]


def test_processes_exchange_values(results):
    for rank, result in enumerate(results):
        assert result["rank"] == rank
        assert result["broadcast"] == "by 0"
        assert result["all_gather"] == [0, 1]
        assert result["all_reduce"] == [1.0, 1.0]
        assert result["all_gather_rows"] == [1.0, 1.0]


def test_outputs_are_in_order_even_if_a_process_has_none(results):
    assert [result["outputs"] for result in results] == [[[0], [0, 1, 2, 3, 4]]] * 2


def test_a_step_of_two_processes_equals_the_step_of_one(results):
    """With shares of 3 and 4 images, whole and in micro-batches, and with unused parameters."""
    for result in results:
        assert max(result["step_differences"]) < 1e-6


@pytest.mark.parametrize("name", ["fine-tuned", "solved", "on-features"])
def test_two_processes_learn_the_same_as_one(job_results, name, tmp_path):
    (main, _), folder = job_results
    (run,) = [open_run(path) for path in (folder / "runs" / name).iterdir()]
    single = job.train(tmp_path, name)
    assert main["accuracies"][name] == single.results["test"]["accuracy"]
    assert run.record.hardware["processes"] == 2
    for row, expected in zip(run.metrics(), single.metrics(), strict=True):
        for metric in ("train_loss", "val_loss", "learning_rate"):
            assert row[metric] == pytest.approx(expected[metric], rel=1e-5, abs=1e-6), (metric, row["epoch"])
        for metric in ("train_accuracy", "val_accuracy", "best", "epoch"):
            assert row[metric] == expected[metric]
    ours, theirs = (read_weights(each) for each in (run, single))
    for weights, expected in zip(ours.values(), theirs.values(), strict=True):
        torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-5)


def test_only_the_main_process_writes_and_reports(job_results):
    (main, other), folder = job_results
    assert other["events"] == 0 < main["events"]
    assert main["accuracies"] == other["accuracies"]
    for name in job.RUNS:
        assert len(list((folder / "runs" / name).iterdir())) == 1


def test_batch_normalisations_that_cannot_be_synchronised_are_reported(results):
    notes = [text for text in results[0]["notes"] if "batch normalisation" in text]
    assert len(notes) == 1
    assert "--freeze-norm-stats yes" in notes[0]


def test_the_random_states_of_all_processes_are_saved(results):
    assert all(result["random_states_restored"] for result in results)


def test_a_signal_to_one_process_saves_in_all_and_the_run_can_be_resumed(results):
    for result in results:
        assert result["resumed"] == {"same": True, "saved": {"epoch": 1, "step": 1}}


def test_an_error_in_one_process_ends_all(results):
    assert [result["error"] for result in results] == ["OtherProcessError", "ConfigError"]
