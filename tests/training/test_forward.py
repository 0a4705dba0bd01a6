import math

import pytest
import torch
from criteria import make_criterion
from torch import nn

from zoo.data.loading.loader import Batch
from zoo.models.precision import choose_precision
from zoo.plugins.contracts import Head
from zoo.training.forward import Outputs, compute_outputs

PRECISION = choose_precision("fp32", torch.device("cpu"))


class Identity(Head):
    def forward(self, features):
        return features


def test_an_evaluation_changes_neither_modes_nor_statistics():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    network.train()
    network[1].eval()
    batches = [Batch(torch.randn(3, 4), torch.tensor([0, 1, 2])), Batch(torch.randn(2, 4), torch.tensor([3, 0]))]
    outputs = compute_outputs(network, batches, PRECISION)
    assert [module.training for module in network] == [True, False, True]
    assert network.training
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    assert outputs.labels.tolist() == [0, 1, 2, 3, 0]
    network.eval()
    expected = torch.cat([network(batch.images) for batch in batches])
    assert torch.equal(outputs.logits, expected)
    assert not outputs.logits.requires_grad


def test_logits_are_float32_in_any_precision():
    outputs = compute_outputs(
        nn.Linear(4, 2), [Batch(torch.randn(3, 4), torch.zeros(3))], choose_precision("bf16", PRECISION.device)
    )
    assert outputs.logits.dtype == torch.float32


def test_loss_and_accuracy_are_means_over_all_images():
    logits = torch.tensor([[5.0, 0.0], [0.0, 5.0], [5.0, 0.0]])
    outputs = Outputs(logits, torch.tensor([0, 1, 1]))
    assert outputs.accuracy() == pytest.approx(2 / 3, abs=1e-12)
    right, wrong = math.log1p(math.exp(-5)), math.log1p(math.exp(5))
    assert outputs.loss(Identity(make_criterion())) == pytest.approx((2 * right + wrong) / 3, rel=1e-5)


class TemperatureHead(Identity):
    """A head whose loss and activation have a trainable temperature."""

    def __init__(self, device="cpu"):
        super().__init__(make_criterion())
        self.scale = nn.Parameter(torch.full((), 2.0, device=device))

    def loss(self, logits, targets):
        assert {logits.device, targets.device} == {self.scale.device}
        return super().loss(logits * self.scale, targets)

    def probabilities(self, logits):
        return super().probabilities(logits * self.scale)


def test_a_loss_and_an_activation_may_have_weights():
    head, images = TemperatureHead(), torch.randn(3, 2)
    outputs = compute_outputs(head, [Batch(images, torch.tensor([0, 1, 1]))], PRECISION)
    assert outputs.loss(head) == pytest.approx(float(make_criterion().loss(2 * images, outputs.labels)))
    assert torch.equal(torch.from_numpy(outputs.probabilities(head).numpy()), (2 * images).softmax(dim=1))


def test_the_loss_is_computed_on_the_device_of_the_head():
    losses = []

    class MetaHead(TemperatureHead):
        def loss(self, logits, targets):
            losses.append(super().loss(logits, targets))
            return torch.zeros(())

    assert Outputs(torch.zeros(3, 2), torch.tensor([0, 1, 1])).loss(MetaHead(device="meta")) == 0
    assert losses[0].device.type == "meta"
