import pytest
import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.training.compilation import Compilation
from zoo.training.micro_batches import MicroBatches

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Twice(nn.Module):
    def forward(self, images):
        return images * 2


@pytest.fixture
def compiler(monkeypatch):
    """Stands for torch.compile; takes note of what it is given, and of each call of what it returns."""

    class Fake:
        error = None
        given, called = [], []

        def __call__(self, network, *, dynamic):
            assert dynamic is False
            self.given.append(network)

            def compiled(images):
                if self.error:
                    raise self.error
                self.called.append(len(images))
                return network(images)

            return compiled

    fake = Fake()
    fake.given, fake.called = [], []
    monkeypatch.setattr(torch, "compile", fake)
    return fake


def said(compilation, count, network=None):
    images = torch.ones(count, 2)
    assert torch.equal(compilation(network or Twice(), images, count=count), images * 2)


@pytest.mark.parametrize(
    ("how", "device", "on", "why"),
    [
        ("yes", CPU, True, "asked for"),
        ("no", CUDA, False, "asked for"),
        ("auto", CPU, False, "too little is gained on cpu"),
        ("auto", CUDA, False, "not decided yet"),
    ],
)
def test_what_is_asked_for_is_done_and_told(how, device, on, why):
    told = []
    compilation = Compilation(how, device, on_change=lambda *given: told.append(given))
    assert (compilation.on, compilation.why) == (on, why)
    assert told == [(on, why)]


def test_a_long_training_on_a_gpu_is_compiled_once_a_handful_of_steps_told_how_long():
    told = []
    compilation = Compilation("auto", CUDA, on_change=lambda *given: told.append(given))
    compilation.consider(seconds_left=9e9, steps=3)  # the first steps tell nothing: they warm up
    assert not compilation.on
    compilation.consider(seconds_left=1000, steps=20)
    assert told[1:] == [(True, "to gain 150 s > to pay 60 s, as expected")]
    compilation.consider(seconds_left=1, steps=500)
    assert compilation.on  # it is paid for already


def test_a_short_training_on_a_gpu_is_not_compiled():
    compilation = Compilation("auto", CUDA)
    compilation.consider(seconds_left=100, steps=20)
    assert (compilation.on, compilation.why) == (False, "to gain 15 s <= to pay 60 s, as expected")
    compilation.consider(seconds_left=9e9, steps=40)
    assert not compilation.on


@pytest.mark.parametrize("how", ["auto", "no", "yes"])
def test_nothing_is_considered_where_all_is_decided(how):
    compilation = Compilation(how, CPU)
    compilation.consider(seconds_left=9e9, steps=1000)
    assert compilation.on is (how == "yes")


def test_one_size_is_compiled_and_others_are_not(compiler):
    compilation, network = Compilation("yes", CPU), Twice()
    for count in (8, 8, 3, 8):
        said(compilation, count, network)
    assert compiler.given == [network]
    assert compiler.called == [8, 8, 8]


def test_a_run_that_goes_on_with_the_last_batch_of_an_epoch_does_not_compile_for_it(compiler):
    compilation, network = Compilation("yes", CPU, images=8), Twice()
    for count in (3, 8, 3, 8):
        said(compilation, count, network)
    assert compiler.called == [8, 8]


def test_where_memory_runs_out_smaller_parts_are_compiled(compiler):
    micro_batches = MicroBatches()
    compilation, network = Compilation("yes", CPU, images=8, micro_batches=micro_batches), Twice()
    said(compilation, 8, network)
    micro_batches.size = 4
    for count in (4, 4, 3, 4):
        said(compilation, count, network)
    assert compiler.called == [8, 4, 4, 4]
    assert len(compiler.given) == 2


def test_without_compilation_nothing_is_compiled(compiler):
    said(Compilation("no", CPU), 4)
    assert not compiler.given


def test_a_network_that_cannot_be_compiled_is_told_where_that_was_asked_for(compiler):
    from torch._dynamo.exc import TorchDynamoException

    compiler.error = TorchDynamoException("No compiler here.\nA long trace")
    with pytest.raises(TrainingError, match=r"cannot be compiled: No compiler here\.") as caught:
        said(Compilation("yes", CPU), 4)
    assert "--compile" in caught.value.hint


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is_where_it_was_but_an_attempt(compiler):
    from torch._dynamo.exc import TorchDynamoException

    compiler.error = TorchDynamoException("No compiler here.")
    compilation = Compilation("auto", CUDA)
    compilation.consider(seconds_left=9e9, steps=20)
    said(compilation, 4)
    assert (compilation.on, compilation.why) == (False, "it failed: No compiler here.")
    said(compilation, 4)
    assert len(compiler.given) == 1
