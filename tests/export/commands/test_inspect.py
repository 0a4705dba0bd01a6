"""``zoo inspect``, as a user types it."""

import json

from onnx_files import write_model

from zoo_export.commands.inspect import command as inspect_command


def test_output_describes_the_file(invoke, exported):
    out = invoke(inspect_command, exported.path).output
    for text in (
        "image: uint8 (batch, height, width, 3)",
        "probabilities: float (batch, 3)",
        "3 classes (red, green, blue)",
        "shorter side to 16, centre crop, bilinear",
        "fake/small + fake/flat, softmax",
        exported.card.weights_sha256,
        "opset 18",
        "12 photos",
    ):
        assert text in out
    assert json.loads(invoke(inspect_command, exported.path, "--json").output)["card"]["parity"]["verified"]


def test_file_of_another_tool_has_no_card(invoke, tmp_path):
    write_model(tmp_path / "m.onnx", None)
    out = invoke(inspect_command, tmp_path / "m.onnx").output
    assert "'zoo export' did not write this file" in out


def test_tag_is_inspected(runs, zoo_command):
    zoo_command("runs", "tag", "r-1", "hotdog@prod")
    assert json.loads(zoo_command("inspect", "hotdog@prod", "--json"))["card"]["run"]["name"] == "r-1"
