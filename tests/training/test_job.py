"""What the engine is given."""

from types import SimpleNamespace

import pytest
import torch

from zoo.config import make_config
from zoo.models.precision import Precision
from zoo.runs.record import RunRecord
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.job import job_compilation, make_average
from zoo.training.micro_batches import MicroBatches


def a_job(hardware=None, *, device="cuda", micro_batch_size=None, **values):
    return SimpleNamespace(
        config=make_config("small", data="colours", **values),
        record=RunRecord(hardware=dict(hardware or {})),
        precision=Precision(name="fp32", device=torch.device(device), reason="a test"),
        processes=SINGLE_PROCESS,
        observer=lambda event: None,
        micro_batches=MicroBatches(micro_batch_size),
    )


@pytest.mark.parametrize(("decided", "why"), [(True, "to gain 150 s > to pay 60 s, as expected"), (False, "asked for")])
def test_a_resumed_run_is_compiled_as_was_decided(decided, why):
    job = a_job({"compile": decided, "compile_reason": why})
    compilation = job_compilation(job, images=32)
    compilation.consider(seconds_left=9e9, steps=1000)
    assert (compilation.on, compilation.why) == (decided, why)
    assert job.record.hardware == {"compile": decided, "compile_reason": why}


def test_a_run_that_was_stopped_before_that_was_decided_decides_it():
    first = a_job()
    job_compilation(first, images=32)
    assert first.record.hardware["compile"] is False
    resumed = job_compilation(a_job(first.record.hardware), images=32)
    resumed.consider(seconds_left=9e9, steps=20)
    assert resumed.on


@pytest.mark.parametrize(("micro_batch_size", "compiled"), [(None, 32), (20, 16)])
def test_whole_steps_are_compiled_or_the_parts_that_a_run_goes_on_with(monkeypatch, micro_batch_size, compiled):
    made = []
    monkeypatch.setattr(torch, "compile", lambda network, **how: made.append(how) or network)
    compilation = job_compilation(a_job(device="cpu", compile="yes", micro_batch_size=micro_batch_size), images=32)
    for count in (7, 16, 32):
        before = len(made)
        assert compilation(len, [0] * count, count=count) == count
        assert (len(made) > before) == (count == compiled)


def test_an_average_is_kept_where_one_is_asked_for():
    network = torch.nn.Linear(2, 2)
    assert make_average(a_job(ema=None).config, network) is None
    average = make_average(a_job(ema=0.25).config, network)
    average.update_parameters(network)
    with torch.no_grad():
        network.weight.zero_()
        average.module.weight.fill_(1.0)
    average.update_parameters(network)
    assert average.module.weight.unique().tolist() == [0.25]
