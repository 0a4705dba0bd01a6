import math

import pytest

from zoo.config import make_config
from zoo.errors import ConfigError, UnknownNameError
from zoo.events import EpochResult
from zoo.training.parts import find_parts
from zoo.training.tuning.objective import find_objective
from zoo.training.tuning.parameters import parse_search

EPOCH = EpochResult(
    epoch=1,
    train_loss=1.0,
    train_accuracy=0.5,
    val_loss=0.7,
    val_accuracy=0.8,
    learning_rate=0.1,
    seconds=1.0,
    images_per_second=10.0,
    metrics={"log_loss": 0.6, "accuracy": 0.8},
)


@pytest.fixture
def find(registry):
    def find_one(search="lr=1,2", **values):
        config = make_config("small", data="colours", head="flat", registry=registry, **values)
        name, _, text = search.partition("=")
        return config, find_objective(config, parse_search({name: text}, config, registry), registry)

    return find_one


def test_by_default_it_is_the_log_loss_which_every_trial_measures(find, registry):
    config, objective = find(metric="recall", metric_options={})
    assert (objective.name, objective.higher_is_better, objective.measure(EPOCH)) == ("log-loss", False, 0.6)
    prepared = objective.prepare(config)
    assert prepared.metric == ("log-loss", "recall")
    assert prepared.monitor == "auto"  # the best epoch is chosen as in any other run


def test_options_of_the_only_metric_stay_its_own(find, registry):
    config, objective = find(metric="accuracy", metric_options={"k": 2})
    prepared = objective.prepare(config)
    assert prepared.metric_options == {"accuracy.k": 2}
    assert [choice.spec.name for choice in find_parts(prepared, registry).metrics] == ["log-loss", "accuracy"]


@pytest.mark.parametrize(
    ("monitor", "higher", "value"), [("val-loss", False, 0.7), ("val-accuracy", True, 0.8), ("macro-f1", True, 0.6)]
)
def test_monitor_decides(find, monitor, higher, value):
    config, objective = find(monitor=monitor)
    assert (objective.name, objective.higher_is_better, objective.measure(EPOCH)) == (monitor, higher, value)
    assert objective.prepare(config).metric == (("macro-f1",) if monitor == "macro-f1" else ())


def test_a_metric_without_a_value_is_nan(find):
    _, objective = find()
    assert math.isnan(objective.measure(EpochResult(**{**EPOCH.to_dict(), "metrics": {}})))


@pytest.mark.parametrize("search", ["label-smoothing=0,0.1", "loss=cross-entropy,focal"])
def test_the_validation_loss_cannot_be_compared_where_its_definition_changes(find, search):
    with pytest.raises(ConfigError, match="changes what the validation loss is") as caught:
        find(search, monitor="val-loss")
    assert "--monitor log-loss" in caught.value.hint
    assert find(search)[1].name == "log-loss"


def test_an_unknown_metric_is_reported(find):
    with pytest.raises(UnknownNameError, match="no metric 'macro-f2'"):
        find(monitor="macro-f2")
