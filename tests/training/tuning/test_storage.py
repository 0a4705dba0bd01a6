import sqlite3
import sys

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from zoo.errors import ConfigError, RunError
from zoo.training.tuning import storage as storage_module
from zoo.training.tuning.storage import hide_password, open_storage, storage_errors


@pytest.fixture
def default(tmp_path):
    return tmp_path / "study.journal"


def test_the_default_is_a_journal_and_a_path_is_another_one(default, tmp_path):
    optuna.create_study(storage=open_storage("", default=default), study_name="a")
    optuna.create_study(storage=open_storage(str(tmp_path / "other"), default=default), study_name="b")
    assert optuna.get_all_study_names(open_storage("", default=default)) == ["a"]
    assert optuna.get_all_study_names(open_storage(str(tmp_path / "other"), default=default)) == ["b"]


@pytest.mark.slow
def test_the_url_of_a_database_is_one(default, tmp_path):
    url = f"sqlite:///{tmp_path / 'tune.db'}"
    optuna.create_study(storage=open_storage(url, default=default), study_name="a")
    assert (tmp_path / "tune.db").stat().st_size
    assert not default.exists()


@pytest.mark.parametrize(
    ("storage", "error", "message", "hint"),
    [
        ("tune.db", ConfigError, "the name of a database", "sqlite:///tune.db"),
        ("nowhere/tune.journal", ConfigError, "no folder nowhere", "Create it"),
        pytest.param("nosuch://host/db", RunError, "nosuch", "sqlite:///tune.db", marks=pytest.mark.slow),
        pytest.param(
            "sqlite:////nonexistent/tune.db", RunError, "unable to open database file", "", marks=pytest.mark.slow
        ),
        ("grpc://localhost", ConfigError, "has no port", "grpc://localhost:13000"),
    ],
)
def test_a_wrong_storage_is_reported(default, storage, error, message, hint):
    with pytest.raises(error) as caught:
        open_storage(storage, default=default)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_package_is_named(default, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match="needs the package grpcio") as caught:
        open_storage("grpc://localhost:13000", default=default)
    assert "install grpcio" in caught.value.hint


def test_a_journal_with_an_incomplete_last_line_goes_on_without_it(default):
    study = optuna.create_study(storage=open_storage("", default=default), study_name="a")
    study.ask()
    with default.open("a") as file:
        file.write('{"op_code": 4, "worker')
    study = optuna.load_study(storage=open_storage("", default=default), study_name="a")
    study.ask()
    assert len(optuna.load_study(storage=open_storage("", default=default), study_name="a").trials) == 2


def test_another_file_is_no_journal(default):
    default.write_text("lr = 0.1\nepochs = 3\n")
    with pytest.raises(RunError, match=r"study\.journal cannot be used"), storage_errors(str(default)):
        optuna.create_study(storage=open_storage("", default=default), study_name="a")


def test_errors_of_others_pass_and_passwords_are_hidden():
    with pytest.raises(ZeroDivisionError), storage_errors("sqlite:///a.db"):
        raise ZeroDivisionError
    assert hide_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert hide_password("runs/a.journal") == "runs/a.journal"


def test_tables_that_another_process_creates_meanwhile_are_no_error(tmp_path, monkeypatch):
    tried = []

    def open_database(*args, **kwargs):
        tried.append(args)
        if len(tried) == 1:
            cause = sqlite3.OperationalError("table studies already exists")
            raise OperationalError("CREATE TABLE studies", None, cause)
        return "the storage"

    monkeypatch.setattr(storage_module, "RDBStorage", open_database)
    assert open_storage(f"sqlite:///{tmp_path}/tune.db", default=tmp_path / "journal") == "the storage"
    assert len(tried) == 2
