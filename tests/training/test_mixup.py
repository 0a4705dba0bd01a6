import torch

from zoo.data.loading.loader import Batch
from zoo.plugins.contracts import Features
from zoo.training.mixup import mix

BATCH = Batch(torch.randn(6, 3, 4, 4), torch.arange(6), 0.5)


def test_without_mixup_a_batch_is_unchanged():
    mixed = mix(BATCH, alpha=0.0, seed=(0, 1))
    assert mixed.images is BATCH.images
    assert mixed.other_labels is None
    assert mixed.share == 0.5


def test_images_and_labels_are_blended_with_those_of_the_same_image():
    mixed = mix(BATCH, alpha=0.5, seed=(0, 1))
    # The label of an image is its index.
    expected = mixed.weight * BATCH.images + (1 - mixed.weight) * BATCH.images[mixed.other_labels]
    torch.testing.assert_close(mixed.images, expected)
    assert 0 <= mixed.weight <= 1
    assert sorted(mixed.other_labels.tolist()) == list(range(6))


def test_the_seed_decides():
    assert torch.equal(mix(BATCH, alpha=0.5, seed=(0, 1)).images, mix(BATCH, alpha=0.5, seed=(0, 1)).images)
    assert not torch.equal(mix(BATCH, alpha=0.5, seed=(0, 1)).images, mix(BATCH, alpha=0.5, seed=(0, 2)).images)


def test_a_micro_batch_has_its_share_of_the_step():
    features = Features(torch.randn(6, 2), torch.randn(6, 2, 1, 1))
    mixed = mix(Batch(features, torch.arange(6), 0.5), alpha=0.5, seed=(0, 1))
    micro_batches = [mixed.select(slice(0, 2)), mixed.select(slice(2, 6))]
    assert [each.share for each in micro_batches] == [0.5 * 2 / 6, 0.5 * 4 / 6]
    assert torch.equal(torch.cat([each.images.pooled for each in micro_batches]), mixed.images.pooled)
    assert torch.equal(torch.cat([each.other_labels for each in micro_batches]), mixed.other_labels)
