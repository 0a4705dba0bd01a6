"""``zoo doctor`` on ONNX Runtime: real sessions."""

import importlib.util

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import ExportError
from zoo.testing import check_findings
from zoo_export import checks, zoo_checks
from zoo_export.providers import Obstacle


def found():
    return {finding.about: finding for finding in checks.check()}


def test_the_small_graph_is_what_it_is_said_to_be():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "XY")
    graph = helper.make_graph([helper.make_node("Relu", ["X"], ["Y"])], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    assert onnx.load_from_string(checks.RELU) == made


def test_it_keeps_the_contract_and_a_session_computes_here():
    (spec,) = zoo_checks()
    check_findings(spec)
    assert found()["ONNX on CPU"].status == "ok"


@pytest.mark.parametrize(
    ("obstacle", "status"),
    [
        (Obstacle("there is no NVIDIA driver", "Install one.", expected=True), "ok"),
        (Obstacle("libcurand.so.10 is missing", "Install it."), "problem"),
    ],
)
def test_cuda_is_a_problem_only_where_there_is_a_gpu(monkeypatch, obstacle, status):
    monkeypatch.setattr(checks, "cuda_obstacle", lambda: obstacle)
    told = found()["ONNX on CUDA"]
    assert told.status == status
    assert obstacle.reason in told.text
    assert told.advice == ("" if status == "ok" else "Install it.")


def test_what_fails_or_computes_wrongly_is_a_problem(monkeypatch):
    def refuse(*_, device, **__):
        raise ExportError(f"It cannot run on {device}.")

    monkeypatch.setattr(checks, "cuda_obstacle", lambda: None)
    monkeypatch.setattr(checks, "run", lambda *_, **__: [type("", (), {"tolist": lambda self: [0, 3]})()])
    assert found()["ONNX on CPU"].text == "it computes wrongly"
    monkeypatch.setattr(checks, "open_session", refuse)
    assert [found()[f"ONNX on {device}"].text for device in ("CPU", "CUDA")] == [
        "It cannot run on cpu.",
        "It cannot run on cuda.",
    ]


def test_clashing_packages_and_a_missing_exporter_are_told(monkeypatch):
    monkeypatch.setattr(checks, "package_conflict", lambda: Obstacle("both are installed", "Remove one."))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    told = found()
    assert (told["ONNX Runtime"].status, told["ONNX Runtime"].advice) == ("problem", "Remove one.")
    assert told["ONNX export"].status == "warning"
    assert "for want of onnxscript" in told["ONNX export"].text
