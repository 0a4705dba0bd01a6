import pytest
import torch
from fakes import SIZE, SmallBackbone, SmallHead
from torch import nn

from zoo.models.classifier import Classifier, freeze
from zoo.models.precision import choose_precision
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadRequest
from zoo.training.autotune import precision as trial
from zoo.training.autotune.precision import fastest_precision, judge, time_steps

CPU = torch.device("cpu")
NAMES = ("bf16", "fp32")


def a_classifier(backbone=None):
    request = HeadRequest(pooled_width=12, map_width=12, outputs=3, dropout=0.0, criterion=Criterion(), options=None)
    return Classifier(backbone or SmallBackbone(dropout=0.2), SmallHead(request))


@pytest.mark.parametrize(
    ("bf16", "name", "reason"),
    [
        (0.42, "bf16", "2.4 x as fast as fp32, measured"),
        (0.95, "fp32", "bf16 is only 1.05 x as fast, measured"),
        (1.5, "fp32", "bf16 is only 0.67 x as fast, measured"),
    ],
)
def test_less_exact_arithmetic_is_taken_where_it_is_clearly_faster(bf16, name, reason):
    assert judge({"bf16": bf16, "fp32": 1.0}) == (name, reason)


def test_steps_are_timed_in_turns_and_the_first_of_each_warms_up(monkeypatch):
    seen = []

    def timed(network, images, labels, precision):
        assert images.shape == (8, 3, SIZE, SIZE)
        seen.append(precision.name)
        return {"bf16": 1.0, "fp32": 3.0}[precision.name] * (100 if len(seen) <= 2 else 1)

    monkeypatch.setattr(trial, "_timed", timed)
    told = time_steps(a_classifier(), (SIZE, SIZE), [choose_precision(name, CPU) for name in NAMES])
    assert told == {"bf16": [1.0] * 7, "fp32": [3.0] * 7}
    assert seen == ["bf16", "fp32"] * 8


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-9, 1), (9e9, 7)])
def test_a_measurement_ends_when_its_time_is_up(monkeypatch, seconds, rounds):
    monkeypatch.setattr(trial, "_SECONDS", {"cpu": seconds})
    seen = []
    monkeypatch.setattr(trial, "_timed", lambda *given: seen.append(given) or 1.0)
    time_steps(a_classifier(), (SIZE, SIZE), [choose_precision(name, CPU) for name in NAMES])
    assert len(seen) == 2 * (1 + rounds)


def test_nothing_is_trained_by_a_measurement_and_no_draw_is_spent():
    classifier = a_classifier()
    freeze(classifier, 1)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    random = torch.get_rng_state()
    found, _ = fastest_precision(classifier, (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=False)
    assert found.name in NAMES
    assert found.reason
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in classifier.modules()] == modes
    assert all(parameter.grad is None for parameter in classifier.parameters())
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("frozen", "learns"), [(None, False), (1, True)])
def test_what_is_timed_is_what_will_be_done(frozen, learns):
    seen = []

    class Spy(SmallBackbone):
        def forward(self, images):
            seen.append(torch.is_grad_enabled())
            return super().forward(images)

    classifier = a_classifier(Spy())
    freeze(classifier, frozen)
    time_steps(classifier, (SIZE, SIZE), [choose_precision("fp32", CPU)])
    assert set(seen) == {learns}


@pytest.mark.parametrize("method", ["forward", "__deepcopy__"])
def test_without_room_for_a_copy_the_likely_one_is_taken(method):
    class Greedy(SmallBackbone):
        pass

    def too_large(self, given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    setattr(Greedy, method, too_large)
    found, sure = fastest_precision(a_classifier(Greedy()), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (found.name, found.reason) == ("bf16", "not measured: memory is too small for a copy")
    assert not sure


@pytest.mark.parametrize(("slowest", "steady"), [(1.4, True), (9.0, False)])
def test_a_disturbed_measurement_is_judged_by_its_fastest_steps_and_not_relied_on_again(monkeypatch, slowest, steady):
    monkeypatch.setattr(trial, "processor_times", lambda: None)
    times = {"bf16": [1.0, slowest, 1.0], "fp32": [2.1, 2.0, 2.0]}
    monkeypatch.setattr(trial, "time_steps", lambda *given: times)
    found, sure = fastest_precision(a_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (found.name, found.reason) == ("bf16", "2.0 x as fast as fp32, measured")
    assert sure is steady


def test_a_busy_machine_is_not_believed(monkeypatch):
    times = iter([(10, 5), (110, 65)])
    monkeypatch.setattr(trial, "processor_times", lambda: next(times))
    monkeypatch.setattr(trial, "time_steps", lambda *given: {"bf16": [2.0], "fp32": [1.0]})
    found, sure = fastest_precision(a_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (found.name, found.reason) == ("bf16", "likely faster than fp32; the machine is too busy to measure")
    assert not sure


@pytest.mark.parametrize("times", [[(10, 5), (110, 15)], [None, None], [(10, 5), None]])
def test_a_machine_left_in_peace_or_that_does_not_tell_is_believed(monkeypatch, times):
    told = iter(times)
    monkeypatch.setattr(trial, "processor_times", lambda: next(told))
    monkeypatch.setattr(trial, "time_steps", lambda *given: {"bf16": [2.0], "fp32": [1.0]})
    found, sure = fastest_precision(a_classifier(), (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
    assert (found.name, sure) == ("fp32", True)


def test_a_fault_of_the_network_is_no_lack_of_memory():
    classifier = a_classifier(SmallBackbone())
    classifier.head = nn.Linear(3, 3)
    with pytest.raises((RuntimeError, TypeError)):
        fastest_precision(classifier, (SIZE, SIZE), CPU, names=NAMES, freeze_norm_stats=True)
