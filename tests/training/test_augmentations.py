"""Augmentations of plugins in training: the guarantees that hold for all of them."""

import json

import pytest
import torch
from fakes import FakePlugin, make_registry
from training_runs import EventRecorder, after_epoch, assert_same_results, assert_same_weights, latest_run, read_weights

import zoo
from zoo.config import make_config
from zoo.data.loading.cache import PhotoCache
from zoo.errors import ConfigError, PluginError, UnknownNameError
from zoo.inference.run_predictor import load
from zoo.plugins.entry_points import Candidate
from zoo.plugins.kinds import AUGMENTATION
from zoo.training.parts import find_parts

ALL = ("trivialaugment", "grayscale", "random-erasing", "blur", "cutmix", "mixup")


class Noise:
    """A third-party augmentation."""

    def __init__(self, request, *, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def draw(self, count, generator):
        return torch.rand(count, generator=generator)

    def apply(self, images, numbers):
        self.calls += 1
        if self.calls == self.fails_at:
            raise IndexError("bad luck")
        return (images * numbers.to(images.device)[:, None, None, None]).to(torch.uint8)


class NoisePlugin:
    @zoo.hookimpl
    def zoo_augmentations(self):
        return [zoo.AugmentationSpec(name="noise", build=Noise)]


def names_of(**values):
    config, registry = make_config("small", data="colours", **values), make_registry(FakePlugin())
    return [(each.spec.name, each.options) for each in find_parts(config, registry).augmentations]


def with_acme():
    """The plugins of these tests, and a third-party distribution ``acme``."""
    acme = Candidate(entry="acme", distribution="acme", version="1.2", load=NoisePlugin)
    return make_registry(FakePlugin(), others=[acme])


def test_the_options_of_former_versions_are_other_spellings_of_augmentations():
    chosen = names_of(mixup=0.3, randaugment=7, color_jitter=0.2, shear=5, rotation=9, augment=("blur", "cutmix"))
    assert [name for name, _ in chosen] == ["affine", "color-jitter", "randaugment", "mixup", "blur", "cutmix"]
    affine, jitter, randaugment, mixup = (options for _, options in chosen[:4])
    assert (affine.rotation, affine.shear, jitter.strength, randaugment.magnitude, mixup.alpha) == (9, 5, 0.2, 7, 0.3)
    assert names_of(shear=5)[0][1].rotation == 0
    assert names_of() == []


def test_an_augmentation_that_is_asked_for_in_both_ways_is_an_error():
    with pytest.raises(ConfigError, match="'affine' is both in 'augment' and set by 'shear'") as caught:
        names_of(shear=3, augment="affine")
    assert "zoo info affine" in caught.value.hint


def test_options_of_several_augmentations_have_their_names_before_a_dot():
    (_, cutmix), (_, mixup) = names_of(
        augment=("cutmix", "mixup"), augment_options={"cutmix.alpha": "0.5", "mixup.probability": 0.25}
    )
    assert (cutmix.alpha, mixup.probability) == (0.5, 0.25)
    with pytest.raises(ConfigError, match="option 'magnitude' is 31, out of bounds"):
        names_of(augment="randaugment", augment_options={"magnitude": 31})
    with pytest.raises(UnknownNameError, match="There is no augmentation 'cutmx'") as caught:
        names_of(augment="cutmx")
    assert "cutmix" in caught.value.hint


@pytest.mark.parametrize(
    ("spelled", "named", "own"),
    [
        ({"randaugment": 9}, "randaugment", {"magnitude": 9}),
        ({"rotation": 15, "shear": 4}, "affine", {"rotation": 15, "shear": 4}),
        ({"color_jitter": 0.4}, "color-jitter", {"strength": 0.4}),
        ({"mixup": 0.4}, "mixup", {"alpha": 0.4}),
    ],
    ids=["randaugment", "affine", "color-jitter", "mixup"],
)
def test_both_spellings_give_the_same_weights(train, spelled, named, own):
    run = train(**spelled, epochs=1)
    assert_same_weights(run, train(augment=named, augment_options=own, epochs=1))
    assert not torch.equal(read_weights(run)["head.linear.weight"], read_weights(train(epochs=1))["head.linear.weight"])


@pytest.mark.parametrize("values", [{"workers": 1}, {"cache": "off"}, {"cache": "disk"}], ids=str)
def test_workers_and_caches_do_not_change_the_weights(train, values):
    options = {"augment": ALL, "epochs": 1, "crop_scale": 0.5}
    assert_same_weights(train(**options), train(**options, **values))


def test_a_third_party_augmentation_has_the_same_guarantees(train, runs, resume):
    registry = with_acme()
    whole = train(registry=registry, augment="noise", workers=1)
    stop = EventRecorder(after_epoch(1))
    with pytest.raises(KeyboardInterrupt):
        train(registry=registry, augment="noise", observer=stop, save_every=0)
    assert_same_results(resume(latest_run(runs).path, registry=registry), whole)


def test_cached_activations_are_those_of_views_that_are_computed_again(train, monkeypatch):
    values = {"freeze": "2", "views": 2, "augment": ALL[:4], "rotation": 20}
    cached = train(**values)
    assert cached.record.activation_cache["views"] == 2
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: 0)
    uncached = train(**values)
    assert uncached.record.activation_cache["views"] == 0
    for name, tensor in read_weights(cached).items():
        torch.testing.assert_close(tensor, read_weights(uncached)[name], rtol=1e-4, atol=1e-5)


