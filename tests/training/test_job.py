import dataclasses
from types import SimpleNamespace

import pytest
import torch

from zoo.config import make_config
from zoo.models.engines import Engine
from zoo.models.precision import Precision
from zoo.preprocess import Preprocess
from zoo.runs.record import RunRecord
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from zoo.training.job import build_average, build_compilation, find_engine
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


def choose_for(job, monkeypatch, engine="onnxruntime"):
    """Returns what `find_engine` returns, and the arguments of `choose_engine`."""
    calls = []

    def choose(network, **values):
        calls.append(values)
        return Engine(name=engine, reason="measured", run=network)

    monkeypatch.setattr("zoo.training.job.choose_engine", choose)
    return find_engine(job, torch.nn.Identity(), what="features", images=90), calls


def make_engine_job(hardware=None, **values):
    job = make_job(hardware, device="cpu", **values)
    job.preprocess = Preprocess(size=(96, 64), resize=100)
    job.record = dataclasses.replace(job.record, backbone="fake/small")
    return job


def test_the_first_choice_of_an_engine_is_recorded(monkeypatch):
    job = make_engine_job()
    engine, (call,) = choose_for(job, monkeypatch)
    assert engine.name == "onnxruntime"
    assert (call["images"], call["image_size"], call["name"]) == (90, (96, 64), "auto")
    assert call["key"] == "fake/small, features, 96 x 64"
    assert job.record.hardware["engine"] == {"name": "onnxruntime", "reason": "measured"}


def test_a_run_goes_on_with_its_recorded_engine(monkeypatch):
    recorded = {"engine": {"name": "torch", "reason": "measured before"}}
    job = make_engine_job(recorded)
    _, (call,) = choose_for(job, monkeypatch)
    assert call["name"] == "torch"
    assert job.record.hardware == recorded


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"processes": ProcessGroup(count=2)}, "several processes"),
        ({"precision": "bf16"}, "--precision bf16"),
        ({"compile": "yes"}, "--compile yes"),
    ],
)
def test_what_was_asked_for_and_several_processes_need_torch(monkeypatch, values, reason):
    job = make_engine_job(**values)
    engine, calls = choose_for(job, monkeypatch)
    assert (engine.name, engine.reason, calls) == ("torch", reason, [])
    assert "engine" not in job.record.hardware
