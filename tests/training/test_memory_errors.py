import pytest
import torch
from fakes import FakePlugin, SmallHead, make_registry

import zoo
from zoo.data.loading import pipeline
from zoo.errors import TrainingError
from zoo.models.memory_errors import is_out_of_memory
from zoo.training import finalize, prepare
from zoo.training.step import Attempt, Step


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tri"
        ),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    ],
)
def test_the_out_of_memory_errors_of_all_devices_are_recognised(error):
    assert is_out_of_memory(error)


def test_the_error_of_the_cpu_allocator_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_not_mistaken_for_it(error):
    assert not is_out_of_memory(error)


def test_running_out_of_memory_while_loading_photos_is_an_error_with_advice(train, monkeypatch):
    def run_out_of_memory(*args, **kwargs):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(pipeline, "_join", run_out_of_memory)
    with pytest.raises(TrainingError, match="memory of this machine is too small: Unable to allocate 9 GiB") as caught:
        train()
    assert "--cache-size" in caught.value.hint


def test_running_out_of_memory_in_one_of_several_processes_ends_the_run(train, monkeypatch):
    class GreedyHead(SmallHead):
        def forward(self, features):
            if self.training and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(features)

    # As with several processes: a single attempt.
    monkeypatch.setattr(Step, "__call__", lambda self, batch: self._take(self.network, batch, Attempt()))
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=GreedyHead)]))
    with pytest.raises(TrainingError, match="The device's memory is too small: CUDA out of memory") as caught:
        train(registry=registry)
    assert "--batch-size" in caught.value.hint


@pytest.mark.parametrize(("module", "name"), [(prepare, "freeze"), (finalize, "load_weights")])
def test_running_out_of_memory_before_or_after_training_is_an_error_with_advice(train, monkeypatch, module, name):
    def run_out_of_memory(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, name, run_out_of_memory)
    with pytest.raises(TrainingError, match="The device's memory is too small: CUDA out of memory"):
        train()


def test_threads_that_cannot_be_started_are_an_error_with_advice(train, monkeypatch):
    class FailingExecutor(pipeline.ThreadPoolExecutor):
        def submit(self, *args):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", FailingExecutor)
    with pytest.raises(TrainingError, match="Cannot start another thread") as caught:
        train()
    assert "--workers" in caught.value.hint
