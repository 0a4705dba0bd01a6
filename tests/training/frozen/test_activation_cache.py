import pytest
import torch
from fakes import make_classifier, make_images

from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.models.classifier import freeze, set_training
from zoo.models.frozen_split import CachedActivations, SplitClassifier, find_frozen_split
from zoo.models.precision import choose_precision
from zoo.training.finite import FrozenOutputs
from zoo.training.frozen.activation_cache import ActivationCache, CachedViews, LazyActivationCache, cache_activations

FP32 = choose_precision("fp32", torch.device("cpu"))


def make_split_classifier():
    classifier = make_classifier(dropout=0.3)
    freeze(classifier, 2)
    classifier.to(memory_format=torch.channels_last)
    split = find_frozen_split(classifier, image_sizes=[(16, 16)], precision=FP32, freeze_norm_stats=False)
    return SplitClassifier(classifier.backbone, classifier.head, split)


def make_batches(*sizes):
    labels = torch.arange(sum(sizes))
    return [Batch(torch.randn(len(chunk), 3, 16, 16), chunk) for chunk in labels.split(sizes)]


def test_cached_activations_give_the_same_outputs_in_the_same_order():
    classifier, batches, progress = make_split_classifier(), make_batches(4, 4, 3), []
    set_training(classifier, freeze_norm_stats=False)
    modes = [module.training for module in classifier.modules()]
    cache = cache_activations(
        classifier.split, batches, count=11, batch_size=4, precision=FP32, progress=progress.append
    )
    assert progress == [4, 8, 11]
    assert [module.training for module in classifier.modules()] == modes
    classifier.eval()
    for cached, original in zip(cache, batches, strict=True):
        assert isinstance(cached.images, CachedActivations)
        assert torch.equal(cached.labels, original.labels)
        for one, two in zip(classifier(cached.images), classifier(original.images), strict=True):
            assert torch.equal(one, two)
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in cache.values)
    assert not cache.values[0].requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_activations_that_are_not_finite_are_an_error_with_the_first_photo(value):
    classifier, batches = make_split_classifier(), make_batches(4, 4, 3)
    batches[1].images[2] = value
    described = FrozenOutputs(what="outputs of the frozen stages", split="val", samples=make_images().val)
    with pytest.raises(TrainingError) as caught:
        cache_activations(
            classifier.split,
            batches,
            count=11,
            batch_size=4,
            precision=FP32,
            progress=lambda done: None,
            described=described,
        )
    assert caught.value.message == (
        "The outputs of the frozen stages are NaN or infinite for 1 of 11 val photos (the first: val/red/2.png)."
    )


def test_a_network_may_overwrite_its_input():
    cache = ActivationCache(CachedActivations(torch.ones(5, 2)), torch.arange(5), batch_size=2)
    for batch in cache:
        batch.images[0].zero_()
    assert cache.values[0].all()


def test_a_lazy_cache_is_filled_once_and_usable_outside_inference_mode():
    filled = []

    def fill():
        filled.append(ActivationCache(CachedActivations(torch.arange(5) * 1.0), torch.arange(5), batch_size=2))
        return filled[-1]

    cache = LazyActivationCache(fill)
    assert not filled
    with torch.inference_mode():
        sizes = [len(batch.labels) for batch in cache]
    assert sizes == [len(batch.labels) for batch in cache] == [2, 2, 1]
    assert len(filled) == 1
    assert not filled[0].values[0].is_inference()


class NumberedViews:
    """Five photos; in view n, photo i is the number 10 n + i."""

    steps = 2

    def epoch_indices(self, epoch):
        return list(torch.arange(5).roll(epoch).split(3))

    def view(self, number):
        yield Batch(10 * number + torch.arange(5), torch.arange(5))


def make_views(views):
    """Returns cached views, and the list of the views that have been computed."""
    computed = []

    def fill(batches):
        (batch,) = batches
        computed.append(int(batch.images[0]) // 10)
        return ActivationCache(CachedActivations(batch.images), batch.labels, batch_size=5)

    return CachedViews(NumberedViews(), views=views, fill=fill), computed


def test_epochs_use_the_views_in_turn_and_each_is_computed_when_it_is_first_used():
    train, computed = make_views(2)
    assert train.steps == 2
    assert computed == []
    batches = {
        epoch: [(batch.images[0].tolist(), batch.labels.tolist()) for batch in train.epoch(epoch)]
        for epoch in (1, 2, 3)
    }
    assert computed == [0, 1]
    assert batches[1] == [([4, 0, 1], [4, 0, 1]), ([2, 3], [2, 3])]
    assert batches[2] == [([13, 14, 10], [3, 4, 0]), ([11, 12], [1, 2])]
    assert batches[3] == [([2, 3, 4], [2, 3, 4]), ([0, 1], [0, 1])]


def test_a_resumed_run_computes_only_the_views_that_it_still_needs():
    train, computed = make_views(3)
    for epoch in (5, 6):
        list(train.epoch(epoch))
    assert computed == [1, 2]
