"""Every public function answers an argument of a wrong type or value with a `ZooError`, and no other exception."""

import contextlib
import inspect
import math
from pathlib import Path

import pytest
from PIL import Image

import zoo
from zoo.errors import ZooError

SMALL = {"image_size": 32, "epochs": 1}  # a backbone of None is a valid argument
# What else each function is called with: enough to reach the argument that is wrong.
CALLS = {
    "check_data": {"data": "photos"},
    "check_server": {"url": "http://127.0.0.1:9", "about": "a server", "timeout": 0.1},
    "compare": {"backbone": "no-such-backbone", "data": "photos", "grid": {"lr": [1e-3]}},
    "cross_validate": {"backbone": "no-such-backbone", "data": "photos"},
    "evaluate": {"model": "no-such-run", "data": "photos"},
    "evaluate_paired": {"models": ["one", "two"], "data": "photos"},
    "find_best": {"data": "photos", "backbones": ["no-such-backbone"], "only": True},
    "find_suspects": {"data": "photos", "backbone": "no-such-backbone"},
    "finetune": {"backbone": "no-such-backbone", "data": "photos", **SMALL},
    "list_runs": {},
    "load": {"run": "no-such-run"},
    "load_images": {"data": "photos"},
    "load_registry": {},
    "make_config": {"backbone": "resnet18", "data": "photos"},
    "open_run": {"reference": "no-such-run"},
    "read_settings": {"path": "no-such-file.toml"},
    "resume": {"reference": "no-such-run"},
    "resume_search": {"folder": "no-such-search"},
    "stress": {"models": "no-such-run", "minutes": 1},
    "tune": {"backbone": "no-such-backbone", "data": "photos", "search": {"lr": "0.1,0.2"}, "trials": 1, **SMALL},
    "write_report": {"run": "no-such-run"},
    "resume_cross_validation": {"reference": "no-such-folds"},
}
# `option` is used when a plugin is imported, which reports any exception; `progress` has no argument.
EXEMPT = {"option", "progress"}
WRONG = {
    "a number": 3,
    "NaN": math.nan,
    "an object": object(),
    "bytes": b"x",
    "a list of numbers": [1],
    "a dict with numbers as keys": {1: 2},
    "text": "nonsense",
    "NUL": "a\0b",
    "no text at all": "\udcff",
    "a long name": "x" * 5000,
    "a set": {1},
    "a class": int,
    "None": None,
    "True": True,
    "a path": Path("x"),
}
FUNCTIONS = {name for name in zoo.__all__ if inspect.isfunction(getattr(zoo, name))}
PARAMETERS = [
    (name, parameter.name)
    for name in CALLS
    for parameter in inspect.signature(getattr(zoo, name)).parameters.values()
    if parameter.kind is not parameter.VAR_POSITIONAL
]
CALLBACKS = {"observer", "progress", "timeout"}  # called with whatever is given, if that can be called


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name, colour in (("a", (200, 0, 0)), ("b", (0, 0, 200))):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (32, 32), tuple(value + 5 * number for value in colour)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)


def test_every_public_function_is_called():
    assert CALLS.keys() | EXEMPT == FUNCTIONS


@pytest.mark.slow
@pytest.mark.parametrize(("function", "parameter"), PARAMETERS)
def test_a_wrong_argument_is_a_zoo_error(photos, function, parameter):
    for what, value in WRONG.items():
        if callable(value) and parameter in CALLBACKS:
            continue
        with contextlib.suppress(ZooError):
            try:
                getattr(zoo, function)(**{**CALLS[function], parameter: value})
            except Exception as error:
                error.add_note(f"for {what}")
                raise