def test_the_accuracy_of_mixed_labels_is_not_reported(train):
    mixed, plain = (train(epochs=1, augment=name).metrics()[-1] for name in ("cutmix", "blur"))
    assert mixed["train_accuracy"] is None
    assert plain["train_accuracy"] is not None
    assert mixed["train_loss"] > 0


def test_an_augmentation_that_raises_in_training_is_named_and_the_last_save_is_whole(train, runs, resume):
    spec = zoo.AugmentationSpec(name="noise", build=lambda request: Noise(request, fails_at=3))
    with pytest.raises(PluginError) as caught:
        train(registry=make_registry(FakePlugin(augmentations=[spec])), augment="noise", save_every=0)
    reason = "The plugin fake:fake failed while augmenting images with 'noise': IndexError: bad luck."
    assert caught.value.message == reason
    assert caught.value.hint == "Leave it out with ZOO_BLOCK_PLUGINS=fake:fake, or report it to its author."
    assert latest_run(runs).record.saved == {"epoch": 0, "step": 2}


def test_the_record_says_which_plugin_gave_an_augmentation(train):
    run = train(registry=with_acme(), augment=("noise", "cutmix"), epochs=1)
    record = json.loads((run.path / "run.json").read_text())
    assert record["parts"][AUGMENTATION.name] == ["acme/noise", "augmentations/cutmix"]
    assert record["plugins"]["acme:acme"] == "1.2"
    assert record["config"]["augment"] == ["noise", "cutmix"]
    assert "zoo_augmentations" in record["sources"]


def test_a_finished_run_needs_no_augmentation_and_a_resumed_one_says_what_is_missing(train, registry, runs, resume):
    finished = train(registry=with_acme(), augment="noise", epochs=1)
    images = [torch.zeros(16, 16, 3, dtype=torch.uint8).numpy()]
    assert load(finished, device="cpu", registry=registry).probabilities(images).shape == (1, 3)
    stop = EventRecorder(after_epoch(1))
    with pytest.raises(KeyboardInterrupt):
        train(registry=with_acme(), augment="noise", observer=stop, save_every=0)
    with pytest.raises(UnknownNameError) as caught:
        resume(latest_run(runs).path)
    assert "needs the augmentation 'acme/noise' of the plugin acme 1.2, which is not installed" in caught.value.message
    assert "pip install acme==1.2" in caught.value.hint


@pytest.mark.parametrize(
    ("optimizer", "unused"), [("lbfgs", "blur, cutmix, mixup"), ("sgd", "blur, cutmix")], ids=["solved", "in steps"]
)
def test_a_note_says_which_augmentations_have_no_effect_on_frozen_features(train, optimizer, unused):
    observer = EventRecorder()
    train(freeze="all", optimizer=optimizer, augment=("blur", "cutmix", "mixup"), epochs=1, observer=observer)
    expected = f"Without effect: {unused}. --freeze all trains on the features of photos as they are."
    assert expected in observer.notes
