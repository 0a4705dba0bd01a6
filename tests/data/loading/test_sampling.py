from collections import Counter

import pytest
import torch

from zoo.data.loading.augment_params import make_generator
from zoo.data.loading.sampling import draw_rates, epoch_order

COUNTS = (60, 7, 25)
LABELS = torch.tensor([label for label, count in enumerate(COUNTS) for _ in range(count)])


def drawn(sampler, epoch, seed=0):
    return epoch_order(LABELS, sampler, seed=seed, epoch=epoch)


def test_without_a_sampler_every_photo_comes_once_in_the_order_of_torch():
    wanted = torch.randperm(len(LABELS), generator=make_generator(3, 2))
    assert torch.equal(drawn("none", 2, seed=3), wanted)


@pytest.mark.parametrize("sampler", ["balanced", "sqrt"])
def test_seed_and_epoch_decide_and_an_epoch_keeps_its_length(sampler):
    first = drawn(sampler, 1)
    assert len(first) == len(LABELS)
    assert torch.equal(first, drawn(sampler, 1))
    assert not torch.equal(first, drawn(sampler, 2))
    assert not torch.equal(first, drawn(sampler, 1, seed=1))


@pytest.mark.parametrize(("sampler", "power"), [("balanced", 0.0), ("sqrt", 0.5)])
def test_classes_have_their_share_of_every_epoch_and_exactly_so_on_average(sampler, power):
    total = sum(COUNTS)
    shares = torch.tensor([count**power for count in COUNTS])
    wanted = total * shares / shares.sum()
    epochs = torch.stack([LABELS[drawn(sampler, epoch)].bincount() for epoch in range(1, 301)]).double()
    assert ((epochs - wanted).abs() < 1).all()
    torch.testing.assert_close(epochs.mean(dim=0), wanted.double(), atol=0.1, rtol=0)
    rates = draw_rates(COUNTS, sampler)
    assert [rate * count for rate, count in zip(rates, COUNTS, strict=True)] == pytest.approx(wanted.tolist())


def test_no_photo_of_a_class_comes_twice_before_each_has_come():
    times = Counter(drawn("balanced", 1).tolist())
    for label, count in enumerate(COUNTS):
        own = [times[photo] for photo in (label == LABELS).nonzero()[:, 0].tolist()]
        assert len(own) == count
        assert max(own) - min(own) <= 1
    assert max(times.values()) >= 4, "the smallest class is repeated"


def test_a_class_without_photos_is_never_drawn():
    labels = torch.tensor([0, 0, 0, 2])
    order = epoch_order(labels, "balanced", seed=0, epoch=1)
    assert labels[order].bincount(minlength=3).tolist() == [2, 0, 2]
    assert draw_rates((3, 0, 1), "balanced") == pytest.approx((2 / 3, 0, 2))
