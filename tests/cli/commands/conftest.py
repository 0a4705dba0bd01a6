"""Runs commands in this process, with plugins made up for the test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
from run_files import write_json_record

import zoo.plugins.registry
import zoo_recipes
from zoo import (
    BackboneCard,
    BackboneFamily,
    BackboneSpec,
    CheckSpec,
    DatasetSpec,
    Finding,
    FormatSpec,
    HeadSpec,
    LossSpec,
    PhotoPredictor,
    Preprocess,
    WeightsInfo,
    hookimpl,
)
from zoo.cli.main import main
from zoo.errors import ConfigError, ExportError
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.options import option


class Result(NamedTuple):
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class MlpOptions:
    hidden: int = option(512, help="Width of the hidden layer.", minimum=1)


def build_tiny(request):
    from torch import nn

    from zoo import StagedBackbone

    assert not request.pretrained
    return StagedBackbone({"stem": nn.Conv2d(3, 8, 3), "body": nn.Conv2d(8, 16, 3)}, width=16)


def tiny(name="tiny"):
    card = BackboneCard(
        preprocess=Preprocess(size=(32, 32), resize=36),
        weights=WeightsInfo(name="V1", source="https://example.org/tiny.pth", licence="CC0-1.0", accuracy=61.25),
    )
    return BackboneSpec(name=name, build=build_tiny, card=lambda: card, summary="A tiny network.")


class Vision:
    """Replaces zoo_torchvision."""

    @staticmethod
    @hookimpl
    def zoo_backbones():
        return [tiny()]


class Family:
    """Replaces zoo_timm."""

    @staticmethod
    @hookimpl
    def zoo_backbones():
        known = {name: tiny(name) for name in ("tiny", "tiny_v2", "vast")}
        return [BackboneFamily(name="many", names=lambda: list(known), resolve=known.get, summary="Many networks.")]


class Heads:
    @staticmethod
    @hookimpl
    def zoo_heads():
        return [
            HeadSpec(name="linear", build=lambda request: None, summary="One linear layer."),
            HeadSpec(name="mlp", build=lambda request: None, options=MlpOptions, summary="Two layers."),
        ]


class Datasets:
    @staticmethod
    @hookimpl
    def zoo_datasets():
        return [DatasetSpec(name="dogs", load=lambda request: None, summary="Photos of dogs.", licence="CC-BY-4.0")]


def candidate(entry, plugin, distribution=DISTRIBUTION):
    return Candidate(entry=entry, distribution=distribution, version="1.2", load=lambda: plugin)


@pytest.fixture
def plugins(monkeypatch):
    """Replaces the installed plugins; a test may append to the list."""
    listed = [
        candidate("torchvision", Vision),
        candidate("recipes", zoo_recipes),
        candidate("timm", Family),
        candidate("heads", Heads),
        candidate("datasets", Datasets),
    ]
    monkeypatch.setattr(zoo.plugins.registry, "find_plugins", lambda: listed)
    return listed


@pytest.fixture
def run_zoo(plugins, capsys, monkeypatch, tmp_path):
    """Returns a function that runs a command in an empty folder, and returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Result(stopped.value.code, out, err)

    return run


@pytest.fixture
def make_run(tmp_path):
    """Returns a function that writes the record of a run below runs/."""

    def make(name="tiny-linear-dogs-1", *, status="finished", results=None, created="2026-01-01T00:00:00+00:00"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        scored = {"test": {"accuracy": 0.931, "interval": [0.911, 0.947], "count": 800}, "seconds": 192.0}
        record = {
            "status": status,
            "created": created,
            "backbone": "torchvision/tiny",
            "head": "heads/linear",
            "config": {"backbone": "tiny", "head": "linear", "data": "dogs", "recipe": "default"},
            "classes": ["cat", "dog"],
            "data": {"name": "dogs"},
            "results": scored if results is None else results,
        }
        write_json_record(folder, record)
        return folder

    return make


@pytest.fixture
def third_party():
    """A plugin of another distribution, whose backbone has the name of a built-in one."""
    return candidate("tinies", Vision, "acme")


@pytest.fixture
def local():
    """A plugin with backbones and a dataset that need no download."""

    class Local:
        @staticmethod
        @hookimpl
        def zoo_backbones():
            fetched = BackboneFamily(
                name="nets",
                names=lambda: ["fetched", "unfetched"],
                resolve=lambda name: tiny(name) if name in ("fetched", "unfetched") else None,
                local_names=lambda: ["fetched"],
            )
            return [replace(tiny("fast"), is_local=lambda: True), fetched]

        @staticmethod
        @hookimpl
        def zoo_datasets():
            cats = DatasetSpec(name="cats", load=lambda request: None, summary="Photos of cats.")
            return [replace(cats, is_local=lambda cache: cache.parts[-3:] == ("datasets", "acme", "cats"))]

    return candidate("local", Local, "acme")


@pytest.fixture
def losses():
    """A plugin with a loss."""

    class Losses:
        @staticmethod
        @hookimpl
        def zoo_losses():
            return [LossSpec(name="hinge", summary="Of margins.", build=lambda request: None)]

    return candidate("losses", Losses, "acme")


@pytest.fixture
def broken():
    """A plugin that cannot be imported."""

    def load():
        raise ImportError("No module named 'acme_core'")

    return Candidate(entry="broken", distribution="acme", version="0.1", load=load)


@pytest.fixture
def raising():
    """A plugin whose family fails to list its names."""

    def names():
        raise ZeroDivisionError("1 / 0")

    class Raising:
        @staticmethod
        @hookimpl
        def zoo_backbones():
            return [BackboneFamily(name="ghosts", names=names, resolve=lambda name: None)]

    return candidate("raising", Raising, "acme")


@pytest.fixture
def same_name():
    """A plugin whose head has the name of a built-in backbone."""

    class SameName:
        @staticmethod
        @hookimpl
        def zoo_heads():
            return [HeadSpec(name="tiny", build=lambda request: None)]

    return candidate("tinies", SameName, "acme")


class BoxPredictor(PhotoPredictor):
    """Predicts "dog" with a probability of 0.75 for every photo, and NaN for one that is black."""

    def __init__(self, path):
        self.name, self.classes, self.preprocess = str(path), ("cat", "dog"), Preprocess(size=(8, 8), resize=8)

    def probabilities(self, images):
        return np.float32([[0.25, 0.75] if image.any() else [np.nan, np.nan] for image in images])


@pytest.fixture
def opener():
    """A plugin that opens files whose name ends with .box, and checks what it needs."""

    def load(request):
        content = request.path.read_text()
        if content == "broken":
            raise ExportError(f"{request.path} is broken.", hint="Export it again.")
        if content == "bug":
            raise ZeroDivisionError("1 / 0")
        if request.device not in ("auto", "cpu"):
            raise ConfigError(f"There is no {request.device} here.")
        return BoxPredictor(request.path)

    class Opener:
        @staticmethod
        @hookimpl
        def zoo_formats():
            return [FormatSpec(name="box", suffixes=(".box",), load=load)]

        @staticmethod
        @hookimpl
        def zoo_checks():
            return [CheckSpec(name="box", run=lambda: [Finding(about="boxes", status="ok", text="There are some.")])]

    return candidate("opener", Opener, "acme")
