import pytest
import torch
from criteria import make_criterion
from fakes import CLASSES, SIZE, SmallBackbone, SmallHead
from torch import nn

from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.events import Work
from zoo.models.build import assemble, resolve_preprocess
from zoo.models.classifier import Classifier, freeze
from zoo.models.offers import find_offers
from zoo.models.precision import Precision, choose_precision
from zoo.plugins.registry import get_card
from zoo.plugins.specs import HeadRequest
from zoo.training.autotune import precision as module
from zoo.training.autotune.precision import (
    autotune_precision,
    fastest_precision,
    recorded_precision,
    select_precision,
    time_steps,
)

CPU = torch.device("cpu")
NAMES = ("bf16", "fp32")
MEASURED = "2.4 x as fast as fp32, measured"


def make_classifier(backbone=None):
    request = HeadRequest(
        pooled_width=12, map_width=12, outputs=3, dropout=0.0, criterion=make_criterion(), options=None
    )
    return Classifier(backbone or SmallBackbone(dropout=0.2), SmallHead(request))


@pytest.mark.parametrize(
    ("bf16", "name", "reason"),
    [
        (0.42, "bf16", MEASURED),
        (0.95, "fp32", "bf16 is only 1.05 x as fast, measured"),
        (1.5, "fp32", "bf16 is only 0.67 x as fast, measured"),
    ],
)
def test_a_less_exact_precision_is_selected_if_it_is_clearly_faster(bf16, name, reason):
    assert select_precision({"bf16": bf16, "fp32": 1.0}) == (name, reason)


def test_precisions_alternate_and_the_first_step_of_each_warms_up(monkeypatch):
    timed = []

    def time_step(network, images, labels, precision):
        assert images.shape == (8, 3, SIZE, SIZE)
        timed.append(precision.name)
        return {"bf16": 1.0, "fp32": 3.0}[precision.name] * (100 if len(timed) <= 2 else 1)

    monkeypatch.setattr(module, "_time_step", time_step)
    seconds = time_steps(make_classifier(), (SIZE, SIZE), [choose_precision(name, CPU) for name in NAMES])
    assert seconds == {"bf16": [1.0] * 7, "fp32": [3.0] * 7}
    assert timed == ["bf16", "fp32"] * 8


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-9, 1), (9e9, 7)])
def test_a_measurement_ends_when_its_time_is_up(monkeypatch, seconds, rounds):
    monkeypatch.setattr(module, "_SECONDS", {"cpu": seconds})
    timed = []
    monkeypatch.setattr(module, "_time_step", lambda *args: timed.append(args) or 1.0)
    time_steps(make_classifier(), (SIZE, SIZE), [choose_precision(name, CPU) for name in NAMES])
    assert len(timed) == 2 * (1 + rounds)


def test_a_measurement_changes_neither_the_classifier_nor_the_random_generator():
    classifier = make_classifier()
    freeze(classifier, 1)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    random = torch.get_rng_state()
    precision, _ = fastest_precision(classifier, (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=False)
    assert precision.name in NAMES
    assert precision.reason
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in classifier.modules()] == modes
    assert all(parameter.grad is None for parameter in classifier.parameters())
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("frozen", "backward"), [(None, False), (1, True)])
def test_a_frozen_backbone_is_timed_without_a_backward_pass(frozen, backward):
    grad_enabled = []

    class Spy(SmallBackbone):
        def forward(self, images):
            grad_enabled.append(torch.is_grad_enabled())
            return super().forward(images)

    classifier = make_classifier(Spy())
    freeze(classifier, frozen)
    time_steps(classifier, (SIZE, SIZE), [choose_precision("fp32", CPU)])
    assert set(grad_enabled) == {backward}


