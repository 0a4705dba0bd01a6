import torch
from augmenters import make_mixers
from torch import nn

from zoo.models.precision import choose_precision
from zoo.training.frozen.features import FeatureBatches
from zoo.training.mixing import mix
from zoo.training.step import SearchStep, Step
from zoo.training.step_batches import FullBatches, MixedBatches

FP32 = choose_precision("fp32", torch.device("cpu"))


class Network(nn.Module):
    """A linear layer with dropout on points, whose head is itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)

    @property
    def head(self):
        return self

    def loss(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels)

    def forward(self, points):
        return self.linear(self.dropout(self.norm(points)))


class Recording(torch.optim.SGD):
    """Evaluates three times in a step."""

    def __init__(self, network):
        super().__init__(network.parameters(), lr=0.1)
        self.losses, self.gradients = [], []

    def step(self, closure=None):
        for _ in range(3):
            self.losses.append(float(closure()))
            self.gradients.append(
                [parameter.grad.clone() for group in self.param_groups for parameter in group["params"]]
            )
        return super().step()


def make_batches(kind, *, mixers=()):
    points = torch.randn(22, 4, generator=torch.Generator().manual_seed(3))
    train = FeatureBatches(points, torch.arange(22) % 3, batch_size=8, seed=0)
    return kind(train, mix=lambda batch, number: mix(batch, mixers, classes=3, seed=0, step=number))


def test_a_full_batch_has_all_images_and_is_the_same_every_time():
    mixers = make_mixers("mixup", features=True)
    plain, full = make_batches(MixedBatches, mixers=mixers), make_batches(FullBatches, mixers=mixers)
    assert (plain.steps, full.steps) == (3, 1)
    (batch,) = full.epoch(2)
    parts = [*plain.epoch(2)]
    assert (batch.images, batch.images_at_once) == (22, 8)
    for _ in range(2):
        read = [*batch.parts()]
        assert all(torch.equal(one.images, other.images) for one, other in zip(read, parts, strict=True))
        assert [part.share for part in read] == [8 / 22, 8 / 22, 6 / 22]
    assert torch.equal(batch.labels, torch.cat([part.labels for part in parts]))
    assert [*full.epoch(2, start=1)] == []
    assert len([*plain.epoch(2, start=2)]) == 1


def test_every_evaluation_of_a_step_sees_the_same():
    network = Network().train()
    optimizer = Recording(network)
    (batch,) = make_batches(FullBatches).epoch(1)
    before = network.norm.running_mean.clone()
    loss, logits = SearchStep(network, optimizer, precision=FP32)(batch)
    assert optimizer.losses == [float(loss)] * 3
    assert all(all(map(torch.equal, optimizer.gradients[0], each)) for each in optimizer.gradients)
    assert logits.shape == (22, 3)
    assert not torch.equal(network.norm.running_mean, before)
    assert int(network.norm.num_batches_tracked) == 3  # of one evaluation


def test_the_gradient_of_a_full_batch_is_that_of_all_images_at_once():
    gradients = []
    for size in (22, 8, 5):
        network = Network().eval()
        points = torch.randn(22, 4, generator=torch.Generator().manual_seed(3))
        train = FeatureBatches(points, torch.arange(22) % 3, batch_size=size, seed=0)
        (batch,) = FullBatches(train, mix=lambda each, number: mix(each, (), classes=3, seed=0, step=number)).epoch(1)
        step = Step(network, torch.optim.SGD(network.parameters(), lr=1.0), precision=FP32)
        before = network.linear.weight.detach().clone()
        step(batch)
        gradients.append(before - network.linear.weight.detach())
    assert all(torch.allclose(each, gradients[0], atol=1e-6) for each in gradients)


def test_an_evaluation_is_repeated_with_less_memory():
    class Limited(Network):
        def forward(self, points):
            if len(points) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(points)

    network = Limited().train()
    optimizer = Recording(network)
    (batch,) = make_batches(FullBatches).epoch(1)
    step = SearchStep(network, optimizer, precision=FP32)
    step(batch)
    assert step.micro_batches.size == 4
    assert optimizer.losses == [optimizer.losses[0]] * 3
