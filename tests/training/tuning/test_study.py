import optuna
import pytest

from zoo.errors import ConfigError
from zoo.training.tuning.parameters import Parameter
from zoo.training.tuning.storage import open_storage
from zoo.training.tuning.study import MAX_KILLS, SharedStudy, open_study

PARAMETERS = (
    Parameter(name="lr", field="lr", low=1e-5, high=1e-2, log=True),
    Parameter(name="epochs", field="epochs", low=2, high=8, step=2),
    Parameter(name="augment", field="augment", choices=("none", "blur")),
)
SETTINGS = {"": {"epochs": 3, "augment": ()}, "search": {"lr": "1..2"}}


class FakeWorker:
    name = "me"

    def __init__(self, dead=()):
        self.dead = dead

    def is_dead(self, attributes, started):
        return attributes.get("worker") in self.dead


@pytest.fixture
def share(tmp_path):
    """Opens the study in a folder as a new process would."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def open_it(folder="a", *, seed=0, higher=False, dead=()):
        study, path = open_study(
            "", "", stem="small", studies=tmp_path / folder, settings=SETTINGS, higher_is_better=higher, seed=seed
        )
        return SharedStudy(study=study, parameters=PARAMETERS, worker=FakeWorker(dead), folder=path, storage=str(path))

    return open_it


def run_trials(shared, count):
    """Tells a made-up value for each of some trials, and returns what they tried."""
    tried = []
    for _ in range(count):
        trial = shared.start_trial(None)
        tried.append(dict(trial.params))
        shared.study.tell(trial, trial.params["lr"] + trial.params["epochs"])
    return tried


def test_values_are_in_their_ranges_and_the_same_for_the_same_seed_also_after_a_restart(share):
    tried = run_trials(share("a"), 14)
    assert all(1e-5 <= each["lr"] <= 1e-2 for each in tried)
    assert {each["epochs"] for each in tried} <= {2, 4, 6, 8}
    assert {each["augment"] for each in tried} == {"none", "blur"}
    again = run_trials(share("b"), 5) + run_trials(share("b"), 9)
    assert again == tried
    assert run_trials(share("c", seed=1), 3) != tried[:3]
    assert len({each["lr"] for each in tried}) == 14  # a restart repeats no value


def test_the_number_of_trials_is_that_of_all_processes(share):
    one, other = share(), share()
    first, second = one.start_trial(3), other.start_trial(3)
    third = one.start_trial(3)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    assert other.start_trial(3) is None  # the other ones are running
    one.study.tell(first, 1.0)
    other.study.tell(second, state=optuna.trial.TrialState.PRUNED)
    one.fail(third.number)
    assert one.counted() == 2
    assert other.start_trial(3).number == 3  # failed trials do not count


def test_of_two_processes_that_take_the_last_trial_at_once_one_keeps_it(share, monkeypatch):
    one, other = share(), share()
    monkeypatch.setattr(SharedStudy, "counted", lambda self: 0)
    one.start_trial(1)
    monkeypatch.setattr(SharedStudy, "trials", lambda self, *states: [] if len(states) == 1 else TRIALS(self, *states))
    assert other.start_trial(1) is None


TRIALS = SharedStudy.trials


def test_the_values_of_a_killed_process_are_tried_again_but_not_for_ever(share):
    tried = []
    for kills in range(1, MAX_KILLS + 1):
        victim = share()
        trial = victim.start_trial(5)
        trial.set_user_attr("worker", f"victim {kills}")
        tried.append(trial.params)
        assert [*share().fail_dead_trials()] == []
        assert [*share(dead=[f"victim {kills}"]).fail_dead_trials()] == [(trial.number, kills < MAX_KILLS)]
    assert tried == [tried[0]] * MAX_KILLS
    assert share().start_trial(5).params != tried[0]


def test_only_one_process_finds_a_killed_one(share):
    share().start_trial(5).set_user_attr("worker", "victim")
    finders = [share(dead=["victim"]).fail_dead_trials() for _ in range(2)]
    first = next(finders[0])
    assert first == (0, True)
    assert [*finders[1]] == []
    assert len(share().trials(optuna.trial.TrialState.WAITING)) == 1


def test_an_interrupted_trial_is_tried_again_and_is_no_kill(share):
    for _ in range(MAX_KILLS + 1):
        shared = share()
        trial = shared.start_trial(5)
        assert shared.fail(trial.number, again=True)
        assert not shared.fail(trial.number, again=True)
    assert len({tuple(each.params.items()) for each in share().trials()[:-1]}) == 1


@pytest.mark.parametrize(("higher", "best"), [(False, 1), (True, 2)])
def test_the_best_is_the_first_with_the_best_value(share, higher, best):
    shared = share(higher=higher)
    assert shared.best() is None
    for value in (2.0, 1.0, 3.0, 1.0, 3.0):
        shared.study.tell(shared.start_trial(None), value)
    assert shared.best().number == best


@pytest.mark.slow  # scikit-learn takes a second to import
def test_importances_need_four_finished_trials_with_different_values(share):
    shared = share()
    run_trials(shared, 3)
    assert shared.importances() == {}
    run_trials(shared, 9)
    shares = shared.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "epochs"


def open_named(folder, settings, name="", stem="small"):
    study, path = open_study("", name, stem=stem, studies=folder, settings=settings, higher_is_better=False, seed=0)
    study.ask()
    return study.study_name, path.name


def test_the_same_settings_continue_a_study_and_others_start_a_new_one(tmp_path):
    others = {"": {"epochs": 4}, "search": {"lr": "1..2"}}
    assert open_named(tmp_path, SETTINGS) == ("small", "small")
    assert open_named(tmp_path, others) == ("small-2", "small-2")
    assert open_named(tmp_path, SETTINGS) == ("small", "small")
    assert open_named(tmp_path, others) == ("small-2", "small-2")
    assert open_named(tmp_path, SETTINGS | {"": {"epochs": 3, "new_option": 1}})[0] == "small"  # of a later version


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"": {"epochs": 4}}, "epochs is 3 there, and 4 here"),
        ({"search": {"lr": "1..3"}}, r"search lr is 1\.\.2 there, and 1\.\.3 here"),
        ({"search": {"lr": "1..2", "dropout": "0,1"}}, "search dropout is not set there"),
    ],
)
def test_a_named_study_with_other_settings_is_an_error(tmp_path, changed, message):
    open_named(tmp_path, SETTINGS, "mine")
    with pytest.raises(ConfigError, match=message) as caught:
        open_named(tmp_path, SETTINGS | changed, "mine")
    assert "--study" in caught.value.hint


def test_a_study_of_another_program_is_left_alone(tmp_path):
    journal = str(tmp_path / "tune.journal")
    optuna.create_study(storage=open_storage(journal, default=tmp_path), study_name="mine").ask()
    with pytest.raises(ConfigError, match="made by another program"):
        open_study(journal, "mine", stem="", studies=tmp_path, settings=SETTINGS, higher_is_better=False, seed=0)
