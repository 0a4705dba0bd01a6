import torch

from zoo.data.loading.loader import Batch
from zoo.plugins.contracts import Features
from zoo.training.mixup import mix

BATCH = Batch(torch.randn(6, 3, 4, 4), torch.arange(6), 0.5)


def test_without_mixup_a_batch_is_itself():
    mixed = mix(BATCH, alpha=0.0, draw=(0, 1))
    assert mixed.images is BATCH.images
    assert mixed.others is None
    assert mixed.share == 0.5


def test_images_and_labels_are_mixed_with_those_of_the_same_other():
    mixed = mix(BATCH, alpha=0.5, draw=(0, 1))
    expected = mixed.own * BATCH.images + (1 - mixed.own) * BATCH.images[mixed.others]  # labels are positions here
    torch.testing.assert_close(mixed.images, expected)
    assert 0 <= mixed.own <= 1
    assert sorted(mixed.others.tolist()) == list(range(6))


def test_the_draw_decides():
    assert torch.equal(mix(BATCH, alpha=0.5, draw=(0, 1)).images, mix(BATCH, alpha=0.5, draw=(0, 1)).images)
    assert not torch.equal(mix(BATCH, alpha=0.5, draw=(0, 1)).images, mix(BATCH, alpha=0.5, draw=(0, 2)).images)


def test_a_part_takes_its_share_of_the_step_along():
    features = Features(torch.randn(6, 2), torch.randn(6, 2, 1, 1))
    mixed = mix(Batch(features, torch.arange(6), 0.5), alpha=0.5, draw=(0, 1))
    parts = [mixed.part(slice(0, 2)), mixed.part(slice(2, 6))]
    assert [part.share for part in parts] == [0.5 * 2 / 6, 0.5 * 4 / 6]
    assert torch.equal(torch.cat([part.images.pooled for part in parts]), mixed.images.pooled)
    assert torch.equal(torch.cat([part.others for part in parts]), mixed.others)
