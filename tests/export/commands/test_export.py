"""``zoo export``, as a user types it."""

import json

import pytest
from fakes import make_registry
from plugin_helpers import plugin_of

from zoo.errors import ConfigError, ExportError, UnknownNameError
from zoo.plugins.specs import ExportTargetSpec
from zoo.runs.manifest import check_folder, read_manifest, write_manifest
from zoo_export.commands.export import command as export_command
from zoo_export.commands.inspect import command as inspect_command


def test_output_names_the_file_and_its_verification(invoke, small_run, tmp_path):
    file = tmp_path / "m.onnx"
    write_manifest(tmp_path)
    result = invoke(export_command, small_run.path, "-o", file, "--device", "cpu", "--photos", 2)
    assert result.exit_code == 0
    assert file.is_file()
    assert str(file) in result.output
    assert (
        "2 photos, in batches of 1, 2, 7: CPU: the same class in 11, as familiar in 11 of 11, logits within"
        in result.output
    )
    assert f"zoo inspect {file}" in result.output
    assert result.stderr == ""
    assert "m.onnx" in read_manifest(tmp_path)
    assert check_folder(tmp_path) == []


def test_no_verify_is_shown_by_export_and_inspect(invoke, small_run, tmp_path):
    file = tmp_path / "m.onnx"
    assert "never compared" in invoke(export_command, small_run.path, "-o", file, "--no-verify").output
    assert "never compared" in invoke(inspect_command, file).output


def test_quiet_and_json(invoke, small_run, tmp_path):
    values = (small_run.path, "-o", tmp_path / "m.onnx", "--no-verify")
    assert invoke(export_command, *values, "--quiet").output == f"{tmp_path / 'm.onnx'}\n"
    result = json.loads(invoke(export_command, *values, "--json").output)
    assert result["path"] == str(tmp_path / "m.onnx")
    assert result["parity"] == {"verified": False}


def test_archive_for_torch(invoke, small_run, tmp_path):
    file = tmp_path / "m.pt2"
    assert invoke(export_command, small_run.path, "--to", "pt2", "-o", file, "--no-verify", "-q").output == f"{file}\n"
    assert file.is_file()


@pytest.mark.parametrize(
    "option", [("--opset", 18), ("--precision", "int8"), ("--device", "cpu"), ("--input", "tensor")]
)
def test_options_without_effect_are_refused(invoke, small_run, option):
    result = invoke(export_command, small_run.path, "--to", "pt2", *option)
    assert result.exit_code == 2
    assert f"{option[0]} has no effect with --to pt2" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "x"), "--name has no effect with --to onnx"),
        (("--max-drop", 1), "--max-drop has no effect in fp32"),
        (("--no-verify", "--photos", 3), "--photos has no effect with --no-verify"),
        (("--no-verify", "--data", "x"), "--data has no effect with --no-verify"),
        (("--no-verify", "--device", "cpu"), "--device has no effect with --no-verify"),
    ],
)
def test_options_that_exclude_each_other_are_refused(invoke, small_run, tmp_path, options, message):
    result = invoke(export_command, small_run.path, "-o", tmp_path / "m.onnx", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_to_triton_adds_a_version_to_a_repository(invoke, small_run, tmp_path):
    values = (small_run.path, "-o", tmp_path / "m.onnx", "--no-verify", "--to", "triton", tmp_path / "models")
    version = tmp_path / "models" / small_run.name / "1"
    out = invoke(export_command, *values).output
    assert (version / "model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert f"tritonserver --model-repository {tmp_path}/models" in out
    assert f"python {version.parent}/client.py photo.jpg" in out
    assert json.loads(invoke(export_command, *values, "--json").output)["path"] == str(version.parent / "2")
    assert invoke(export_command, *values, "--quiet", "--name", "x").output == f"{tmp_path}/models/x/1\n"


def test_options_of_a_target_are_also_set_by_name(invoke, small_run, tmp_path):
    values = (small_run.path, tmp_path / "models", "--to", "triton", "--no-verify", "--quiet")
    options = ("--target-option", "name=x", "--target-option", "max_batch=3")
    assert invoke(export_command, *values, *options).output == f"{tmp_path}/models/x/1\n"
    assert "max_batch_size: 3" in (tmp_path / "models/x/config.pbtxt").read_text()
    with pytest.raises(ConfigError, match="export target pt2 has no option 'opset'"):
        invoke(export_command, small_run.path, "--to", "pt2", "--target-option", "opset=18")
    result = invoke(export_command, small_run.path, tmp_path / "a.pt2", "-o", tmp_path / "b.pt2", "--to", "pt2")
    assert "--output beside PATH has no effect with --to pt2" in result.output


def test_an_unknown_target_is_an_error_with_near_names(invoke, small_run):
    with pytest.raises(UnknownNameError, match="There is no export target 'text'") as caught:
        invoke(export_command, small_run.path, "--to", "text")
    assert "'zoo list export-targets' lists them all" in caught.value.hint


def test_a_target_of_a_third_party_plugin(invoke, small_run, tmp_path, monkeypatch):
    def export(request):
        request.to.write_text(f"{request.options} {request.photos} {request.data} {request.verify}")
        return request.to

    spec = ExportTargetSpec(name="text", export=export, usage=("cat {path}",))
    registry = make_registry(plugin_of(zoo_export_targets=lambda: [spec]), "acme")
    monkeypatch.setattr("zoo_export.commands.export.load_registry", lambda: registry)
    file = tmp_path / "run.txt"
    values = (small_run.path, "--to", "text", "-o", file)
    out = invoke(export_command, *values, "--photos", 3, "--data", "d").output
    assert file.read_text() == "NoOptions() 3 d True"
    assert [line.split() for line in out.splitlines()[1:4]] == [
        ["size", "20", "B"],
        ["target", "acme/text", "1.2"],
        ["verified", "yes,", "by", "the", "target"],
    ]
    assert out.endswith(f"What to try next:\n  cat {file}\n")
    assert "never compared" in invoke(export_command, *values, "--no-verify").output
    result = json.loads(invoke(export_command, *values, "--json").output)
    assert result == {"path": str(file), "target": "acme/text", "bytes": 24, "verified": True}
    for name in ("m.onnx", "m.pt2"):  # which are neither ONNX nor an archive, and have no card
        assert "yes, by the target" in invoke(export_command, small_run.path, tmp_path / name, "--to", "text").output


def test_run_that_triton_cannot_serve_fails_before_anything_is_written(invoke, small_run, tmp_path):
    triton = (small_run.path, "-o", tmp_path / "m.onnx", "--to", "triton", tmp_path / "models")
    with pytest.raises(ConfigError, match="is not a valid model name"):
        invoke(export_command, *triton, "--name", "a b")
    with pytest.raises(ExportError, match="takes normalised tensors"):
        invoke(export_command, *triton, "--input", "tensor")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models" / small_run.name).mkdir(parents=True)
    (tmp_path / "models" / small_run.name / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ExportError, match="already serves other classes"):
        invoke(export_command, *triton)
    assert not (tmp_path / "m.onnx").exists()
