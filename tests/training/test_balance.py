import json
import math

import pytest
from fakes import FakePlugin, SmallHead, make_images, make_samples
from training_runs import EventRecorder, after_epoch, assert_same_results, latest_run

import zoo
import zoo_heads
from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.events import Note
from zoo.plugins.specs import LossSpec
from zoo.training import linear_probe
from zoo.training.balance import ClassBalance, check_balance, make_balance
from zoo.training.frozen.solver import fit_head
from zoo.training.prepare import check_photos

COUNTS = (8, 2, 2)  # of the training photos of `uneven`


@pytest.fixture
def plugin():
    return FakePlugin(heads=[*zoo_heads.zoo_heads(), zoo.HeadSpec(name="flat", build=SmallHead)])


@pytest.fixture
def uneven():
    samples = make_samples("train", 24)
    of_class = [[sample for sample in samples if sample.label == label] for label in range(3)]
    train = tuple(sample for own, count in zip(of_class, COUNTS, strict=True) for sample in own[:count])
    return make_images(train=train)


def balance_of(images, **values):
    return make_balance(make_config("small", data="colours", **values), images)


def test_by_default_nothing_is_done(uneven):
    balance = balance_of(uneven)
    assert balance == ClassBalance()
    assert balance.loss_weights == ()
    assert balance.describe(uneven.classes) == {}


def test_balanced_weights_give_every_class_the_same_and_photos_1_on_average(uneven):
    weights = balance_of(uneven, class_weights="balanced").weights
    assert weights == pytest.approx((0.5, 2, 2))


def test_effective_weights_lie_between(uneven):
    weights = balance_of(uneven, class_weights="effective").weights
    ratio = (1 - 0.99**8) / (1 - 0.99**2)  # of the effective numbers
    assert weights[1] / weights[0] == pytest.approx(ratio)
    assert 1 < ratio < 4
    assert sum(weight * count for weight, count in zip(weights, COUNTS, strict=True)) == pytest.approx(12)


def test_only_the_ratios_of_weights_in_a_file_count(uneven, tmp_path):
    file = tmp_path / "weights.csv"
    for scale in (1, 50):
        file.write_text("".join(f"{name},{scale * (1 + index)}\n" for index, name in enumerate(uneven.classes)))
        weights = balance_of(uneven, class_weights=file).weights
        assert weights == pytest.approx((2 / 3, 4 / 3, 2))
    recorded = dict(zip(uneven.classes, (3.0, 1.0, 1.0), strict=True))
    file.unlink()
    config = make_config("small", data="colours", class_weights=file)
    resumed = make_balance(config, uneven, recorded=recorded)  # the file may be gone
    assert resumed.weights == pytest.approx((9 / 7, 3 / 7, 3 / 7))


def test_logits_are_adjusted_by_the_share_of_each_class_as_the_loss_sees_it(uneven):
    offsets = balance_of(uneven, logit_adjustment=1).logit_offsets
    assert offsets == pytest.approx([math.log(count / 12) for count in COUNTS])
    half = balance_of(uneven, logit_adjustment=0.5).logit_offsets
    assert half == pytest.approx([offset / 2 for offset in offsets])
    for more in ({"class_weights": "balanced"}, {"sampler": "balanced"}):
        assert balance_of(uneven, logit_adjustment=1, **more).logit_offsets == pytest.approx([math.log(1 / 3)] * 3)


def test_a_solver_weighs_photos_as_they_would_be_drawn(uneven):
    balance = balance_of(uneven, sampler="balanced")
    assert balance.draws == pytest.approx((0.5, 2, 2))
    assert balance.loss_weights == (1, 1, 1)
    assert balance_of(uneven, sampler="balanced", probe=False).loss_weights == ()


@pytest.mark.parametrize(
    ("values", "loss", "message"),
    [
        ({"class_weights": "balancd"}, {}, "option 'class_weights' is 'balancd', but there is no file"),
        ({"class_weights": "balanced"}, {}, "The loss 'mine' has no loss per photo"),
        ({"class_weights": "balanced"}, {"activation": "sigmoid"}, "The loss 'mine' has no loss per photo"),
        ({"sampler": "sqrt"}, {}, "The loss 'mine' has no loss per photo"),
        ({"logit_adjustment": 1}, {"activation": "sigmoid"}, "The loss 'mine' has a sigmoid for each class"),
    ],
)
def test_what_cannot_work_is_refused_before_photos_are_read(values, loss, message):
    spec = LossSpec(name="mine", build=lambda request: None, **loss)
    with pytest.raises(ConfigError, match=message) as caught:
        check_balance(make_config("small", data="colours", **values), spec)
    assert caught.value.hint
    check_balance(make_config("small", data="colours", sampler="sqrt", probe=False), spec)


def test_training_uses_and_records_what_was_asked_for(train, plugin, uneven, tmp_path):
    plugin.dataset, file = uneven, tmp_path / "weights.csv"
    file.write_text("red,1\ngreen,4\nblue,4\n")
    values = {"epochs": 1, "batch_size": 4}
    plain, other = train(**values), train(**values, class_weights=file, sampler="sqrt", logit_adjustment=0.5)
    assert not plain.record.balance
    assert "balance" not in json.loads((plain.path / "run.json").read_text())
    recorded = json.loads((other.path / "run.json").read_text())["balance"]
    assert recorded.keys() == {"weights", "draws", "logit_offsets"}
    assert recorded["weights"] == pytest.approx({"red": 0.5, "green": 2, "blue": 2})
    assert other.record.balance == recorded
    assert plain.metrics()[0]["train_loss"] != other.metrics()[0]["train_loss"]
    assert other.evaluate(split="test").accuracy == pytest.approx(other.results["test"]["accuracy"])


def test_every_fit_of_a_probe_weighs_photos_as_they_would_be_drawn(train, plugin, uneven, monkeypatch):
    plugin.dataset, draws = uneven, []

    def record(*arguments, **values):
        draws.append(values["draws"])
        return fit_head(*arguments, **values)

    monkeypatch.setattr(linear_probe, "fit_head", record)
    run = train(probe=True, head="linear", epochs=1, lr=0.0, sampler="balanced")
    assert run.results["best_epoch"] == 0
    assert len(draws) >= 2, "of the probe, and with the validation photos"
    assert all(each == pytest.approx((0.5, 2, 2)) for each in draws)


def test_a_run_is_resumed_with_the_weights_that_it_recorded(train, resume, plugin, uneven, tmp_path):
    plugin.dataset, file = uneven, tmp_path / "weights.csv"
    file.write_text("red,1\ngreen,4\nblue,4\n")
    values = {"epochs": 2, "batch_size": 4, "class_weights": file, "sampler": "balanced"}
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=EventRecorder(after_epoch(1)))
    file.write_text("red,9\ngreen,1\nblue,1\n")
    stopped = latest_run(whole.path.parent)
    assert stopped.record.status == "interrupted"
    assert_same_results(resume(stopped.path), whole)


def test_imbalance_is_pointed_at_unless_something_is_done_about_it(uneven):
    wanted = "'red' has 4 times as many training photos as 'green': 8 and 2. --class-weights, --sampler and "
    for values, count in (({}, 1), ({"sampler": "sqrt"}, 0)):
        events = []
        check_photos(uneven, make_config("small", data="colours", **values), events.append)
        assert sum(event.text.startswith(wanted) for event in events if isinstance(event, Note)) == count
