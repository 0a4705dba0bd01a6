"""The export of a run to the target of a plugin."""

import pytest
from plugin_helpers import plugin_of

import zoo
from zoo.errors import ConfigError, ExportError, PluginError, UnknownNameError
from zoo.events import Note
from zoo.inference.export import export_run
from zoo.plugins.options import option
from zoo.plugins.registry import load_registry
from zoo.runs.exports import read_exports
from zoo.runs.record import RunRecord, write_record
from zoo.runs.run import RunFolder


@pytest.fixture
def run(tmp_path):
    (tmp_path / "r-1").mkdir()
    write_record(tmp_path / "r-1", RunRecord(status="finished"))
    return RunFolder(tmp_path / "r-1", RunRecord(status="finished"))


def registry_with(function, **fields):
    spec = zoo.ExportTargetSpec(**{"name": "text", "summary": "Text.", "export": function, **fields})
    return load_registry(extra={"acme": plugin_of(zoo_export_targets=lambda: [spec])})


def write_text(request):
    path = request.to or request.run / "run.txt"
    path.write_text(f"{request.verify} {request.data} {request.photos}", "utf-8")
    return path


def test_the_target_gets_the_request_and_the_export_is_recorded(run, tmp_path):
    registry = registry_with(write_text, usage=("cat {path}", "ls {path.parent}"))
    export = export_run(run, "text", registry=registry)
    assert export.path.read_text() == "True None 64"
    assert export.usage == (f"cat {export.path}", f"ls {run.path}")
    export_run(run, "acme/text", output=tmp_path / "x", verify=False, data="d", photos=2, registry=registry)
    assert (tmp_path / "x").read_text() == "False d 2"
    first, second = read_exports(run.path)
    assert (first.file, first.target, first.plugin, first.verified) == ("run.txt", "acme/text", "acme:acme", True)
    assert (second.file, second.verified) == ("x", False)


def test_a_failed_export_is_not_recorded(run):
    def refuse(request):
        raise ExportError("It is too large.")

    with pytest.raises(ExportError, match="too large"):
        export_run(run, "text", registry=registry_with(refuse))
    with pytest.raises(PluginError, match=r"acme.* failed while exporting to 'text': ZeroDivisionError"):
        export_run(run, "text", registry=registry_with(lambda request: 1 / 0))
    assert read_exports(run.path) == ()


@pytest.mark.parametrize("result", [None, "run.txt", 3])
def test_a_target_that_returns_no_path_is_named(run, result):
    with pytest.raises(PluginError, match=r"it returned .*, not the path of what it wrote") as caught:
        export_run(run, "text", registry=registry_with(lambda request: result))
    assert "acme" in caught.value.message


def test_an_export_that_cannot_be_recorded_is_still_an_export(run):
    (run.path / "exports.json").write_text("{}")
    events = []
    export = export_run(run, "text", registry=registry_with(write_text), observer=events.append)
    assert export.path.exists()
    (note,) = [event for event in events if isinstance(event, Note)]
    assert note.warning
    assert "The export is not recorded in the run folder: " in note.text


def test_unknown_targets_and_options_are_errors(run):
    with pytest.raises(UnknownNameError) as caught:
        export_run(run, "trito", registry=load_registry())
    assert "Did you mean export/triton?" in caught.value.hint
    with pytest.raises(ConfigError, match="export target onnx has no option 'opsett'") as caught:
        export_run(run, "onnx", options={"opsett": 18}, registry=load_registry())
    assert "Did you mean opset?" in caught.value.hint


def test_a_blocked_plugin_has_no_targets(run, monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "acme")
    with pytest.raises(UnknownNameError, match="There is no export target 'text'") as caught:
        export_run(run, "text", registry=registry_with(write_text))
    assert "The plugin acme:acme is blocked" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"function": 3}, "whose 'export' is 3, neither a function nor 'module:attribute'"),
        ({"function": write_text, "usage": "cat {path}"}, "whose 'usage' is 'cat {path}', not a tuple of lines"),
        ({"function": write_text, "usage": ("cat {file}",)}, "with another placeholder than {path}: 'cat {file}'"),
        ({"function": write_text, "options": option(3, help="x")}, "whose options are not a dataclass"),
    ],
)
def test_a_broken_target_is_left_out_and_the_others_work(run, fields, fault):
    registry = registry_with(**fields)
    (failed,) = registry.failures
    assert fault in failed.error
    with pytest.raises(UnknownNameError) as caught:
        export_run(run, "text", registry=registry)
    assert "The plugin acme:acme failed" in caught.value.hint
    assert fault in caught.value.hint
