"""The plugin itself: its hooks and its public names."""

import importlib

import click
import pytest

import zoo_export
from zoo.cli.groups import LazyGroup
from zoo.plugins.options import describe_options
from zoo.testing import check_export_target, check_format
from zoo_export import zoo_export_targets
from zoo_export.runtime.predictor import OnnxPredictor, load


def test_format_keeps_the_contract():
    (spec,) = zoo_export.zoo_formats()
    assert spec.suffixes == (".onnx", ".onnx.age")
    check_format(spec)


def test_every_command_can_be_imported():
    group = LazyGroup()
    zoo_export.zoo_commands(group)
    assert list(group.lazy) == ["export", "inspect", "verify", "sign", "encrypt", "decrypt"]
    for name, lazy in group.lazy.items():
        module, _, attribute = lazy.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        assert command.name == name


def test_public_names_are_loaded_on_demand():
    assert (zoo_export.load, zoo_export.OnnxPredictor) == (load, OnnxPredictor)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        zoo_export.nosuch  # noqa: B018


def test_targets_are_offered_with_their_options():
    found = {spec.name: [info.name for info in describe_options(spec.options)] for spec in zoo_export_targets()}
    onnx = ["input", "precision", "opset", "max_drop", "device"]
    assert found == {"onnx": onnx, "pt2": [], "triton": [*onnx, "name", "max_batch", "file"]}


@pytest.mark.slow
@pytest.mark.parametrize("spec", zoo_export_targets(), ids=lambda spec: spec.name)
def test_targets_keep_the_contract(spec):
    check_export_target(spec, options={"device": "cpu"} if spec.name != "pt2" else {})
