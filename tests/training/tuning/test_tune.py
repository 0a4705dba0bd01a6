import dataclasses
import json
import sys

import pytest
from fakes import FakePlugin, make_backbone_spec, make_images, make_registry
from PIL import Image
from training_runs import FAST, EventRecorder

import zoo
from zoo.errors import ConfigError, DataError, MissingPackageError, PluginError, TrainingError, UnknownNameError
from zoo.events import EpochResult, Note, StudyResult, StudyStarted, TrialResult, Work
from zoo.inference.evaluate import evaluate
from zoo.runs.open import open_run
from zoo.training.tuning import loop, report
from zoo.training.tuning.study import SharedStudy
from zoo.training.tuning.tune import tune
from zoo.utils.toml_file import read_toml

VALUES = {name: value for name, value in FAST.items() if name not in ("lr", "epochs", "optimizer")}
SEARCH = {"lr": "1e-4..0.1:log", "augment": "none,grayscale"}


@pytest.fixture
def search(registry, tmp_path):
    """Runs a small study in a folder as a new process would."""

    def run(trials=3, **values):
        arguments = {**VALUES, "epochs": 2, "search": SEARCH, "registry": registry, "runs": tmp_path / "runs", **values}
        return tune(arguments.pop("backbone", "small"), trials=trials, **arguments)

    return run


