"""Opens ONNX Runtime sessions on exactly the requested device, configured for low latency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnxruntime

from zoo.errors import ConfigError, ExportError
from zoo.utils.machine import usable_cpus
from zoo_export.runtime.external_data import OversizedError, has_external_data
from zoo_export.runtime.providers import CPU, CUDA, Obstacle, cuda_obstacle, package_conflict

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d{1,3}))?")
_FATAL = 4  # the log level: exceptions report everything else
_SEE_DOCTOR = "Run 'zoo doctor' for details."
_FOREIGN = "'zoo export' did not write this file, or the file is truncated."


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A loaded graph. Several threads may run it at the same time.

    Attributes:
        runtime: The session of ONNX Runtime.
        provider: What it computes with: ``"CPUExecutionProvider"``, ``"CUDAExecutionProvider"``.
        note: Why ``device="auto"`` chose the CPU although there is a GPU; otherwise empty.
    """

    runtime: onnxruntime.InferenceSession
    provider: str
    note: str = ""


def open_session(
    model: bytes,
    *,
    name: str,
    device: str = "auto",
    threads: int | None = None,
) -> Session:
    """Opens a session.

    Args:
        model: The content of an ONNX file.
        name: The name of the model in messages.
        device: ``"auto"`` chooses CUDA if it works, otherwise the CPU; ``"cpu"``; ``"cuda"`` or ``"cuda:1"``, which is
            CUDA or an error.
        threads: The number of threads per operator; by default the number of CPUs that this process may use.

    Raises:
        ConfigError: There is no such device.
        ExportError: The file cannot be opened, or CUDA was requested and does not work; the message says why.
    """
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise ConfigError(f"There is no device {device!r} for exported files.", hint="Use auto, cpu, cuda or cuda:1.")
    onnxruntime.set_default_logger_severity(_FATAL)
    options = _session_options(threads)
    if device == "cpu":
        return _open_on_cpu(model, name, options)
    found = cuda_obstacle() or _open_on_cuda(model, name, options, int(match[1] or 0))
    if isinstance(found, Session):
        return found
    reason = found.reason.rstrip(".")
    if device != "auto":
        conflict = package_conflict()
        reason = f"{reason}; and {conflict.reason}" if conflict else reason
        raise ExportError(f"{name} cannot run on {device}: {reason}.", hint=found.advice)
    return _open_on_cpu(model, name, options, note="" if found.expected else f"Not on CUDA: {reason}")


def run_session(session: Session, outputs: list[str], feed: Mapping[str, Any], *, name: str) -> list[Any]:
    """Computes outputs.

    Args:
        session: From `open_session`.
        outputs: Names of the outputs to return.
        feed: An array for each input.
        name: The name of the model in messages.

    Raises:
        ExportError: The graph fails on this input, or the memory is exhausted.
    """
    try:
        return list(session.runtime.run(outputs, feed))
    except Exception as error:  # the exceptions of ONNX Runtime have no common base
        raise ExportError(
            f"{name} fails on {session.provider}: {_reason(error)}", hint="Smaller batches need less memory."
        ) from error


def _session_options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = usable_cpus() if threads is None else threads
    # Waiting threads sleep: spinning ones take the CPU from threads that decode photos, or compute with torch.
    # Everything else keeps its default, which no other setting beat: no arena, no memory pattern, parallel execution.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise ONNX Runtime chooses the parser by the first bytes of the file.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _cuda_options(index: int) -> dict[str, str]:
    return {
        "device_id": str(index),
        # Full float32: with TF32, the default, logits differ from those of the run in the third digit.
        "use_tf32": "0",
        # By default cuDNN tries every algorithm again for each new batch size.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def _open_on_cuda(model: bytes, name: str, options: onnxruntime.SessionOptions, index: int) -> Session | Obstacle:
    """Returns a session, or the obstacle. Raises `ExportError` if the file cannot be opened on the CPU either."""
    try:
        session = _open(model, name, options, [(CUDA, _cuda_options(index)), CPU])
    except ExportError as error:
        _open(model, name, options, [CPU])
        return Obstacle(_reason(error.__cause__ or error), _SEE_DOCTOR)
    if session.get_providers()[0] != CUDA:
        return Obstacle("ONNX Runtime fell back to the CPU", _SEE_DOCTOR)
    return Session(runtime=session, provider=CUDA)


def _open_on_cpu(model: bytes, name: str, options: onnxruntime.SessionOptions, note: str = "") -> Session:
    return Session(runtime=_open(model, name, options, [CPU]), provider=CPU, note=note)


def _open(
    model: bytes, name: str, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    check_content(model, name=name)
    try:
        # With fallback, the default, a run that fails on CUDA is repeated on the CPU, and so are all later ones.
        return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # the exceptions of ONNX Runtime have no common base
        raise ExportError(f"{name} cannot be opened: {_reason(error)}", hint=_FOREIGN) from error


def check_content(model: bytes, *, name: str) -> None:
    """Checks an ONNX file before anything else reads it.

    Args:
        model: The content of the file.
        name: The name of the model in messages.

    Raises:
        ExportError: It is no ONNX file, is crafted to be expensive to read, or stores tensors in other files: it could
            name any file of this machine.
    """
    try:
        external = has_external_data(model)
    except OversizedError as error:
        raise ExportError(f"{name} cannot be opened: {error}.", hint=_FOREIGN) from None
    except ValueError:
        raise ExportError(f"{name} cannot be opened: it is not an ONNX file.", hint=_FOREIGN) from None
    if external:
        raise ExportError(f"{name} cannot be opened: it stores tensors in other files.", hint=_FOREIGN)


def _reason(error: BaseException) -> str:
    """Returns a message of ONNX Runtime as one line, without its codes and with a full stop."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return f"{text[:400].rstrip('.') or type(error).__name__}."
