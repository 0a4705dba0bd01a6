import dataclasses
import tomllib

import pytest
from run_files import record_of, write_json_record

from zoo.config import make_config
from zoo.errors import RunError
from zoo.runs.run import read_run
from zoo.runs.settings import requested_config, to_recipe


@pytest.fixture
def run_with(tmp_path):
    """Returns a run with this configuration, and with these values in its record."""

    def make(config, **values):
        folder = tmp_path / "tiny-1"
        folder.mkdir(exist_ok=True)
        record = record_of(config=config.to_dict(), status="finished", **values)
        write_json_record(folder, record.to_json(), version=2)
        return read_run(folder)

    return make


def restored(run, tmp_path, **values):
    path = tmp_path / "mine.toml"
    path.write_text(to_recipe(run), encoding="utf-8")
    return make_config(recipe=str(path), **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"recipe": "d2l"},
        {"recipe": "d2l", "weights": "none", "clip_grad": 0.5},
        {"freeze": "all", "head": "mlp", "head_options": {"hidden": 8, "dropout": 0.5}},
        {"freeze": 2, "views": 3, "lr": 1e-07, "patience": None, "hflip": "auto", "batch_size": "auto"},
        {"augment": ["a", "b"], "augment_options": {"a.x": 1}},
    ],
    ids=str,
)
def test_the_recipe_of_a_run_makes_its_configuration(run_with, tmp_path, values):
    config = make_config("resnet18", data="dogs", **values)
    again = restored(run_with(config), tmp_path, data="dogs")
    assert dataclasses.replace(again, recipe=config.recipe) == config


def test_the_recipe_has_what_was_requested_but_the_batch_size_that_was_chosen(run_with, tmp_path):
    chosen = make_config("resnet18", data="dogs", hflip=0.5, head_options={"stages": 3}, batch_size=128, lr=0.002)
    requested = {"hflip": "auto", "head_options": {}, "batch_size": "auto", "lr": 0.001}
    run = run_with(chosen, requested=requested)
    again = restored(run, tmp_path, data="dogs")
    assert (again.hflip, again.head_options, again.batch_size, again.lr) == ("auto", {}, 128, 0.002)
    config = requested_config(run)
    assert (config.hflip, config.head_options, config.batch_size, config.lr) == ("auto", {}, "auto", 0.001)


def test_data_and_trackers_are_no_part_of_it(run_with):
    config = make_config("resnet18", data="dogs", data_options={"size": 3}, tracker="jsonl", tracker_options={"x": 1})
    text = to_recipe(run_with(config))
    assert "# " in text
    assert "--data dogs --data-option size=3 --recipe" in text
    assert tomllib.loads(text).keys() == {"summary", "backbone", "patience"}


def test_paths_are_absolute(run_with, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.safetensors").touch()
    values = tomllib.loads(to_recipe(run_with(make_config("resnet18", data="dogs", weights="own.safetensors"))))
    assert values["weights"] == str(tmp_path / "own.safetensors")
    values = tomllib.loads(to_recipe(run_with(make_config("resnet18", data="dogs", weights="some-run"))))
    assert values["weights"] == "some-run"


def test_comments_say_what_the_file_does_not_repeat_and_cannot_add_values(run_with):
    config = make_config("resnet18", data="dogs\nepochs = 3")
    diverged = [{"message": "NaN", "lr": 0.1, "restart": False, "then": {"lr": 0.01}}]
    text = to_recipe(run_with(config, diverged=diverged, packages={"torch": "2.0\nlr = 3"}))
    assert "It diverged with lr 0.1, and was resumed with lr 0.01: this file does not repeat that." in text
    assert tomllib.loads(text).keys() == {"summary", "backbone", "patience"}


def test_an_unreadable_configuration_is_reported(run_with, tmp_path):
    run = run_with(make_config("resnet18", data="dogs"))
    write_json_record(run.path, run.record.to_json() | {"config": {"nonsense": 1}}, version=2)
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        to_recipe(read_run(run.path))