@pytest.fixture(autouse=True)
def _without_pictures(request, monkeypatch):
    """Saves the time for matplotlib and scikit-learn, except in one test."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr(report, "_write_picture", lambda path, *_: None)
        monkeypatch.setattr(SharedStudy, "importances", lambda self: {})


@pytest.fixture
def recorder():
    return EventRecorder()


def trial_events(recorder):
    return [event for event in recorder.events if isinstance(event, TrialResult)]


def test_a_study_leaves_a_recipe_a_report_and_the_run_of_its_best_trial(search, recorder, tmp_path, registry):
    tuning = search(3, observer=recorder, optimizer_options={"beta1": 0.8})
    assert [trial.number for trial in tuning.trials] == [1, 2, 3]
    assert all(1e-4 <= trial.values["lr"] <= 0.1 for trial in tuning.trials)
    assert tuning.trials[0].values == {"lr": 5e-4, "augment": "none"}  # those of a run without a search
    assert tuning.best.value == min(trial.value for trial in tuning.trials)
    assert tuning.best.value == pytest.approx(min(tuning.best.epochs.values()), rel=0.2)

    values = read_toml(tuning.recipe).values
    assert (values["lr"], values["backbone"]) == (tuning.best.values["lr"], "small")
    assert values["optimizer_options"] == {"beta1": 0.8}
    assert not values.keys() & {"metric", "monitor", "device", "data", "workers"}

    report = json.loads(tuning.report.read_text("utf-8"))
    assert [trial["value"] for trial in report["trials"]] == [trial.value for trial in tuning.trials]
    assert report["search"] == {"lr": "0.0001..0.1:log", "augment": "none,grayscale"}
    assert "trial" in tuning._repr_html_()

    run = open_run(tuning.run)
    assert run.finished
    assert run.results.keys() & {"test", "val"} == {"val"}
    assert [folder.name for folder in (tuning.run.parents[1]).iterdir()] == [str(tuning.best.number)]
    assert evaluate(run, split="test", registry=registry).count == 18  # for the first time

    started, result = recorder.events[0], recorder.events[-1]
    assert isinstance(started, StudyStarted)
    assert isinstance(result, StudyResult)
    assert (result.best, result.missing, result.first_value) == (tuning.best.number, 0, tuning.trials[0].value)
    assert [(event.trial, event.done) for event in trial_events(recorder)] == [(n, n) for n in (1, 2, 3)]
    assert not [event for event in recorder.events if isinstance(event, EpochResult)]
    assert any(event.what.startswith("trial 2: epoch") for event in recorder.events if isinstance(event, Work))


@pytest.mark.slow
def test_pictures_and_importances_are_those_of_the_trials(search):
    tuning = search(5)
    assert sum(tuning.importances.values()) == pytest.approx(1)
    assert tuning.importances.keys() == SEARCH.keys()
    with Image.open(tuning.picture) as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_the_recipe_repeats_the_best_trial_and_evaluates_the_test_photos(search, registry, tmp_path):
    tuning = search(4)
    machine = {name: VALUES[name] for name in ("data", "device", "workers")}
    run = zoo.finetune(recipe=tuning.recipe, registry=registry, runs=tmp_path / "final", pictures=False, **machine)
    best = open_run(tuning.run)
    assert run.results["val"]["accuracy"] == best.results["val"]["accuracy"]
    assert [row["val_loss"] for row in run.metrics()] == [row["val_loss"] for row in best.metrics()]
    assert run.results["test"]["count"] == 18


@pytest.mark.slow
def test_the_same_seed_repeats_the_study_and_a_restart_continues_it(search, tmp_path):
    whole = search(6, runs=tmp_path / "a")
    search(2, runs=tmp_path / "b")
    resumed = search(6, runs=tmp_path / "b")
    assert [(t.values, t.value, t.state) for t in resumed.trials] == [
        (t.values, t.value, t.state) for t in whole.trials
    ]
    assert search(6, runs=tmp_path / "b").trials == resumed.trials  # nothing is left to do
    other = search(2, runs=tmp_path / "c", seed=1)
    assert other.trials[1].values != whole.trials[1].values


@pytest.mark.slow
def test_bad_trials_are_pruned_and_their_runs_deleted(search, recorder, monkeypatch):
    monkeypatch.setattr("zoo.training.tuning.study._TRIALS_BEFORE_PRUNING", 1)
    tuning = search(4, search={"lr": [1e-2, 1e-9, 1e-8]}, epochs=3, ema=None, observer=recorder)
    pruned = [trial for trial in tuning.trials if trial.state == "pruned"]
    assert pruned
    assert {max(trial.epochs) for trial in pruned} <= {1, 2}
    assert all(trial.value is None for trial in pruned)
    event = next(event for event in trial_events(recorder) if event.state == "pruned")
    assert event.reason == f"after epoch {event.epochs}"
    assert len([*tuning.run.parents[1].iterdir()]) == 1


def test_ctrl_c_leaves_the_result_so_far_and_the_trial_for_the_next_process(search, tmp_path):
    recorder = EventRecorder(lambda event: isinstance(event, Work) and event.what.startswith("trial 2: epoch 1"))
    with pytest.raises(KeyboardInterrupt):
        search(3, observer=recorder)
    result = recorder.events[-1]
    assert isinstance(result, StudyResult)
    assert (result.counts, result.missing, result.best) == ({"finished": 1, "failed": 1}, 2, 1)
    assert not [event for event in recorder.events if isinstance(event, Note)]
    tuning = search(3)
    assert [trial.state for trial in tuning.trials] == ["finished", "failed", "finished", "finished"]
    assert (tuning.trials[1].values, tuning.trials[1].reason) == (tuning.trials[2].values, "interrupted")


@pytest.mark.slow
def test_the_time_limits_the_trials_and_stops_the_last(search, recorder):
    tuning = search(None, minutes=0.02, observer=recorder)
    assert 0 < len(tuning.trials) < 200
    assert recorder.events[0].trials is None
    unfinished = [trial for trial in tuning.trials if trial.state != "finished"]
    assert {trial.reason or "waiting" for trial in unfinished if trial.state != "pruned"} <= {
        *("the time was over", "waiting")
    }


def test_a_trial_that_diverges_is_pruned_and_one_that_fails_ends_no_study(search, monkeypatch):
    train = loop.run_trial.__globals__["train_config"]
    failing = iter([zoo.errors.DivergedError("The loss is NaN."), TrainingError("No memory."), None, None])

    def train_or_fail(config, **arguments):
        if error := next(failing):
            raise error
        return train(config, **arguments)

    monkeypatch.setitem(loop.run_trial.__globals__, "train_config", train_or_fail)
    tuning = search(3)
    assert [trial.state for trial in tuning.trials] == ["pruned", "failed", "finished", "finished"]
    assert [trial.reason for trial in tuning.trials[:2]] == ["diverged", "No memory."]


@pytest.mark.parametrize(("error", "tried"), [(PluginError("It fails."), 3), (DataError("No photo."), 1)])
def test_errors_that_every_trial_has_end_the_study(search, monkeypatch, recorder, error, tried):
    def fail(config, **arguments):
        raise error

    monkeypatch.setitem(loop.run_trial.__globals__, "train_config", fail)
    with pytest.raises(type(error), match=error.message):
        search(9, observer=recorder)
    assert recorder.notes == ["Stopped before a trial was finished. The same command continues the study."]
    assert len(trial_events(recorder)) == (tried if tried > 1 else 0)


@pytest.mark.slow
def test_all_trials_train_on_the_same_photos(search, tmp_path):
    search(1, study="mine")
    other = make_registry(FakePlugin(dataset=make_images(test=())))
    with pytest.raises(DataError, match="not those that other trials") as caught:
        search(2, study="mine", registry=other)
    assert "--study" in caught.value.hint


@pytest.mark.slow
def test_weights_may_be_a_run_and_a_plugin_chosen_by_the_search(search, registry, tmp_path):
    run = zoo.finetune("small", **{**FAST, "epochs": 1}, registry=registry, runs=tmp_path / "runs", pictures=False)
    space = {"weights": [run.name, "none"], "optimizer": "adamw,sgd", "optimizer-option.nesterov": "yes,no"}
    tuning = search(2, search=space, observer=zoo.events.ignore)
    assert [trial.state for trial in tuning.trials] == ["finished", "finished"]
    assert tuning.best.values["weights"] in (run.name, "none")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"search": {"lrr": "1..2"}}, ConfigError, "no option 'lrr' to search"),
        ({"search": {"lr": "1,2"}, "lr": 0.1}, ConfigError, "'lr' is both searched and set"),
        ({"search": {"backbone": "small,smoll"}, "backbone": None}, UnknownNameError, "no backbone 'smoll'"),
        ({"search": {"recipe": "default,defautl"}}, UnknownNameError, "no recipe 'defautl'"),
        ({"epochz": 2}, ConfigError, "no option 'epochz'"),
        ({"data": "./nowhere"}, DataError, "nowhere"),
        ({"minutes": -1}, ConfigError, "'minutes' is -1"),
        ({"trials": 0}, ConfigError, "'trials' is 0"),
        ({"study": "../mine"}, ConfigError, "not a valid name"),
        ({"devices": 2}, ConfigError, "single process"),
        ({"search": ["lr"]}, ConfigError, "argument 'search' cannot be of type list"),
    ],
)
def test_everything_is_checked_before_the_first_trial(search, tmp_path, values, error, message):
    with pytest.raises(error, match=message):
        search(**values)
    assert not (tmp_path / "runs" / "studies").exists()


@pytest.mark.slow
def test_a_backbone_may_be_searched_and_the_default_is_a_local_one(tmp_path):
    local = [dataclasses.replace(make_backbone_spec(name), is_local=lambda: True) for name in ("small", "tiny")]
    registry = make_registry(FakePlugin(backbones=local))
    arguments = {**VALUES, "epochs": 1, "registry": registry, "runs": tmp_path, "trials": 2}
    tuning = tune(search={"backbone": "small,tiny"}, **arguments)
    assert {trial.values["backbone"] for trial in tuning.trials} <= {"small", "tiny"}
    assert read_toml(tuning.recipe).values["backbone"] == tuning.best.values["backbone"]


@pytest.mark.parametrize(("module", "package"), [("optuna", "optuna"), ("sklearn", "scikit-learn")])
def test_a_missing_package_is_named(search, monkeypatch, module, package):
    find_spec = zoo.training.tuning.tune.importlib.util.find_spec
    monkeypatch.setattr(
        sys.modules["zoo.training.tuning.tune"].importlib.util,
        "find_spec",
        lambda name: None if name == module else find_spec(name),
    )
    with pytest.raises(MissingPackageError, match=f"needs the package {package}") as caught:
        search()
    assert "finetune-zoo[tune]" in caught.value.hint
