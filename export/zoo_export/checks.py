"""The checks of ``zoo doctor``: ONNX Runtime, with real sessions, and the packages that an export needs."""

from __future__ import annotations

import importlib.util

import numpy as np

from zoo.errors import ExportError
from zoo.plugins.distributions import complete_command
from zoo.plugins.specs import Finding
from zoo.utils.installer import pip_command
from zoo_export.runtime.providers import CPU, cuda_obstacle, describe_packages, package_conflict
from zoo_export.runtime.session import open_session, run_session

# A graph with one operator, Y = Relu(X) of float32 ``(2,)``, opset 18; tests/export/test_checks.py rebuilds it.
RELU = bytes.fromhex(
    "08083a330a0c0a0158120159220452656c751201675a0f0a0158120a0a08080112040a020802"
    "620f0a0159120a0a08080112040a02080242040a001012"
)


def check_export() -> list[Finding]:
    """Runs a small graph on the CPU and, if there is an NVIDIA GPU, on CUDA; looks for the packages of an export."""
    return [_check_packages(), *_check_sessions(), _check_exporter()]


def _check_packages() -> Finding:
    conflict = package_conflict()
    if conflict:
        return Finding(about="ONNX Runtime", status="problem", text=conflict.reason, advice=conflict.advice)
    return Finding(about="ONNX Runtime", status="ok", text=describe_packages())


def _check_sessions() -> list[Finding]:
    findings = [_check_session("cpu", f"Reinstall it: {pip_command('install', '--force-reinstall', 'onnxruntime')}")]
    obstacle = cuda_obstacle()
    if obstacle is None:
        advice = "Training and export still work; use --device cpu for exported files."
        findings.append(_check_session("cuda", advice))
    elif obstacle.expected:
        findings.append(Finding(about="ONNX on CUDA", status="ok", text=f"not available: {obstacle.reason}"))
    else:
        findings.append(Finding(about="ONNX on CUDA", status="problem", text=obstacle.reason, advice=obstacle.advice))
    return findings


def _check_session(device: str, advice: str) -> Finding:
    about = f"ONNX on {device.upper()}"
    try:
        session = open_session(RELU, name="A small graph", device=device)
        (output,) = run_session(session, ["Y"], {"X": np.array([-1, 2], dtype=np.float32)}, name="A small graph")
    except ExportError as error:
        return Finding(about=about, status="problem", text=error.message, advice=error.hint or advice)
    if output.tolist() != [0, 2]:
        return Finding(about=about, status="problem", text="a session returns wrong results", advice=advice)
    threads = session.runtime.get_session_options().intra_op_num_threads
    text = f"a session runs with {threads} threads" if session.provider == CPU else "a session runs"
    return Finding(about=about, status="ok", text=text)


def _check_exporter() -> Finding:
    missing = [name for name in ("onnx", "onnxscript", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        text = f"exporting runs needs packages that are not installed: {', '.join(missing)}"
        return Finding(about="ONNX export", status="warning", text=text, advice=complete_command())
    return Finding(about="ONNX export", status="ok", text="onnx, onnxscript and torch are installed")