@pytest.mark.parametrize("method", ["forward", "__deepcopy__"])
def test_without_memory_for_a_copy_the_first_precision_is_selected(method):
    class LimitedBackbone(SmallBackbone):
        pass

    def run_out_of_memory(self, argument):
        raise torch.OutOfMemoryError("CUDA out of memory")

    setattr(LimitedBackbone, method, run_out_of_memory)
    classifier = make_classifier(LimitedBackbone())
    precision, reliable = fastest_precision(classifier, (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert precision.name == "bf16"
    assert precision.reason == "not measured: the memory is too small for a copy of the network"
    assert not reliable


@pytest.mark.parametrize(("slowest", "expected"), [(1.4, True), (9.0, False)])
def test_the_fastest_steps_decide_and_unsteady_ones_make_a_measurement_unreliable(monkeypatch, slowest, expected):
    monkeypatch.setattr(module, "read_thread_times", lambda: None)
    seconds = {"bf16": [1.0, slowest, 1.0], "fp32": [2.1, 2.0, 2.0]}
    monkeypatch.setattr(module, "time_steps", lambda *args: seconds)
    precision, reliable = fastest_precision(make_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (precision.name, precision.reason) == ("bf16", "2.0 x as fast as fp32, measured")
    assert reliable is expected


def test_a_measurement_on_a_busy_machine_is_ignored(monkeypatch):
    times = iter([(10, 5), (110, 65)])
    monkeypatch.setattr(module, "read_thread_times", lambda: next(times))
    monkeypatch.setattr(module, "time_steps", lambda *args: {"bf16": [1.9], "fp32": [1.0]})
    precision, reliable = fastest_precision(make_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert precision.name == "bf16"
    assert precision.reason == "probably faster than fp32; the machine is too busy to measure"
    assert not reliable


def test_a_precision_that_is_clearly_slower_on_a_busy_machine_is_not_used_but_measured_again(monkeypatch):
    times = iter([(10, 5), (110, 65)])
    monkeypatch.setattr(module, "read_thread_times", lambda: next(times))
    monkeypatch.setattr(module, "time_steps", lambda *args: {"bf16": [2.1], "fp32": [1.0]})
    precision, reliable = fastest_precision(make_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (precision.name, reliable) == ("fp32", False)


@pytest.mark.parametrize("times", [[(10, 5), (110, 15)], [None, None], [(10, 5), None]])
def test_a_measurement_on_an_idle_or_silent_machine_is_used(monkeypatch, times):
    results = iter(times)
    monkeypatch.setattr(module, "read_thread_times", lambda: next(results))
    monkeypatch.setattr(module, "time_steps", lambda *args: {"bf16": [2.0], "fp32": [1.0]})
    precision, reliable = fastest_precision(make_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (precision.name, reliable) == ("fp32", True)


def test_other_errors_are_raised():
    classifier = make_classifier(SmallBackbone())
    classifier.head = nn.Linear(3, 3)
    with pytest.raises((RuntimeError, TypeError)):
        fastest_precision(classifier, (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)


@pytest.fixture
def autotune(registry, tmp_path, monkeypatch):
    """Autotunes the precision of a configuration with a fake measurement; appends image sizes to `measured`."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(module, "candidates", lambda device: NAMES)
    measured = []

    def measure(classifier, image_size, device, *, names, freeze_norm_stats):
        measured.append(image_size)
        return Precision(name="bf16", device=device, reason=MEASURED), run.reliable

    monkeypatch.setattr(module, "fastest_precision", measure)

    def run(observer=lambda event: None, **values):
        config = make_config("small", data="colours", head="flat", weights="none", **values)
        offers = find_offers(config, registry)
        preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
        model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
        precision = autotune_precision(config, backbone="fake/small", model=model, device=CPU, observer=observer)
        return precision.name, precision.reason

    run.measured, run.reliable = measured, True
    return run


def test_a_given_precision_is_not_measured(autotune):
    assert autotune(precision="fp32") == ("fp32", "asked for")
    assert not autotune.measured


def test_auto_measures_once_for_every_network_and_machine(autotune, monkeypatch):
    events = []
    assert autotune(events.append) == ("bf16", MEASURED)
    assert events == [Work(what="measure bf16 and fp32", done=done, total=1) for done in (0, 1)]
    assert autotune() == ("bf16", MEASURED)
    assert len(autotune.measured) == 1
    autotune(image_size=32)
    autotune(freeze="1")
    assert len(autotune.measured) == 3
    monkeypatch.setattr(module, "machine_key", lambda device: "another machine")
    autotune()
    assert len(autotune.measured) == 4


def test_an_unreliable_measurement_is_repeated_the_next_time(autotune):
    autotune.reliable = False
    autotune()
    autotune()
    assert len(autotune.measured) == 2


def test_an_unknown_precision_in_the_cache_is_ignored(autotune, monkeypatch):
    monkeypatch.setattr(module, "read_cached", lambda key: {"precision": "int2"})
    assert autotune()[0] == "bf16"
    assert autotune.measured


def test_a_device_with_a_single_precision_measures_nothing(autotune, monkeypatch):
    monkeypatch.setattr(module, "candidates", lambda device: ("fp32",))
    monkeypatch.setattr("zoo.models.precision.candidates", lambda device: ("fp32",))
    assert autotune()[0] == "fp32"
    assert not autotune.measured


def test_a_resumed_run_keeps_its_precision():
    precision = recorded_precision({"precision": "bf16", "precision_reason": MEASURED}, CPU)
    assert (precision.name, precision.reason) == ("bf16", MEASURED)
    with pytest.raises(ConfigError, match="tf32"):
        recorded_precision({"precision": "tf32"}, CPU)
