"""A trained run that the tests share. No test may change it."""

import pytest
from fakes import FakePlugin, make_registry
from training_runs import FAST

from zoo.training.finetune import finetune


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    runs, registry = tmp_path_factory.mktemp("runs"), make_registry(FakePlugin())
    values = {**FAST, "epochs": 2, "lr": 0.01}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        return finetune("small", runs=runs, registry=registry, pictures=False, **values)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ZOO_HOME", str(folder))
    return folder
