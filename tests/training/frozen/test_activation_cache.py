import torch
from fakes import SmallBackbone
from torch import nn

from zoo.data.loading.loader import Batch
from zoo.models.classifier import Classifier, freeze, set_training
from zoo.models.frozen_split import CachedActivations, SplitClassifier, find_frozen_split
from zoo.models.precision import choose_precision
from zoo.training.frozen.activation_cache import ActivationCache, CachedViews, LazyActivationCache, cache_activations

FP32 = choose_precision("fp32", torch.device("cpu"))


def a_frozen_classifier():
    classifier = Classifier(SmallBackbone(dropout=0.3), nn.Identity())
    freeze(classifier, 2)
    classifier.to(memory_format=torch.channels_last)
    split = find_frozen_split(classifier, image_size=(16, 16), precision=FP32, freeze_norm_stats=False)
    return SplitClassifier(classifier.backbone, classifier.head, split)


def some_batches(*sizes):
    labels = torch.arange(sum(sizes))
    return [Batch(torch.randn(len(part), 3, 16, 16), part) for part in labels.split(sizes)]


def test_a_part_is_kept_once_and_served_in_order():
    classifier, batches, told = a_frozen_classifier(), some_batches(4, 4, 3), []
    set_training(classifier, freeze_norm_stats=False)
    modes = [module.training for module in classifier.modules()]
    kept = cache_activations(
        classifier.split,
        batches,
        count=11,
        batch_size=4,
        precision=FP32,
        progress=told.append,
    )
    assert told == [4, 8, 11]
    assert [module.training for module in classifier.modules()] == modes
    classifier.eval()
    for ours, theirs in zip(kept, batches, strict=True):
        assert isinstance(ours.images, CachedActivations)
        assert torch.equal(ours.labels, theirs.labels)
        for one, two in zip(classifier(ours.images), classifier(theirs.images), strict=True):
            assert torch.equal(one, two)
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in kept.values)
    assert not kept.values[0].requires_grad


def test_a_network_may_overwrite_what_it_is_given():
    kept = ActivationCache(CachedActivations(torch.ones(5, 2)), torch.arange(5), batch_size=2)
    for batch in kept:
        batch.images[0].zero_()
    assert kept.values[0].all()


def test_a_part_may_be_kept_only_when_it_is_asked_for_and_in_evaluation_too():
    made = []

    def keep():
        made.append(ActivationCache(CachedActivations(torch.arange(5) * 1.0), torch.arange(5), batch_size=2))
        return made[-1]

    part = LazyActivationCache(keep)
    assert not made
    with torch.inference_mode():
        sizes = [len(batch.labels) for batch in part]
    assert sizes == [len(batch.labels) for batch in part] == [2, 2, 1]
    assert len(made) == 1
    assert not made[0].values[0].is_inference()


class Numbered:
    """Five photos; in view n, photo i is the number 10 n + i."""

    steps = 2

    def epoch_indices(self, epoch):
        return list(torch.arange(5).roll(epoch).split(3))

    def view(self, number):
        yield Batch(10 * number + torch.arange(5), torch.arange(5))


def test_epochs_take_the_views_in_turn_each_made_when_it_is_first_wanted():
    made = []

    def keep(batches):
        (batch,) = batches
        made.append(int(batch.images[0]) // 10)
        return ActivationCache(CachedActivations(batch.images), batch.labels, batch_size=5)

    train = CachedViews(Numbered(), views=2, keep=keep)
    assert train.steps == 2
    assert made == []
    seen = {
        epoch: [(batch.images[0].tolist(), batch.labels.tolist()) for batch in train.epoch(epoch)]
        for epoch in (1, 2, 3)
    }
    assert made == [0, 1]
    assert seen[1] == [([4, 0, 1], [4, 0, 1]), ([2, 3], [2, 3])]
    assert seen[2] == [([13, 14, 10], [3, 4, 0]), ([11, 12], [1, 2])]
    assert seen[3] == [([2, 3, 4], [2, 3, 4]), ([0, 1], [0, 1])]


def test_a_run_that_goes_on_makes_only_the_views_that_it_still_needs():
    made = []

    def keep(batches):
        made.append(int(next(iter(batches)).images[0]) // 10)
        return ActivationCache(CachedActivations(torch.arange(5)), torch.arange(5), batch_size=5)

    train = CachedViews(Numbered(), views=3, keep=keep)
    for epoch in (5, 6):
        list(train.epoch(epoch))
    assert made == [1, 2]
