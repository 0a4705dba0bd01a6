from types import SimpleNamespace

import pytest
import torch

from zoo.config import make_config
from zoo.models.precision import Precision
from zoo.runs.record import RunRecord
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from zoo.training.job import build_average, build_compilation
from zoo.training.micro_batches import MicroBatches


def make_job(hardware=None, *, device="cuda", micro_batch_size=None, processes=SINGLE_PROCESS, **values):
    return SimpleNamespace(
        config=make_config("small", data="colours", **values),
        record=RunRecord(hardware=dict(hardware or {})),
        precision=Precision(name="fp32", device=torch.device(device), reason="a test"),
        processes=processes,
        observer=lambda event: None,
        micro_batches=MicroBatches(micro_batch_size),
    )


@pytest.mark.parametrize(("on", "reason"), [(True, "expected gain 150 s > expected cost 60 s"), (False, "asked for")])
def test_a_resumed_run_keeps_its_decision_to_compile(on, reason):
    job = make_job({"compile": on, "compile_reason": reason})
    compilation = build_compilation(job, images=32)
    compilation.decide(seconds_left=9e9, steps=1000)
    assert (compilation.on, compilation.reason) == (on, reason)
    assert job.record.hardware == {"compile": on, "compile_reason": reason}


def test_a_run_that_was_stopped_before_that_decision_makes_it_later():
    stopped = make_job()
    build_compilation(stopped, images=32)
    assert stopped.record.hardware["compile"] is False
    resumed = build_compilation(make_job(stopped.record.hardware), images=32)
    resumed.decide(seconds_left=9e9, steps=20)
    assert resumed.on


def test_several_processes_do_not_compile_on_their_own():
    job = make_job(processes=ProcessGroup(count=2))
    compilation = build_compilation(job, images=32)
    compilation.decide(seconds_left=9e9, steps=1000)
    assert (compilation.on, compilation.reason) == (False, "several processes")


@pytest.mark.parametrize(("micro_batch_size", "compiled"), [(None, 32), (20, 16)])
def test_the_micro_batches_of_a_whole_step_are_compiled(monkeypatch, micro_batch_size, compiled):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda network, **options: calls.append(options) or network)
    compilation = build_compilation(make_job(device="cpu", compile="yes", micro_batch_size=micro_batch_size), images=32)
    for count in (7, 16, 32):
        before = len(calls)
        assert compilation(len, [0] * count, count=count) == count
        assert (len(calls) > before) == (count == compiled)


def test_the_configuration_decides_whether_weights_are_averaged():
    network = torch.nn.Linear(2, 2)
    assert build_average(make_job(ema=None).config, network) is None
    average = build_average(make_job(ema=0.25).config, network)
    average.update_parameters(network)
    with torch.no_grad():
        network.weight.zero_()
        average.module.weight.fill_(1.0)
    average.update_parameters(network)
    assert average.module.weight.unique().tolist() == [0.25]
