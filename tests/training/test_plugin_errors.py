import pytest
import torch
from fakes import FakePlugin, SmallBackbone, SmallHead, make_backbone_spec, make_photo, make_registry
from torch import nn
from training_runs import EventRecorder, assert_same_weights, latest_run

import zoo
from zoo.errors import ConfigError, PluginError
from zoo.events import Started
from zoo.plugins.contracts import Features
from zoo.training import loop
from zoo.training.autotune import precision

HINT = "Leave it out with ZOO_BLOCK_PLUGINS=fake:fake, or report it to its author."


def is_training_step(module):
    return module.training and torch.is_grad_enabled()


def make_failing_registry(where, error):
    """Returns plugins of which the backbone or the head raises an error in its third training step."""
    calls = []

    def fail(module):
        if is_training_step(module):
            calls.append(module)
            if len(calls) == 3:
                raise error("bad luck")

    class FailingBackbone(SmallBackbone):
        def forward(self, images):
            fail(self)
            return super().forward(images)

    class FailingHead(SmallHead):
        def forward(self, features):
            fail(self)
            return super().forward(features)

    backbone = FailingBackbone if where == "backbone" else SmallBackbone
    head = FailingHead if where == "head" else SmallHead
    spec = make_backbone_spec(build=lambda request: backbone())
    return make_registry(FakePlugin(backbones=[spec], heads=[zoo.HeadSpec(name="flat", build=head)]))


@pytest.mark.parametrize("error", [IndexError, SystemExit, RuntimeError])
@pytest.mark.parametrize(("where", "name"), [("backbone", "small"), ("head", "flat")])
def test_a_plugin_that_raises_in_training_is_named_and_the_last_save_is_whole(train, resume, runs, where, name, error):
    with pytest.raises(PluginError) as caught:
        train(registry=make_failing_registry(where, error), save_every=0)
    assert caught.value.message == (f"The plugin fake:fake failed while training '{name}': {error.__name__}: bad luck.")
    assert caught.value.hint == HINT
    run = latest_run(runs)
    assert run.record.saved == {"epoch": 0, "step": 2}
    assert_same_weights(resume(run.path, anyway=True), train())


