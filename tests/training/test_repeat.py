"""A run is repeated bit for bit by the recipe that `zoo recipe` prints."""

import pytest
from fakes import FakePlugin, make_registry
from training_runs import FAST, assert_same_results

import zoo
import zoo_heads
from zoo.config import change_config
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.runs.settings import requested_config, to_recipe
from zoo.training.finetune import finetune


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 2, "augment": (), "clip_grad": 1.0, "seed": 3},
        {"epochs": 1, "probe": True, "hflip": "auto", "head": "linear"},
        {"epochs": 1, "freeze": "all", "optimizer": "lbfgs", "head": "linear", "limit": 30},
    ],
    ids=["from photos", "with a probe", "frozen"],
)
def test_the_recipe_of_a_run_repeats_it(tmp_path, registry_with_heads, values):
    settings = {"registry": registry_with_heads, "pictures": False}
    run = finetune("small", **{**FAST, **values}, runs=tmp_path / "first", **settings)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(to_recipe(run), encoding="utf-8")
    again = finetune(data="colours", recipe=recipe, runs=tmp_path / "second", **settings)
    assert_same_results(run, again)
    assert again.record.other_plugins == {}
    like = finetune(change_config(requested_config(run), {}), runs=tmp_path / "third", **settings)
    assert_same_results(run, like)


def test_what_a_run_chose_itself_is_recorded_as_it_was_requested(tmp_path, registry_with_heads):
    run = finetune(
        "small",
        **{**FAST, "epochs": 1, "probe": True, "head": "linear", "batch_size": "auto"},
        runs=tmp_path,
        registry=registry_with_heads,
        pictures=False,
    )
    assert run.record.requested["hflip"] == "auto"
    assert run.record.requested["batch_size"] == "auto"
    assert run.config["batch_size"] == 32
    assert run.record.other_plugins == {"finetune-zoo:recipes": zoo.__version__}


@pytest.fixture
def registry_with_heads():
    """The registry of the tests, with the built-in heads, from which a probe chooses."""
    heads = Candidate(entry="heads", distribution=DISTRIBUTION, version="1.2", load=lambda: zoo_heads)
    return make_registry(FakePlugin(), others=[heads])
