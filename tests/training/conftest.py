"""Fixtures that train the small backbone in a second."""

import functools

import pytest
from training_runs import FAST

from zoo.inference import run_predictor
from zoo.training import finetune


@pytest.fixture(autouse=True)
def _without_graphs(monkeypatch):
    """Caches no graph of a finished run, which would take as long as its training."""
    monkeypatch.setattr(run_predictor, "cache_graph", lambda *_, **__: None)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def options():
    """Values that differ from `FAST` in all tests of a module, which overrides this fixture."""
    return {}


@pytest.fixture
def train(registry, runs, options):
    """Fine-tunes the small backbone without writing pictures, which take most of the time."""

    def train_small(backbone="small", **values):
        defaults = {"registry": registry, "runs": runs, "pictures": False, **FAST, **options}
        return finetune.finetune(backbone, **{**defaults, **values})

    return train_small


@pytest.fixture
def resume(registry):
    """Resumes a run without writing pictures."""
    return functools.partial(finetune.resume, registry=registry, pictures=False)
