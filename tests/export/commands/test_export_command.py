"""``zoo export`` and ``zoo inspect`` as they are typed."""

import json

import pytest
from click.testing import CliRunner

import zoo_export.exporting
from zoo.errors import ConfigError, ExportError
from zoo.runs.manifest import check_folder, read_manifest, write_manifest
from zoo_export.commands.export import command as export_command
from zoo_export.commands.inspect import command as inspect_command
from zoo_export.commands.words import parity_told


@pytest.fixture
def invoke(small_registry, monkeypatch):
    monkeypatch.setattr(zoo_export.exporting, "load_registry", lambda: small_registry)

    def invoke(command, *args):
        return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)

    return invoke


def test_export_tells_where_the_file_is_and_what_proves_it(invoke, small_run, tmp_path):
    file = tmp_path / "m.onnx"
    write_manifest(tmp_path)
    result = invoke(export_command, small_run.path, "-o", file, "--device", "cpu", "--photos", 2)
    assert result.exit_code == 0
    assert file.is_file()
    assert str(file) in result.output
    assert "2 photos, in batches of 1, 2, 7: CPU 11 of 11 the same class, logits within" in result.output
    assert f"zoo inspect {file}" in result.output
    assert result.stderr == ""
    assert "m.onnx" in read_manifest(tmp_path)
    assert check_folder(tmp_path) == []


def test_not_verified_is_said_by_both(invoke, small_run, tmp_path):
    file = tmp_path / "m.onnx"
    assert "never compared" in invoke(export_command, small_run.path, "-o", file, "--no-verify").output
    assert "never compared" in invoke(inspect_command, file).output


def test_quiet_and_json(invoke, small_run, tmp_path):
    values = (small_run.path, "-o", tmp_path / "m.onnx", "--no-verify")
    assert invoke(export_command, *values, "--quiet").output == f"{tmp_path / 'm.onnx'}\n"
    told = json.loads(invoke(export_command, *values, "--json").output)
    assert told["path"] == str(tmp_path / "m.onnx")
    assert told["parity"] == {"verified": False}


def test_inspect_tells_all(invoke, exported):
    out = invoke(inspect_command, exported.path).output
    for told in (
        "image: uint8 (batch, height, width, 3)",
        "probabilities: float (batch, 3)",
        "3 classes (red, green, blue)",
        "shorter side to 16, centre crop, bilinear",
        "fake/small + fake/flat, softmax",
        exported.card.weights_sha256,
        "opset 18",
        "12 photos",
    ):
        assert told in out
    assert json.loads(invoke(inspect_command, exported.path, "--json").output)["card"]["parity"]["verified"]


def test_an_archive_for_torch(invoke, small_run, tmp_path, monkeypatch):
    import zoo_export.pt2

    monkeypatch.setattr(zoo_export.pt2, "load_registry", zoo_export.exporting.load_registry)
    file = tmp_path / "m.pt2"
    assert invoke(export_command, small_run.path, "--to", "pt2", "-o", file, "--no-verify", "-q").output == f"{file}\n"
    assert file.is_file()


@pytest.mark.parametrize(
    "option", [("--opset", 18), ("--precision", "int8"), ("--device", "cpu"), ("--input", "tensor")]
)
def test_options_that_would_do_nothing_are_refused(invoke, small_run, option):
    result = invoke(export_command, small_run.path, "--to", "pt2", *option)
    assert result.exit_code == 2
    assert f"{option[0]} has no meaning with --to pt2" in result.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--name", "x"), "--name has no meaning without --to triton"),
        (("--max-drop", 1), "--max-drop has no meaning in fp32"),
        (("--no-verify", "--photos", 3), "--photos has no meaning with --no-verify"),
        (("--no-verify", "--data", "x"), "--data has no meaning with --no-verify"),
        (("--no-verify", "--device", "cpu"), "--device has no meaning with --no-verify"),
    ],
)
def test_so_are_those_that_others_rule_out(invoke, small_run, tmp_path, options, told):
    result = invoke(export_command, small_run.path, "-o", tmp_path / "m.onnx", *options)
    assert result.exit_code == 2
    assert told in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "parity", [{"verified": True}, {"verified": True, "providers": 3, "batches": "x", "tolerance": "y"}, {}]
)
def test_any_report_is_told(parity):
    assert parity_told(parity)


def test_to_triton_adds_a_version_to_a_repository(invoke, small_run, tmp_path):
    values = (small_run.path, "-o", tmp_path / "m.onnx", "--no-verify", "--to", "triton", tmp_path / "models")
    served = tmp_path / "models" / small_run.name / "1"
    out = invoke(export_command, *values).output
    assert (served / "model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert f"python {served.parent}/client.py photo.jpg" in out
    assert json.loads(invoke(export_command, *values, "--json").output)["triton"] == str(served.parent / "2")
    assert invoke(export_command, *values, "--quiet", "--name", "x").output == f"{tmp_path}/models/x/1\n"


def test_what_triton_cannot_serve_is_told_before_anything_is_written(invoke, small_run, tmp_path):
    for wrong in (("--to", "triton"), (tmp_path / "models",)):
        result = invoke(export_command, small_run.path, *wrong)
        assert result.exit_code == 2
        assert "Say both '--to triton' and the folder" in result.output
    triton = (small_run.path, "-o", tmp_path / "m.onnx", "--to", "triton", tmp_path / "models")
    with pytest.raises(ConfigError, match="cannot name a model"):
        invoke(export_command, *triton, "--name", "a b")
    with pytest.raises(ExportError, match="takes normalised tensors"):
        invoke(export_command, *triton, "--input", "tensor")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models" / small_run.name).mkdir(parents=True)
    (tmp_path / "models" / small_run.name / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ExportError, match="serves other classes already"):
        invoke(export_command, *triton)
    assert not (tmp_path / "m.onnx").exists()
