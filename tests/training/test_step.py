import copy
import shutil

import pytest
import torch
from fakes import SmallBackbone
from torch import nn

from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.contracts import Head
from zoo.plugins.losses import Criterion
from zoo.training.compilation import Compilation
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixup import mix
from zoo.training.optimizer import make_optimizer
from zoo.training.step import Step

FP32 = choose_precision("fp32", torch.device("cpu"))


class Flat(Head):
    def __init__(self):
        super().__init__(Criterion(label_smoothing=0.1))
        self.linear = nn.Linear(12, 3)

    def forward(self, features):
        return self.linear(features.pooled)


class Narrow(Classifier):
    """Runs out of memory when it is given more than `most` images; only after batch statistics and draws are spent."""

    most = 1000

    def forward(self, images):
        logits = super().forward(images)
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


def a_network(*, dropout=0.0):
    torch.manual_seed(1)
    network = Narrow(SmallBackbone(dropout=dropout), Flat())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network.train()


def a_step(network, **how):
    groups = [{"params": list(network.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    # Plain descent: the change of the weights is the gradient, which Adam's division would hide.
    optimizer = make_optimizer("sgd", groups, lr=0.1, momentum=0.9)
    return Step(network, optimizer, precision=how.pop("precision", FP32), **how)


def a_batch(count=11, *, share=1.0):
    generator = torch.Generator().manual_seed(2)
    return Batch(torch.randn(count, 3, 16, 16, generator=generator), torch.arange(count) % 3, share)


def stepped(step, *batches, alpha=0.0):
    told = [step(mix(batch, alpha=alpha, draw=(0, number))) for number, batch in enumerate(batches)]
    return told, {name: value.clone() for name, value in step.network.state_dict().items()}


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("size", [10, 6, 4, 2, 1])
@pytest.mark.parametrize("how", [{}, {"clip_grad": 0.05}, {"alpha": 0.4}])
def test_a_step_in_uneven_parts_is_the_step_of_the_whole_batch(size, how):
    alpha = how.get("alpha", 0.0)
    clip = {"clip_grad": how["clip_grad"]} if "clip_grad" in how else {}
    whole, parted = a_network(), a_network()
    for network in (whole, parted):  # batch statistics would be those of the parts
        network.backbone.eval()
    (told_whole, *_), expected = stepped(a_step(whole, **clip), a_batch(), a_batch(), alpha=alpha)
    (told, *_), found = stepped(
        a_step(parted, micro_batches=MicroBatches(size), **clip), a_batch(), a_batch(), alpha=alpha
    )
    assert_close(found, expected)
    torch.testing.assert_close(told[0], told_whole[0])
    torch.testing.assert_close(told[1], told_whole[1])
    assert not torch.equal(found["head.linear.weight"], a_network().head.linear.weight)


def test_a_share_weighs_the_gradient_and_not_the_loss_that_is_told():
    full, part = a_network().eval(), a_network().eval()
    ((loss, _),), _ = stepped(a_step(full), a_batch())
    ((loss_of_part, _),), _ = stepped(a_step(part), a_batch(share=0.25))
    assert loss == loss_of_part
    torch.testing.assert_close(part.head.linear.weight.grad, full.head.linear.weight.grad / 4)


def test_a_step_that_runs_out_of_memory_is_taken_again_with_the_same_draws_in_halves():
    parted, narrow = a_network(dropout=0.4), a_network(dropout=0.4)
    narrow.most, told = 3, []
    torch.manual_seed(5)
    told_parted, expected = stepped(a_step(parted, micro_batches=MicroBatches(2)), a_batch(), a_batch(8), alpha=0.2)
    torch.manual_seed(5)
    told_narrow, found = stepped(
        a_step(narrow, micro_batches=MicroBatches(on_change=told.append)), a_batch(), a_batch(8), alpha=0.2
    )
    assert told == [5, 2]
    for name in expected:  # running statistics too
        assert torch.equal(found[name], expected[name]), name
    for (loss, logits), (loss_narrow, logits_narrow) in zip(told_parted, told_narrow, strict=True):
        assert torch.equal(loss, loss_narrow)
        assert torch.equal(logits, logits_narrow)


def test_memory_too_small_for_one_image_leaves_the_weights_as_they_were():
    network = a_network().eval()
    network.most, before = 0, copy.deepcopy(network.state_dict())
    with pytest.raises(TrainingError, match="single image"):
        a_step(network)(mix(a_batch(), alpha=0.0, draw=()))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="expected input"):
        a_step(a_network())(mix(Batch(torch.zeros(4, 5, 16, 16), torch.zeros(4).long()), alpha=0.0, draw=()))


class Flattened(nn.Module):
    """As little as can be compiled: each kernel takes the C++ compiler seconds."""

    def __init__(self):
        super().__init__()
        self.linear, self.head = nn.Linear(3 * 16 * 16, 3), Flat()

    def forward(self, images):
        return self.linear(images.flatten(1)).tanh()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("c++") is None, reason="torch.compile wants a C++ compiler"
)
def test_a_compiled_step_is_the_same_step(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    plain = Flattened()
    compiled, compilation = copy.deepcopy(plain), Compilation("yes", FP32.device)
    _, expected = stepped(a_step(plain), a_batch(), a_batch())
    _, found = stepped(a_step(compiled, compilation=compilation), a_batch(), a_batch())
    assert compilation.on
    assert_close(found, expected)
