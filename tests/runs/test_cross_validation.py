import json

import pytest
from run_files import CREATED, write_json_record

from zoo.errors import RunError
from zoo.runs.cross_validation import (
    FOLDS,
    CrossValidationRecord,
    find_cross_validation,
    list_cross_validations,
    open_cross_validation,
    read_folds,
    write_folds,
)
from zoo.runs.lock import locked_folder
from zoo.runs.manage import check_deletion, delete_run, rename_run
from zoo.runs.open import open_run
from zoo.runs.run import list_runs


@pytest.fixture
def make_folds(tmp_path):
    def make(name="net-5fold-1", *, status="finished", created=CREATED):
        folder = tmp_path / "runs" / name
        for number in (1, 2):
            (folder / f"fold-{number}").mkdir(parents=True)
            write_json_record(folder / f"fold-{number}", {"status": "finished", "created": CREATED})
        write_folds(folder, CrossValidationRecord(status=status, created=created, folds=2, data="dogs"))
        return folder

    return make


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = CrossValidationRecord(
        created=CREATED, folds=5, data="dogs", config={"lr": 0.1}, results={"accuracy": 0.5, "loss": float("nan")}
    )
    write_folds(tmp_path, record)
    assert read_folds(tmp_path).results == {"accuracy": 0.5, "loss": None}
    assert read_folds(tmp_path).config == {"lr": 0.1}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "status": 3}'])
def test_a_damaged_record_is_an_error_that_names_it_and_is_not_listed(tmp_path, make_folds, text):
    folder = make_folds()
    (folder / FOLDS).write_text(text)
    with pytest.raises(RunError, match=r"folds\.json"):
        read_folds(folder)
    assert list_cross_validations(tmp_path / "runs") == []


def test_it_is_found_by_path_and_by_name(tmp_path, make_folds):
    folder = make_folds()
    for reference in (folder, str(folder), folder.name):
        assert open_cross_validation(reference, runs=tmp_path / "runs").path == folder
    assert find_cross_validation("nothing", runs=tmp_path / "runs") is None
    with pytest.raises(RunError, match="There is no cross-validation 'net-5fold-2'") as caught:
        open_cross_validation("net-5fold-2", runs=tmp_path / "runs")
    assert caught.value.hint == "Did you mean net-5fold-1?"


def test_its_runs_are_not_listed_among_the_others_but_can_be_opened(tmp_path, make_folds):
    make_folds()
    assert list_runs(tmp_path / "runs") == []
    assert open_run("net-5fold-1/fold-2", runs=tmp_path / "runs").name == "fold-2"
    with pytest.raises(RunError, match="is not a run") as caught:
        open_run("net-5fold-1", runs=tmp_path / "runs")
    assert "its runs are" in caught.value.hint


def test_it_is_stopped_if_no_process_trains_it(make_folds):
    found = open_cross_validation(make_folds(status="training"))
    assert found.status == "stopped"
    with locked_folder(found.path):
        assert found.status == "training"


def test_it_is_deleted_as_a_whole(tmp_path, make_folds):
    folder = make_folds()
    delete_run(open_cross_validation(folder))
    assert not folder.exists()
    assert list_cross_validations(tmp_path / "runs") == []


@pytest.mark.parametrize("inner", [".", "fold-2"])
def test_it_is_not_deleted_while_a_process_trains_a_fold(make_folds, inner):
    folder = make_folds()
    with locked_folder(folder / inner), pytest.raises(RunError, match="A process is training"):
        check_deletion(open_cross_validation(folder))


@pytest.mark.parametrize("weights", ["net-5fold-1/fold-1", "{runs}/net-5fold-1/fold-1"])
def test_an_unfinished_run_that_starts_from_a_fold_follows_a_new_name(tmp_path, make_folds, weights):
    runs = tmp_path / "runs"
    folder = make_folds()
    (runs / "other-1").mkdir()
    config = {"weights": weights.format(runs=runs)}
    write_json_record(runs / "other-1", {"status": "interrupted", "created": CREATED, "config": config})
    renamed = rename_run(open_cross_validation(folder), "signs")
    assert (renamed.name, renamed.finished) == ("signs", True)
    assert [run.name for run in renamed.runs()] == ["fold-1", "fold-2"]
    expected = config["weights"].replace("net-5fold-1", "signs")
    assert json.loads((runs / "other-1/run.json").read_text())["config"]["weights"] == expected
