"""Fixtures that stop a training in a certain step."""

import signal

import pytest
from counting_head import CountingHead
from fakes import FakePlugin, make_backbone_spec
from training_runs import EventRecorder, latest_run

import zoo
from zoo.utils.interrupts import Terminated


@pytest.fixture
def plugin():
    backbones = [make_backbone_spec(), make_backbone_spec("small-dropout", dropout=0.3)]
    return FakePlugin(backbones=backbones, heads=[zoo.HeadSpec(name="counting", build=CountingHead)])


@pytest.fixture
def options():
    return {"head": "counting"}


@pytest.fixture(autouse=True)
def _default_ctrl_c():
    """Restores the default handler of Ctrl-C, which processes in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _count_from_zero(monkeypatch):
    monkeypatch.setattr(CountingHead, "steps", 0)


@pytest.fixture
def interrupt(monkeypatch):
    """Returns a function that calls another one, which a signal interrupts in step `at`; returns the notes."""

    def interrupt_work(work, at, *, by=signal.SIGINT, when="on_step"):
        observer = EventRecorder()
        monkeypatch.setattr(CountingHead, "steps", 0)
        with monkeypatch.context() as patch:
            patch.setattr(CountingHead, when, lambda step: signal.raise_signal(by) if step == at else None)
            with pytest.raises(KeyboardInterrupt if by == signal.SIGINT else Terminated):
                work(observer=observer)
        return observer.notes

    return interrupt_work


@pytest.fixture
def stop(train, interrupt, runs):
    """Returns a function that trains until a signal in step `at`, and returns the run."""

    def stop_training(at, *, by=signal.SIGINT, when="on_step", **values):
        interrupt(lambda observer: train(observer=observer, **values), at, by=by, when=when)
        return latest_run(runs)

    return stop_training
