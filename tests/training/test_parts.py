import pytest
import torch
from fakes import FakePlugin, make_registry
from training_runs import EventRecorder, after_epoch, latest_run, read_weights

import zoo
from zoo.config import make_config
from zoo.errors import PluginError, UnknownNameError
from zoo.inference.run_predictor import load
from zoo.training.parts import adapt_config, find_parts, solves_head
from zoo_optimizers.schedule_free import ScheduleFreeSgd


class Lion(torch.optim.Optimizer):
    """An optimizer of a third party: the sign of the gradient."""

    def __init__(self, groups, *, fails=False):
        super().__init__(groups, {"lr": 0.1})
        self.fails = fails

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * parameter.grad.sign())
        if self.fails:
            raise IndexError("bad luck")


def third_party(*, fails=False, factor=None, **values):
    plugin = FakePlugin()
    spec = zoo.OptimizerSpec(name="lion", build=lambda request: Lion(request.groups, fails=fails), **values)
    plugin.zoo_optimizers = zoo.hookimpl(lambda: [spec])
    schedule = zoo.ScheduleSpec(name="falling", factor=factor or (lambda step, steps, options: 1 / (step + 1)))
    plugin.zoo_schedules = zoo.hookimpl(lambda: [schedule])
    return make_registry(plugin)


def adapt(**values):
    config = make_config("small", data="colours", head="flat", **values)
    return adapt_config(config, find_parts(config, third_party(full_batch=True)))


def test_a_configuration_is_adapted_to_its_optimizer_with_a_note():
    config, notes = adapt(optimizer="schedule-free-adamw")
    assert config.ema is None
    assert "(--ema none): schedule-free-adamw averages the weights itself." in notes[0]
    assert "--schedule constant" in notes[1]
    config, notes = adapt(optimizer="lbfgs")
    assert (config.ema, config.precision) == (None, "fp32")
    assert "takes too few steps" in notes[0]
    config, notes = adapt(optimizer="cg", optimizer_options={"full_batch": "no"}, precision="bf16")
    assert (config.ema, config.precision, notes) == (0.95, "bf16", ())
    assert adapt(optimizer="lion")[0].ema is None
    for values in ({}, {"optimizer": "lbfgs", "freeze": "all"}, {"optimizer": "sgd", "ema": None}):
        config, notes = adapt(**values)
        assert (config, notes) == (make_config("small", data="colours", head="flat", **values), ())


def test_a_solver_takes_the_place_of_a_line_search_with_a_frozen_backbone_only():
    for freeze, solved in (("all", True), ("none", False)):
        config = make_config("small", data="colours", freeze=freeze, optimizer="optimizers/cg")
        assert solves_head(config, find_parts(config, third_party()).optimizer.spec) == solved


def test_a_run_records_the_parts_of_plugins_and_needs_them_only_to_train(train, resume, runs):
    values = {"optimizer": "lion", "schedule": "fake/falling"}
    run = train(registry=third_party(), **values)
    assert run.record.parts["optimizer"] == ("fake/lion",)
    assert run.record.parts["schedule"] == ("fake/falling",)
    assert run.record.plugins["fake:fake"] == "1.2"
    assert "fakes" in run.record.sources
    assert len(load(run, registry=make_registry(FakePlugin())).classes) == 3

    with pytest.raises(KeyboardInterrupt):
        train(registry=third_party(), observer=EventRecorder(after_epoch(1)), **values)
    with pytest.raises(UnknownNameError, match="no optimizer 'lion'"):
        resume(latest_run(runs).path, registry=make_registry(FakePlugin()))


def test_a_run_names_the_plugin_that_resuming_it_needs(train, resume, runs):
    plugin = FakePlugin()
    spec = zoo.OptimizerSpec(name="lion", build=lambda request: Lion(request.groups))
    registry = make_registry(plugin)
    other = make_registry(type("Other", (), {"zoo_optimizers": staticmethod(zoo.hookimpl(lambda: [spec]))})(), "acme")
    registry.plugins = (*registry.plugins, other.plugins[-1])
    with pytest.raises(KeyboardInterrupt):
        train(registry=registry, optimizer="lion", observer=EventRecorder(after_epoch(1)))
    with pytest.raises(UnknownNameError, match=r"needs the optimizer 'acme/lion' of the plugin acme 1\.2, which is"):
        resume(latest_run(runs).path)


def test_an_optimizer_that_fails_in_a_step_is_named(train):
    with pytest.raises(PluginError) as caught:
        train(registry=third_party(fails=True), optimizer="lion")
    expected = "The plugin fake:fake failed while taking a step of 'lion': IndexError: bad luck."
    assert caught.value.message == expected


def test_a_schedule_that_fails_in_the_middle_is_named(train):
    def factor(step, steps, options):
        return 1.0 if step != 3 else float("nan")

    with pytest.raises(PluginError, match=r"computing the rate of step 4 of \d+ by 'falling': it returned nan"):
        train(registry=third_party(factor=factor), schedule="falling", warmup=0.0)


def test_an_optimizer_that_says_it_needs_a_closure_has_to_call_it(train):
    plugin = FakePlugin()
    spec = zoo.OptimizerSpec(name="silent", build=lambda request: Silent(request.groups), closure=True)
    plugin.zoo_optimizers = zoo.hookimpl(lambda: [spec])
    with pytest.raises(PluginError, match="The optimizer Silent took a step without calling its closure"):
        train(registry=make_registry(plugin), optimizer="silent", batch_size=16)


class Silent(Lion):
    def step(self, closure=None):
        return None


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "lbfgs", "epochs": 4},
        {"optimizer": "cg", "epochs": 4, "freeze": "2", "views": 1, "mixup": 0.2},
        {"optimizer": "lbfgs", "optimizer_options": {"full_batch": False}, "batch_size": 36},
        {"optimizer": "schedule-free-adamw", "schedule": "constant", "lr": 0.01, "epochs": 6},
        {"optimizer": "schedule-free-adamw", "schedule": "constant", "lr": 0.1, "freeze": "all", "epochs": 20},
        {"optimizer": "adamw", "lr": 0.01, "schedule": "one-cycle", "epochs": 6},
    ],
)
def test_a_training_learns(train, values):
    run = train(**values)
    rows = run.metrics()
    assert rows[-1]["train_loss"] < 0.97 * rows[0]["train_loss"]
    assert run.results["test"]["accuracy"] > 0.5


def test_the_saved_weights_are_the_averaged_ones(train):
    built = []

    def build(request):
        built.append(ScheduleFreeSgd(request.groups, lr=request.lr, beta=0.9, power=0.0))
        return built[0]

    plugin = FakePlugin()
    plugin.zoo_optimizers = zoo.hookimpl(lambda: [zoo.OptimizerSpec(name="recording", build=build, averages=True)])
    run = train(registry=make_registry(plugin), optimizer="recording", epochs=1, lr=0.1)
    saved = read_weights(run)["head.linear.weight"]
    states = [state for parameter, state in built[0].state.items() if parameter.shape == saved.shape]
    assert any(torch.equal(state["x"], saved) for state in states)
    assert not any(torch.equal(state["z"], saved) for state in states)
