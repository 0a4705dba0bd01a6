"""Checks ONNX Runtime with real sessions, and that runs can be exported."""

from __future__ import annotations

import importlib.util

import numpy as np

from zoo.errors import ExportError
from zoo.plugins.specs import Finding
from zoo_export.providers import CPU, cuda_obstacle, package_conflict, told_packages
from zoo_export.session import open_session, run

# A graph of one operator, Y = Relu(X) of float32 ``(2,)``, opset 18; tests/export/test_checks.py tells how it was made.
RELU = bytes.fromhex(
    "08083a330a0c0a0158120159220452656c751201675a0f0a0158120a0a08080112040a020802"
    "620f0a0159120a0a08080112040a02080242040a001012"
)


def check() -> list[Finding]:
    """Runs a small graph on the CPU and, where there is an NVIDIA GPU, on CUDA."""
    return [_packages(), *_sessions(), _exporter()]


def _packages() -> Finding:
    conflict = package_conflict()
    if conflict:
        return Finding(about="ONNX Runtime", status="problem", text=conflict.reason, advice=conflict.advice)
    return Finding(about="ONNX Runtime", status="ok", text=told_packages())


def _sessions() -> list[Finding]:
    findings = [_session("cpu", "Install it again: pip install --force-reinstall onnxruntime")]
    obstacle = cuda_obstacle()
    if obstacle is None:
        findings.append(_session("cuda", "Train and export go on working; say --device cpu to use exported files."))
    elif obstacle.expected:
        findings.append(Finding(about="ONNX on CUDA", status="ok", text=f"not here: {obstacle.reason}"))
    else:
        findings.append(Finding(about="ONNX on CUDA", status="problem", text=obstacle.reason, advice=obstacle.advice))
    return findings


def _session(device: str, advice: str) -> Finding:
    about = f"ONNX on {device.upper()}"
    try:
        session = open_session(RELU, name="a small graph", device=device)
        (output,) = run(session, ["Y"], {"X": np.array([-1, 2], dtype=np.float32)}, name="a small graph")
    except ExportError as error:
        return Finding(about=about, status="problem", text=error.message, advice=error.hint or advice)
    if output.tolist() != [0, 2]:
        return Finding(about=about, status="problem", text="it computes wrongly", advice=advice)
    threads = session.runtime.get_session_options().intra_op_num_threads
    text = f"a session computes with {threads} threads" if session.provider == CPU else "a session computes"
    return Finding(about=about, status="ok", text=text)


def _exporter() -> Finding:
    missing = [name for name in ("onnx", "onnxscript", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        text = f"runs cannot be exported here, for want of {', '.join(missing)}"
        return Finding(about="ONNX export", status="warning", text=text, advice="pip install onnx onnxscript torch")
    return Finding(about="ONNX export", status="ok", text="onnx, onnxscript and torch are there")
