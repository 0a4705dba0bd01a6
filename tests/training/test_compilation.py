import pytest
import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.training.compilation import Compilation
from zoo.training.micro_batches import MicroBatches

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Doubling(nn.Module):
    def forward(self, images):
        return images * 2


@pytest.fixture
def compiler(monkeypatch):
    """Replaces torch.compile; records the networks that it compiles, and the sizes of the batches of compiled calls."""

    class FakeCompiler:
        def __init__(self):
            self.error, self.compiled, self.sizes = None, [], []

        def __call__(self, network, *, dynamic):
            assert dynamic is False
            self.compiled.append(network)

            def run(images):
                if self.error:
                    raise self.error
                self.sizes.append(len(images))
                return network(images)

            return run

    compiler = FakeCompiler()
    monkeypatch.setattr(torch, "compile", compiler)
    return compiler


def call(compilation, count, network=None):
    images = torch.ones(count, 2)
    assert torch.equal(compilation(network or Doubling(), images, count=count), images * 2)


@pytest.mark.parametrize(
    ("mode", "device", "on", "reason"),
    [
        ("yes", CPU, True, "asked for"),
        ("no", CUDA, False, "asked for"),
        ("auto", CPU, False, "too little is gained on cpu"),
        ("auto", CUDA, False, "not decided yet"),
    ],
)
def test_the_mode_decides_and_the_decision_is_reported(mode, device, on, reason):
    changes = []
    compilation = Compilation(mode, device, on_change=lambda *change: changes.append(change))
    assert (compilation.on, compilation.reason) == (on, reason)
    assert changes == [(on, reason)]


def test_a_long_training_on_a_gpu_is_compiled_after_some_steps():
    changes = []
    compilation = Compilation("auto", CUDA, on_change=lambda *change: changes.append(change))
    compilation.decide(seconds_left=9e9, steps=3)  # too early: the first steps are slow
    assert not compilation.on
    compilation.decide(seconds_left=1000, steps=20)
    assert changes[1:] == [(True, "expected gain 150 s > expected cost 60 s")]
    compilation.decide(seconds_left=1, steps=500)
    assert compilation.on  # the cost is spent already


def test_a_short_training_on_a_gpu_is_not_compiled():
    compilation = Compilation("auto", CUDA)
    compilation.decide(seconds_left=100, steps=20)
    assert (compilation.on, compilation.reason) == (False, "expected gain 15 s <= expected cost 60 s")
    compilation.decide(seconds_left=9e9, steps=40)
    assert not compilation.on


@pytest.mark.parametrize("mode", ["auto", "no", "yes"])
def test_a_decision_is_final(mode):
    compilation = Compilation(mode, CPU)
    compilation.decide(seconds_left=9e9, steps=1000)
    assert compilation.on is (mode == "yes")


def test_only_one_batch_size_is_compiled(compiler):
    compilation, network = Compilation("yes", CPU), Doubling()
    for count in (8, 8, 3, 8):
        call(compilation, count, network)
    assert compiler.compiled == [network]
    assert compiler.sizes == [8, 8, 8]


def test_a_run_that_resumes_at_the_last_batch_of_an_epoch_does_not_compile_for_it(compiler):
    compilation, network = Compilation("yes", CPU, images=8), Doubling()
    for count in (3, 8, 3, 8):
        call(compilation, count, network)
    assert compiler.sizes == [8, 8]


def test_smaller_micro_batches_are_compiled_anew(compiler):
    micro_batches = MicroBatches()
    compilation, network = Compilation("yes", CPU, images=8, micro_batches=micro_batches), Doubling()
    call(compilation, 8, network)
    micro_batches.size = 4
    for count in (4, 4, 3, 4):
        call(compilation, count, network)
    assert compiler.sizes == [8, 4, 4, 4]
    assert len(compiler.compiled) == 2


def test_without_compilation_nothing_is_compiled(compiler):
    call(Compilation("no", CPU), 4)
    assert not compiler.compiled


def test_a_network_that_cannot_be_compiled_is_an_error_with_compile_yes(compiler):
    from torch._dynamo.exc import TorchDynamoException

    compiler.error = TorchDynamoException("No compiler here.\nA long trace")
    with pytest.raises(TrainingError, match=r"cannot be compiled: No compiler here\.") as caught:
        call(Compilation("yes", CPU), 4)
    assert "--compile no" in caught.value.hint


def test_a_network_that_cannot_be_compiled_runs_as_it_is_with_compile_auto(compiler):
    from torch._dynamo.exc import TorchDynamoException

    compiler.error = TorchDynamoException("No compiler here.")
    compilation = Compilation("auto", CUDA)
    compilation.decide(seconds_left=9e9, steps=20)
    call(compilation, 4)
    assert (compilation.on, compilation.reason) == (False, "it failed: No compiler here.")
    call(compilation, 4)
    assert len(compiler.compiled) == 1