class FailingBackward(torch.autograd.Function):
    """The identity, whose backward pass raises an error."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise IndexError("bad luck")


@pytest.mark.parametrize(("where", "name"), [("backbone", "small"), ("head", "flat")])
def test_a_plugin_whose_own_backward_pass_raises_is_named(train, where, name):
    # The package of a backward function tells whether it belongs to the backbone or to the head.
    class FailingBackbone(SmallBackbone):
        def forward(self, images):
            features = super().forward(images)
            return Features(FailingBackward.apply(features.pooled), features.map)

    class FailingHead(SmallHead):
        def forward(self, features):
            return FailingBackward.apply(super().forward(features))

    backbone = FailingBackbone if where == "backbone" else SmallBackbone
    head = FailingHead if where == "head" else SmallHead
    assert FailingBackbone.__module__ != SmallHead.__module__
    spec = make_backbone_spec(build=lambda request: backbone())
    registry = make_registry(FakePlugin(backbones=[spec], heads=[zoo.HeadSpec(name="flat", build=head)]))
    with pytest.raises(PluginError) as caught:
        train(registry=registry)
    assert caught.value.message == f"The plugin fake:fake failed while training '{name}': IndexError: bad luck."
    assert caught.value.hint == HINT


def test_an_error_in_the_backward_pass_of_torch_names_both_plugins(train):
    class InPlaceHead(SmallHead):
        """Changes a value in place that the backward pass needs."""

        def forward(self, features):
            logits = super().forward(features)
            if is_training_step(self):
                squared = logits.square()
                logits += 1
                return squared
            return logits

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=InPlaceHead)]))
    with pytest.raises(PluginError) as caught:
        train(registry=registry)
    start = "The backward pass through fake/small and fake/flat failed: RuntimeError: one of the variables needed for"
    assert caught.value.message.startswith(start)
    assert caught.value.hint == (
        "This is probably a fault of the plugin fake:fake: test it with the contract kit, zoo.testing."
    )


def test_logits_of_a_wrong_shape_are_an_error(train):
    class ShorteningHead(SmallHead):
        def forward(self, features):
            logits = super().forward(features)
            return logits[:-1] if is_training_step(self) else logits

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=ShorteningHead)]))
    with pytest.raises(PluginError, match=r"For 8 images the head returned logits \(7, 3\), not \(8, classes\)"):
        train(registry=registry)


def test_an_error_of_the_zoo_is_attributed_to_no_plugin(train, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr(loop, "mix", fail)
    with pytest.raises(ZeroDivisionError):
        train()


def test_an_error_of_the_observer_is_attributed_to_no_plugin(train):
    def fail():
        raise ZeroDivisionError("1 / 0")

    class Head(SmallHead):
        """Written in the same package as the observer."""

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=Head)]))
    with pytest.raises(ZeroDivisionError):
        train(registry=registry, observer=EventRecorder(lambda event: isinstance(event, Started), fail))


def test_a_module_of_torch_in_a_plugin_counts_as_the_plugin(train):
    class NarrowHead(SmallHead):
        def forward(self, features):
            if is_training_step(self):
                return nn.functional.linear(features.pooled[:, :1], self.linear.weight)
            return super().forward(features)

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=NarrowHead)]))
    with pytest.raises(PluginError, match=r"failed while training 'flat': RuntimeError: .*mat1 and mat2"):
        train(registry=registry)


@pytest.mark.parametrize("where", ["backbone", "head"])
def test_a_batch_normalisation_with_one_photo_per_step_is_the_fault_of_the_batch_size(train, where):
    class NormBackbone(SmallBackbone):
        def __init__(self):
            super().__init__()
            self.body["norm"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(12))

    class NormHead(SmallHead):
        def __init__(self, request):
            super().__init__(request)
            self.norm = nn.BatchNorm1d(12)

        def forward(self, features):
            return super().forward(Features(self.norm(features.pooled), features.map))

    backbone = make_backbone_spec(build=lambda request: (NormBackbone if where == "backbone" else SmallBackbone)())
    head = zoo.HeadSpec(name="flat", build=NormHead if where == "head" else SmallHead)
    registry = make_registry(FakePlugin(backbones=[backbone], heads=[head]))
    with pytest.raises(ConfigError, match="A batch normalisation cannot be trained with a single photo") as caught:
        train(registry=registry, batch_size=1, freeze_norm_stats=False)
    assert caught.value.hint == (
        "Pass --batch-size 2 or more, or choose a network and a head without batch normalisation."
    )


def test_a_plugin_that_fails_while_precisions_are_measured_is_named(train, monkeypatch):
    class FailingHead(SmallHead):
        def forward(self, features):
            return FailingBackward.apply(super().forward(features))

    monkeypatch.setattr(precision, "candidates", lambda device: ("bf16", "fp32"))
    monkeypatch.setattr(precision, "read_cached", lambda key: None)
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=FailingHead)]))
    with pytest.raises(PluginError) as caught:
        train(registry=registry, precision="auto")
    assert caught.value.message == (
        "The plugin fake:fake failed while measuring the speed of 'flat': IndexError: bad luck."
    )


@pytest.mark.parametrize("hook", ["tensor", "module"])
def test_a_hook_that_raises_in_the_backward_pass_is_named(train, hook):
    class HookedHead(SmallHead):
        def __init__(self, request):
            super().__init__(request)
            if hook == "module":
                self.linear.register_full_backward_hook(self.fail)

        def forward(self, features):
            logits = super().forward(features)
            if hook == "tensor" and logits.requires_grad:
                logits.register_hook(self.fail)
            return logits

        def fail(self, *_):
            raise IndexError("bad luck")

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=HookedHead)]))
    with pytest.raises(PluginError, match=r"^The plugin fake:fake failed while training 'flat': IndexError: bad luck"):
        train(registry=registry)


@pytest.mark.parametrize("error", [IndexError, SystemExit, RecursionError])
def test_a_plugin_that_raises_in_a_prediction_is_named(train, error):
    failing = False

    class FailingHead(SmallHead):
        def probabilities(self, logits):
            if failing:
                raise error("bad luck")
            return super().probabilities(logits)

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=FailingHead)]))
    run = train(registry=registry, epochs=1)
    predictor, failing = zoo.load(run.path, device="cpu", registry=registry), True
    with pytest.raises(PluginError) as caught:
        predictor.predict(make_photo(0, 0))
    assert caught.value.message == (
        f"The plugin fake:fake failed while predicting with 'flat': {error.__name__}: bad luck."
    )
