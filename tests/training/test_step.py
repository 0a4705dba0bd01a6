import copy
import shutil

import pytest
import torch
from augmenters import make_mixers
from criteria import make_criterion
from fakes import SmallBackbone
from torch import nn

from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.contracts import Head
from zoo.training.compilation import Compilation
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixing import mix
from zoo.training.step import Step

FP32 = choose_precision("fp32", torch.device("cpu"))


class SmoothHead(Head):
    def __init__(self):
        super().__init__(make_criterion(label_smoothing=0.1))
        self.linear = nn.Linear(12, 3)

    def forward(self, features):
        return self.linear(features.pooled)


class LimitedClassifier(Classifier):
    """Runs out of memory with more than `limit` images, after it has changed statistics and random generators."""

    limit = 1000

    def forward(self, images):
        logits = super().forward(images)
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


def make_network(*, dropout=0.0, limit=1000):
    torch.manual_seed(1)
    network = LimitedClassifier(SmallBackbone(dropout=dropout), SmoothHead())
    network.limit = limit
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network.train()


def make_step(network, **options):
    groups = [{"params": list(network.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    # With plain SGD the change of the weights is the gradient, which Adam would normalise.
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    return Step(network, optimizer, precision=FP32, **options)


def make_batch(count=11, *, share=1.0):
    generator = torch.Generator().manual_seed(2)
    return Batch(torch.randn(count, 3, 16, 16, generator=generator), torch.arange(count) % 3, share)


def take_steps(step, *batches, mixers=()):
    """Returns loss and logits of each step, and the state of the network afterwards."""
    outputs = [step(mix(batch, mixers, classes=3, seed=0, step=number)) for number, batch in enumerate(batches)]
    return outputs, {name: value.clone() for name, value in step.network.state_dict().items()}


def assert_close(state, expected):
    assert state.keys() == expected.keys()
    for name in state:
        torch.testing.assert_close(state[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("size", [10, 6, 4, 2, 1])
@pytest.mark.parametrize(("options", "names"), [({}, ()), ({"clip_grad": 0.05}, ()), ({}, ("mixup", "cutmix"))])
def test_a_step_in_uneven_micro_batches_equals_the_step_of_the_whole_batch(size, options, names):
    mixers = make_mixers(*names)
    whole, split = make_network(), make_network()
    for network in (whole, split):  # batch normalisations would see the micro-batches
        network.backbone.eval()
    (first_of_whole, _), expected = take_steps(make_step(whole, **options), make_batch(), make_batch(), mixers=mixers)
    step = make_step(split, micro_batches=MicroBatches(size), **options)
    (first, _), state = take_steps(step, make_batch(), make_batch(), mixers=mixers)
    assert_close(state, expected)
    torch.testing.assert_close(first[0], first_of_whole[0])
    torch.testing.assert_close(first[1], first_of_whole[1])
    assert not torch.equal(state["head.linear.weight"], make_network().head.linear.weight)


def test_a_share_scales_the_gradient_and_not_the_reported_loss():
    full, partial = make_network().eval(), make_network().eval()
    ((loss, _),), _ = take_steps(make_step(full), make_batch())
    ((loss_of_share, _),), _ = take_steps(make_step(partial), make_batch(share=0.25))
    assert loss == loss_of_share
    torch.testing.assert_close(partial.head.linear.weight.grad, full.head.linear.weight.grad / 4)


def test_a_step_that_runs_out_of_memory_is_repeated_in_halves_with_the_same_random_numbers():
    split, limited = make_network(dropout=0.4), make_network(dropout=0.4, limit=3)
    sizes, batches = [], (make_batch(), make_batch(8))
    torch.manual_seed(5)
    expected_outputs, expected = take_steps(
        make_step(split, micro_batches=MicroBatches(2)), *batches, mixers=make_mixers("mixup", "cutmix")
    )
    torch.manual_seed(5)
    step = make_step(limited, micro_batches=MicroBatches(on_change=sizes.append))
    outputs, state = take_steps(step, *batches, mixers=make_mixers("mixup", "cutmix"))
    assert sizes == [5, 2]
    for name in expected:  # statistics too
        assert torch.equal(state[name], expected[name]), name
    for (loss, logits), (expected_loss, expected_logits) in zip(outputs, expected_outputs, strict=True):
        assert torch.equal(loss, expected_loss)
        assert torch.equal(logits, expected_logits)


def test_a_memory_too_small_for_a_single_image_is_an_error_and_changes_no_weights():
    network = make_network(limit=0).eval()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(TrainingError, match="single image"):
        make_step(network)(mix(make_batch(), (), classes=3, seed=0, step=1))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_other_errors_are_raised():
    batch = Batch(torch.zeros(4, 5, 16, 16), torch.zeros(4).long())
    with pytest.raises(RuntimeError, match="expected input"):
        make_step(make_network())(mix(batch, (), classes=3, seed=0, step=1))


class FlatNetwork(nn.Module):
    """A network with few operations, because the C++ compiler takes seconds for each kernel."""

    def __init__(self):
        super().__init__()
        self.linear, self.head = nn.Linear(3 * 16 * 16, 3), SmoothHead()

    def forward(self, images):
        return self.linear(images.flatten(1)).tanh()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("c++") is None, reason="torch.compile needs a C++ compiler"
)
def test_a_compiled_step_equals_a_plain_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    plain = FlatNetwork()
    compiled, compilation = copy.deepcopy(plain), Compilation("yes", FP32.device)
    _, expected = take_steps(make_step(plain), make_batch(), make_batch())
    _, state = take_steps(make_step(compiled, compilation=compilation), make_batch(), make_batch())
    assert compilation.on
    assert_close(state, expected)
