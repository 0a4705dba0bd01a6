"""Opens ONNX Runtime sessions: on the device that was asked for or not at all, and set for low latency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from zoo.errors import ConfigError, ExportError
from zoo.utils.files import read_plain
from zoo.utils.machine import usable_cpus
from zoo_export.providers import CPU, CUDA, Obstacle, cuda_obstacle, package_conflict
from zoo_export.wire import has_data_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    Model = Path | bytes

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d{1,3}))?")
_QUIET = 4  # fatal errors alone: what goes wrong is told by exceptions
_DOCTOR = "'zoo doctor' tells more."
_OURS = "It is no file of 'zoo export', or was cut off on its way."


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A loaded graph, safe to be run by several threads at once.

    Attributes:
        runtime: ONNX Runtime's own session.
        provider: What it computes with: ``"CPUExecutionProvider"``, ``"CUDAExecutionProvider"``.
        note: Why ``device="auto"`` took the CPU although there is a GPU; else empty.
    """

    runtime: onnxruntime.InferenceSession
    provider: str
    note: str = ""


def open_session(
    model: Model,
    *,
    name: str,
    device: str = "auto",
    threads: int | None = None,
) -> Session:
    """Opens a session.

    Args:
        model: A file, or the bytes of one.
        name: What messages call it.
        device: ``"auto"`` takes CUDA where it works, else the CPU; ``"cpu"``; ``"cuda"`` or ``"cuda:1"``, which is
            CUDA or an error.
        threads: How many compute an operator; by default as many as this process has processors.

    Raises:
        ConfigError: There is no such device.
        ExportError: The file cannot be opened, or CUDA was asked for and does not work; the message says why.
    """
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise ConfigError(f"There is no device {device!r} for exported files.", hint="Write auto, cpu, cuda or cuda:1.")
    onnxruntime.set_default_logger_severity(_QUIET)
    options = _options(threads)
    if device == "cpu":
        return _on_cpu(model, name, options)
    found = cuda_obstacle() or _on_cuda(model, name, options, int(match[1] or 0))
    if isinstance(found, Session):
        return found
    reason = found.reason.rstrip(".")
    if device != "auto":
        conflict = package_conflict()
        reason = f"{reason}; and {conflict.reason}" if conflict else reason
        raise ExportError(f"{name} cannot run on {device}: {reason}.", hint=found.advice)
    return _on_cpu(model, name, options, note="" if found.expected else f"Not on CUDA: {reason}")


def run(session: Session, outputs: list[str], feed: Mapping[str, Any], *, name: str) -> list[Any]:
    """Computes outputs.

    Raises:
        ExportError: The graph fails on this input, or memory does not suffice.
    """
    try:
        return list(session.runtime.run(outputs, feed))
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        raise ExportError(
            f"{name} fails on {session.provider}: {_reason(error)}", hint="Fewer photos at a time need less memory."
        ) from error


def _options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = usable_cpus() if threads is None else threads
    # Waiting threads sleep: spinning ones take the processors from whoever decodes photos, or computes with torch. All
    # else is ONNX Runtime's default, which nothing beat: neither without arena or memory pattern, nor in parallel mode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # else the bytes decide which reader they get
    return options


def _cuda_options(index: int) -> dict[str, str]:
    return {
        "device_id": str(index),
        # Full float32: with TF32, the default, logits differ from the run's in the third digit.
        "use_tf32": "0",
        # The default tries every algorithm again for each new batch size.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def _on_cuda(model: Model, name: str, options: onnxruntime.SessionOptions, index: int) -> Session | Obstacle:
    """Returns a session, or why there is none; a file that cannot be opened at all raises."""
    try:
        session = _opened(model, name, options, [(CUDA, _cuda_options(index)), CPU])
    except ExportError as error:
        _opened(model, name, options, [CPU])
        return Obstacle(_reason(error.__cause__ or error), _DOCTOR)
    if session.get_providers()[0] != CUDA:
        return Obstacle("ONNX Runtime took the CPU instead", _DOCTOR)
    return Session(runtime=session, provider=CUDA)


def _on_cpu(model: Model, name: str, options: onnxruntime.SessionOptions, note: str = "") -> Session:
    return Session(runtime=_opened(model, name, options, [CPU]), provider=CPU, note=note)


def _opened(
    model: Model, name: str, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    if isinstance(model, Path) and not model.is_file():
        raise ExportError(f"There is no file {name}.", hint="'zoo export RUN' writes one.")
    _check_whole(model, name)
    try:
        # With fallback, ONNX Runtime's default, what fails on CUDA is done once more on the CPU, from then on for good.
        return onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        raise ExportError(f"{name} cannot be opened: {_reason(error)}", hint=_OURS) from error


def _check_whole(model: Model, name: str) -> None:
    """Refuses a file that wants tensors of other files: it could name any of them."""
    try:
        elsewhere = has_data_elsewhere(model if isinstance(model, bytes) else read_plain(model, most=None))
    except OSError as error:
        raise ExportError(f"{name} cannot be opened: {error.strerror}.") from error
    except ValueError:
        raise ExportError(f"{name} cannot be opened: it is no ONNX file.", hint=_OURS) from None
    if elsewhere:
        raise ExportError(f"{name} cannot be opened: it keeps tensors in other files.", hint=_OURS)


def _reason(error: BaseException) -> str:
    """Returns ONNX Runtime's message in one line, without its codes and with an end."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return f"{text[:400].rstrip('.') or type(error).__name__}."
