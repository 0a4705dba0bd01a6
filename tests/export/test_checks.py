"""The checks of ``zoo doctor`` for ONNX Runtime, with real sessions."""

import importlib.util

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import ExportError
from zoo.testing import check_findings
from zoo_export import checks, zoo_checks
from zoo_export.runtime.providers import Obstacle


def findings():
    return {finding.about: finding for finding in checks.check_export()}


def test_small_graph_is_one_relu():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "XY")
    graph = helper.make_graph([helper.make_node("Relu", ["X"], ["Y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    assert onnx.load_from_string(checks.RELU) == model


def test_spec_keeps_the_contract_and_a_session_runs_here():
    (spec,) = zoo_checks()
    check_findings(spec)
    assert findings()["ONNX on CPU"].status == "ok"


@pytest.mark.parametrize(
    ("obstacle", "status"),
    [
        (Obstacle("there is no NVIDIA driver", "Install one.", expected=True), "ok"),
        (Obstacle("libcurand.so.10 is missing", "Install it."), "problem"),
    ],
)
def test_missing_cuda_is_a_problem_only_with_a_gpu(monkeypatch, obstacle, status):
    monkeypatch.setattr(checks, "cuda_obstacle", lambda: obstacle)
    finding = findings()["ONNX on CUDA"]
    assert finding.status == status
    assert obstacle.reason in finding.text
    assert finding.advice == ("" if status == "ok" else "Install it.")


def test_failing_session_and_wrong_result_are_problems(monkeypatch):
    def fail(*_, device, **__):
        raise ExportError(f"It cannot run on {device}.")

    monkeypatch.setattr(checks, "cuda_obstacle", lambda: None)
    monkeypatch.setattr(checks, "run_session", lambda *_, **__: [type("", (), {"tolist": lambda self: [0, 3]})()])
    assert findings()["ONNX on CPU"].text == "a session returns wrong results"
    monkeypatch.setattr(checks, "open_session", fail)
    assert [findings()[f"ONNX on {device}"].text for device in ("CPU", "CUDA")] == [
        "It cannot run on cpu.",
        "It cannot run on cuda.",
    ]


def test_conflicting_packages_and_missing_exporter_are_reported(monkeypatch):
    monkeypatch.setattr(checks, "package_conflict", lambda: Obstacle("both are installed", "Remove one."))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    found = findings()
    assert (found["ONNX Runtime"].status, found["ONNX Runtime"].advice) == ("problem", "Remove one.")
    assert found["ONNX export"].status == "warning"
    assert found["ONNX export"].text.endswith("not installed: onnxscript")
