import numpy as np
import pytest
import torch
from augmenters import make_mixers
from criteria import LOSSES, make_criterion
from fakes import CLASSES
from torch import nn

from zoo.data.loading.loader import Batch
from zoo.plugins.contracts import Features, Head
from zoo.training.mixing import mix

LABELS = torch.arange(6) % len(CLASSES)
BATCH = Batch(torch.randn(6, 3, 4, 4), LABELS, 0.5)
MIXUP = make_mixers("mixup", options={"alpha": 0.5})


class PlainHead(Head):
    def __init__(self, loss):
        super().__init__(make_criterion(loss, label_smoothing=0.1))
        self.linear = nn.Linear(2, 3)

    def forward(self, features):
        return self.linear(features.pooled)


def mixed_of(batch=BATCH, mixers=MIXUP, *, seed=0, step=1):
    return mix(batch, mixers, classes=len(CLASSES), seed=seed, step=step)


def test_without_mixing_augmentations_a_batch_is_unchanged():
    mixed = mixed_of(mixers=())
    assert mixed.images is BATCH.images
    assert mixed.targets is None
    assert mixed.share == 0.5


def test_the_seed_and_the_step_decide():
    assert torch.equal(mixed_of().images, mixed_of().images)
    assert not torch.equal(mixed_of().images, mixed_of(step=2).images)
    assert not torch.equal(mixed_of().images, mixed_of(seed=1).images)


@pytest.mark.parametrize("loss", LOSSES)
def test_mixup_trains_as_it_did_before_it_was_a_plugin(loss):
    """The numbers are the same, and one loss of soft targets equals the weighted mean of two losses."""
    random = np.random.default_rng([3, 7])
    weight, others = float(random.beta(0.5, 0.5)), torch.from_numpy(random.permutation(6))
    mixed = mixed_of(seed=3, step=7)
    assert torch.equal(mixed.images, BATCH.images.lerp(BATCH.images[others], 1 - weight))
    logits, head = torch.randn(6, len(CLASSES)), PlainHead(loss)
    expected = head.loss(logits, LABELS).lerp(head.loss(logits, LABELS[others]), 1 - weight)
    torch.testing.assert_close(mixed.loss(head, logits), expected, rtol=1e-6, atol=0)


def test_augmentations_mix_in_their_order_with_numbers_of_their_own():
    twice = mixed_of(mixers=[*MIXUP, *MIXUP])
    again = mixed_of(Batch(mixed_of().images, LABELS))
    assert not torch.equal(twice.images, again.images)
    torch.testing.assert_close(twice.images.mean(dim=0), BATCH.images.mean(dim=0))
    torch.testing.assert_close(twice.targets.sum(dim=1), torch.ones(6))


def test_all_tensors_of_cached_features_are_mixed_alike():
    features = Features(BATCH.images.flatten(1), BATCH.images)
    mixed = mixed_of(Batch(features, LABELS, 0.5), make_mixers("mixup", features=True))
    assert torch.equal(mixed.images.pooled.view_as(BATCH.images), mixed.images.map)
    assert not torch.equal(mixed.images.map, BATCH.images)


def test_only_some_augmentations_mix_features():
    assert make_mixers("cutmix", features=True) == []


def test_a_micro_batch_has_its_share_of_the_step():
    features = Features(torch.randn(6, 2), torch.randn(6, 2, 1, 1))
    mixed = mixed_of(Batch(features, LABELS, 0.5))
    micro_batches = [mixed.select(slice(0, 2)), mixed.select(slice(2, 6))]
    assert [each.share for each in micro_batches] == [0.5 * 2 / 6, 0.5 * 4 / 6]
    assert torch.equal(torch.cat([each.images.pooled for each in micro_batches]), mixed.images.pooled)
    assert torch.equal(torch.cat([each.targets for each in micro_batches]), mixed.targets)
