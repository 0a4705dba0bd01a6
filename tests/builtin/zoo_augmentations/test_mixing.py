import numpy as np
import pytest
import torch

from zoo.plugins.specs import AugmentationRequest
from zoo_augmentations.mixing import CutMix, MixUp
from zoo_augmentations.options import CutMixOptions, MixUpOptions

COUNT = 8
# Each image has the value of its class everywhere, so that an image tells its target.
IMAGES = torch.arange(COUNT).float().view(-1, 1, 1, 1).expand(-1, 3, 20, 30)
TARGETS = torch.eye(COUNT)


def make(kind, options):
    return kind(AugmentationRequest(image_size=(20, 30), fill=(0, 0, 0), classes=COUNT, options=options))


@pytest.mark.parametrize(
    ("kind", "options"), [(MixUp, MixUpOptions(alpha=1.0)), (CutMix, CutMixOptions(alpha=1.0))], ids=["mixup", "cutmix"]
)
def test_targets_are_mixed_as_the_pixels_are(kind, options):
    mixer, shares = make(kind, options), []
    for seed in range(50):
        images, targets = mixer(IMAGES, TARGETS, np.random.default_rng(seed))
        # The mean of an image is the mean of the two values, weighted by their shares.
        torch.testing.assert_close(
            images.mean(dim=(1, 2, 3)), targets @ torch.arange(COUNT).float(), rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(COUNT))
        shares.append(float(targets.diagonal().min()))
    assert np.std(shares) > 0.1
    assert torch.equal(IMAGES[:, 0, 0, 0], torch.arange(COUNT).float())


def test_cutmix_pastes_one_rectangle():
    images, _ = make(CutMix, CutMixOptions())(IMAGES, TARGETS, np.random.default_rng(3))
    changed = images != IMAGES
    masks = changed[changed.flatten(1).any(dim=1)][:, 0]
    assert len(masks) > 3
    assert (masks == masks[0]).all()
    rows, columns = masks[0].any(dim=1), masks[0].any(dim=0)
    assert torch.equal(masks[0], rows[:, None] & columns)
    assert len(images.unique()) == COUNT  # pasted, not blended


@pytest.mark.parametrize(
    ("kind", "options"),
    [(MixUp, MixUpOptions(alpha=1.0, probability=0.3)), (CutMix, CutMixOptions(probability=0.3))],
    ids=["mixup", "cutmix"],
)
def test_only_some_steps_mix(kind, options):
    mixer = make(kind, options)
    mixed = [not torch.equal(mixer(IMAGES, TARGETS, np.random.default_rng(seed))[1], TARGETS) for seed in range(300)]
    assert np.mean(mixed) == pytest.approx(0.3, abs=0.08)


def test_mixup_blends_features_of_any_shape():
    features = torch.arange(COUNT).float()[:, None].expand(-1, 5)
    mixed, targets = make(MixUp, MixUpOptions(alpha=1.0))(features, TARGETS, np.random.default_rng(0))
    torch.testing.assert_close(mixed[:, 0], targets @ torch.arange(COUNT).float())
