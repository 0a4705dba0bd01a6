import pytest
import torch
from criteria import make_criterion
from fakes import SmallBackbone, SmallHead, make_head_spec

import zoo_heads
from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features
from zoo.plugins.specs import HeadRequest
from zoo.training.frozen.features import (
    FeatureBatches,
    FrozenClassifier,
    HeadOnFeatures,
    PooledBackbone,
    extract_features,
    tapped_by,
    uses_map,
)

FP32 = choose_precision("fp32", torch.device("cpu"))


def make_request(**changes):
    values = {"pooled_width": 12, "map_width": 12, "outputs": 3, "dropout": 0.5, "options": None}
    return HeadRequest(**{**values, "criterion": make_criterion(), **changes})


def make_head(what):
    return SmallHead(make_request(), over_map=what == "map")


def extract(backbone, head, batches, *, precision=FP32, progress=lambda done: None):
    """Returns what one head caches of the images of some batches, in batches of 4."""
    network = PooledBackbone(backbone, [head], image_size=(16, 16)).eval()
    (features,), labels = extract_features(network, batches, precision=precision, progress=progress)
    return FeatureBatches(features, labels, batch_size=4, seed=0)


def make_built_in_head(name, **options):
    spec = next(spec for spec in zoo_heads.zoo_heads() if spec.name == name)
    stages = {"stem": (8, 8, 8), "layer1": (8, 4, 4), "layer2": (12, 2, 2)}
    return resolve_callable(spec.build)(make_request(options=spec.options(**options), stages=stages))


def test_a_head_that_uses_the_map_is_recognised():
    backbone = SmallBackbone()
    for what in ("map", "pooled"):
        head = make_head(what)
        assert uses_map(head, backbone, image_size=(16, 16)) == (what == "map")
        assert head.training


@pytest.mark.parametrize(
    ("build", "options", "expected"),
    [
        ("linear", {}, False),
        ("linear", {"pooling": "max"}, True),
        ("linear", {"pooling": "avgmax"}, True),
        ("linear", {"pooling": "catavgmax"}, True),
        ("linear", {"stages": 3}, False),
        ("mlp", {}, False),
        ("cosine", {}, False),
        ("attention", {}, True),
    ],
)
def test_built_in_heads_that_use_the_map_are_recognised(build, options, expected):
    head = make_built_in_head(build, **options)
    assert uses_map(head, SmallBackbone(), image_size=(16, 16)) == expected


@pytest.mark.parametrize("what", ["map", "pooled"])
def test_a_head_returns_the_same_logits_for_cached_features_as_for_images(what):
    backbone, head = SmallBackbone(dropout=0.5), make_head(what)
    images = [Batch(torch.randn(4, 3, 16, 16), torch.arange(4)), Batch(torch.randn(2, 3, 16, 16), torch.arange(2))]
    progress = []
    cached = extract(backbone, head, images, progress=progress.append)
    assert progress == [4, 6]
    assert cached.features.map.shape == ((6, 12, 2, 2) if what == "map" else (6, 12, 0, 0))
    head.eval()
    expected = torch.cat([head(backbone.eval()(batch.images)) for batch in images])
    logits = torch.cat([HeadOnFeatures(head)(batch.images) for batch in cached])
    torch.testing.assert_close(logits, expected)
    assert torch.cat([batch.labels for batch in cached]).tolist() == [0, 1, 2, 3, 0, 1]


def test_several_heads_share_the_backbone_and_each_caches_what_it_needs():
    backbone, calls = SmallBackbone(dropout=0.5), []
    backbone.body["stem"].register_forward_hook(lambda *call: calls.append(call))
    heads = [
        make_built_in_head("linear"),
        make_built_in_head("linear", stages=3, pooling="catavgmax"),
        make_built_in_head("linear", stages=2),
        make_head("pooled"),
    ]
    assert tapped_by(heads) == ("stem", "layer1", "layer2")
    network = PooledBackbone(backbone, heads, image_size=(16, 16)).eval()
    assert backbone.tapped_stages == ("stem", "layer1", "layer2")
    calls.clear()
    images = torch.randn(6, 3, 16, 16)
    pooled, labels = extract_features(
        network, [Batch(images[:4], torch.arange(4)), Batch(images[4:], torch.arange(2))], precision=FP32,
        progress=lambda done: None,
    )  # fmt: skip
    assert len(calls) == 2
    assert [tensor.shape for tensor in pooled[:3]] == [(6, 12), (6, 56), (6, 20)]
    assert type(pooled[3]) is Features
    assert labels.tolist() == [0, 1, 2, 3, 0, 1]
    for head, own in zip(heads, pooled, strict=True):
        expected = Classifier(backbone, head.eval()).eval()(images)
        torch.testing.assert_close(HeadOnFeatures(head)(own), expected)


def test_a_frozen_classifier_takes_its_features_from_any_engine():
    backbone, head = SmallBackbone(), make_built_in_head("linear", stages=2).eval()
    network = PooledBackbone(backbone, [head], image_size=(16, 16)).eval()
    images = torch.randn(3, 3, 16, 16)
    classifier = FrozenClassifier(lambda images: network(images)[0], head)
    torch.testing.assert_close(classifier(images), Classifier(backbone, head).eval()(images))


def test_pooled_features_are_cached_in_float32_even_in_bf16():
    precision = choose_precision("bf16", torch.device("cpu"))
    images = [Batch(torch.randn(2, 3, 16, 16), torch.arange(2))]
    cached = extract(SmallBackbone(), make_head("map"), images, precision=precision)
    assert cached.features.pooled.dtype == torch.float32
    assert cached.features.map.dtype == torch.bfloat16


@pytest.mark.parametrize("what", ["map", "pooled"])
def test_features_that_are_not_finite_are_an_error(what):
    class Overflowing(SmallBackbone):
        def forward(self, images):
            features = super().forward(images)
            features[0 if what == "pooled" else 1][0] = torch.inf
            return features

    images = [Batch(torch.randn(2, 3, 16, 16), torch.arange(2)) for _ in range(2)]
    with pytest.raises(TrainingError, match=r"The features are NaN or infinite for 2 of 4 photos\.") as caught:
        extract(Overflowing(), make_head(what), images)
    assert "--precision fp32" in caught.value.hint


def make_feature_batches(count):
    features = torch.randn(count, 12)
    return FeatureBatches(
        Features(features, features[:, :, None, None][:, :, :0, :0]), torch.arange(count) % 3, batch_size=8, seed=0
    )


def test_every_epoch_has_all_features_in_an_order_that_the_seed_decides():
    cached = make_feature_batches(21)
    assert cached.steps == 3

    def first_column(epoch):
        return [x for batch in cached.epoch(epoch) for x in batch.images.pooled[:, 0].tolist()]

    assert sorted(first_column(1)) == sorted(cached.features.pooled[:, 0].tolist())
    assert first_column(1) == first_column(1)
    assert first_column(1) != first_column(2)


def test_no_training_step_has_a_single_image_because_batch_normalisation_needs_two():
    cached = make_feature_batches(9)
    assert (cached.steps, cached.images_per_step) == (1, 9)
    assert [len(batch.labels) for batch in cached.epoch(1)] == [9]
    assert [len(batch.labels) for batch in cached.epoch(1, start=1)] == []
    assert [len(batch.labels) for batch in cached] == [8, 1]  # evaluation allows a single image


def test_the_fake_head_is_built_as_the_core_builds_it():
    assert isinstance(make_head_spec().build(make_request()), SmallHead)
