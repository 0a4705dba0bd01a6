"""Engines: what runs a network that computes no gradients, torch or ONNX Runtime, whichever is faster on this CPU."""

from __future__ import annotations

import io
import logging
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.models.measurements import machine_key, read_cached, write_cached
from zoo.models.nested import flatten_tensors, map_tensors
from zoo.preprocess import photos_per_batch
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.models.precision import Precision

TORCH, ONNX_RUNTIME = "torch", "onnxruntime"
UNSUPPORTED = "ONNX Runtime does not run this network"  # how such a reason begins
# Of an output's largest value. The engines add in another order; float32 agreed within 2e-5 for ten families.
TOLERANCE = 1e-3
_OPSET = 18
_IMAGES = 8  # per batch of a measurement
_ROUNDS = 2  # after one to warm up
_MIN_SECONDS = 4.0  # of torch, below which nothing is measured: exporting takes 0.5 to 4 s
_MIN_GAIN = 0.9  # the largest share of torch's time, with the export, that is worth it
_MAX_SPREAD = 1.5  # of the times of one engine, above which a measurement is not stored
_INPUT = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What runs a network without gradients.

    Attributes:
        name: ``"torch"`` or ``"onnxruntime"``.
        reason: Why it was chosen, in a few words.
        run: Maps normalised images ``(N, 3, H, W)`` float32 to what the network returns.
    """

    name: str
    reason: str
    run: Callable[[Tensor], Any]

    def describe(self) -> dict[str, str]:
        """Returns the values for the ``engine`` of a run record."""
        return {"name": self.name, "reason": self.reason}


class UnsupportedError(Exception):
    """ONNX Runtime cannot run a network, or returns other values; the message says why."""


def choose_engine(
    network: nn.Module,
    *,
    images: int,
    image_size: tuple[int, int],
    precision: Precision,
    key: str,
    name: str = "auto",
    save: Callable[[bytes], object] | None = None,
) -> Engine:
    """Returns the engine that takes the least time for some images, exporting the network included.

    On a CPU, both engines are measured on a few random images, unless the images are too few to repay it; the
    measurement is stored for the machine and the network. Every graph is checked against torch on random images.

    Args:
        network: Maps images to a tensor ``(N, ...)`` or to nested tuples of such tensors; in eval mode, on the device
            of `precision`, with the batch normalisations folded that can be.
        images: How many images it will run on.
        image_size: (height, width) in pixels.
        precision: The precision of torch's forward passes. ONNX Runtime always computes in float32.
        key: Names the network and everything that its speed depends on but the machine.
        name: ``"auto"``, or the name of an engine to take without measuring it, for a run that goes on with it.
        save: Receives the ONNX model once it is checked, even if torch turns out to be faster.
    """
    run_torch = Engine(name=TORCH, reason="", run=network)
    if name == TORCH:
        return _because(run_torch, "recorded")
    if precision.device.type != "cpu":
        return _because(run_torch, "only torch is used on a GPU")
    try:
        if name == ONNX_RUNTIME:
            return Engine(name=ONNX_RUNTIME, reason="recorded", run=export_session(network, image_size, save))
        return _choose(network, images=images, image_size=image_size, precision=precision, key=key, save=save)
    except UnsupportedError as error:
        return _because(run_torch, f"{UNSUPPORTED}: {error}")
    except RuntimeError as error:  # out of memory, for one; whoever runs the network may take fewer images at a time
        return _because(run_torch, f"measuring failed: {first_line(error)}")


def _because(engine: Engine, reason: str) -> Engine:
    return Engine(name=engine.name, reason=reason, run=engine.run)


def _choose(
    network: nn.Module,
    *,
    images: int,
    image_size: tuple[int, int],
    precision: Precision,
    key: str,
    save: Callable[[bytes], object] | None,
) -> Engine:
    key = f"{machine_key(precision.device)} | engine for {key}, {precision.name}"
    stored = _read(key)
    count = photos_per_batch(image_size, most=_IMAGES)
    example = torch.randn(count, 3, *image_size, generator=torch.Generator().manual_seed(0))
    example = example.contiguous(memory_format=torch.channels_last)
    if stored is None:
        torch_times = _time({TORCH: lambda: _run_torch(network, example, precision)})[TORCH]
        torch_seconds = images * min(torch_times) / count
        if torch_seconds < _MIN_SECONDS:
            reason = f"{images} images take torch {torch_seconds:.1f} s, too little to try another engine"
            return Engine(name=TORCH, reason=reason, run=network)
    else:
        saved = images * (stored[TORCH] - stored[ONNX_RUNTIME]) - stored["export"]
        if saved < (1 - _MIN_GAIN) * images * stored[TORCH]:
            return Engine(name=TORCH, reason=_explain(stored, images), run=network)
    started = time.perf_counter()
    session = export_session(network, image_size, save)
    exported = time.perf_counter() - started
    if stored is not None:
        return Engine(name=ONNX_RUNTIME, reason=_explain(stored, images), run=session)
    times = _time({TORCH: lambda: _run_torch(network, example, precision), ONNX_RUNTIME: lambda: session(example)})
    measured = {name: min(seconds) / count for name, seconds in times.items()}
    if all(max(seconds) < _MAX_SPREAD * min(seconds) for seconds in times.values()):
        _write(key, {**measured, "export": exported})
    # The graph exists now, so what it cost no longer counts.
    faster = measured[ONNX_RUNTIME] < _MIN_GAIN * measured[TORCH]
    reason = _explain(measured, images)
    return Engine(name=ONNX_RUNTIME if faster else TORCH, reason=reason, run=session if faster else network)


def _explain(seconds: dict[str, float], images: int) -> str:
    ratio = seconds[TORCH] / seconds[ONNX_RUNTIME]
    return f"ONNX Runtime is {ratio:.1f} x as fast as torch, measured; {images} images"


@torch.inference_mode()
def _run_torch(network: nn.Module, images: Tensor, precision: Precision) -> Any:
    with precision.autocast():
        return network(images)


def _time(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Returns the seconds of several calls of each function. The functions alternate, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for completed in range(1 + _ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if completed:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _read(key: str) -> dict[str, float] | None:
    try:
        values = {name: float(value) for name, value in (read_cached(key) or {}).items()}
    except ValueError:
        return None
    return values if {TORCH, ONNX_RUNTIME, "export"} <= set(values) and min(values.values()) > 0 else None


def _write(key: str, seconds: dict[str, float]) -> None:
    write_cached(key, {name: f"{value:.6f}" for name, value in seconds.items()})


class Session:
    """A network in ONNX Runtime.

    Args:
        graph: The serialised ONNX model, whose outputs are the tensors of `form` in order.
        form: Any output of the network: a tensor or nested tuples of tensors.
    """

    def __init__(self, graph: bytes, form: Any) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads would slow torch
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._form = form

    def __call__(self, images: Tensor) -> Any:
        """Maps images ``(N, 3, H, W)`` float32 on the CPU to what the network returns."""
        values = iter(self._session.run(None, {_INPUT: images.contiguous().numpy()}))
        return map_tensors(lambda _: torch.from_numpy(next(values)), self._form)


def export_session(
    network: nn.Module, image_size: tuple[int, int], save: Callable[[bytes], object] | None = None
) -> Session:
    """Exports a network on the CPU, in eval mode, to ONNX Runtime, and checks its output against torch.

    Args:
        network: Maps images to a tensor ``(N, ...)`` or to nested tuples of such tensors.
        image_size: (height, width) in pixels.
        save: Receives the ONNX model once it is checked.

    Raises:
        UnsupportedError: It cannot be exported, or its output differs from torch's by more than `TOLERANCE`.
    """
    images = torch.randn(3, 3, *image_size, generator=torch.Generator().manual_seed(0))
    images[2] = 0  # a plain photo: where torch divides by a variance of zero, ONNX Runtime may return a number
    with torch.inference_mode():
        expected = network(images)
    try:
        graph = _export(network, images[:2])
        session = Session(graph, expected)
        actual = session(images)  # one image more than in the export, because a graph may have fixed its number
    except ImportError as error:
        raise UnsupportedError(f"{error.name} is not installed") from error
    except Exception as error:  # of the exporter, which runs the code of the network, and of ONNX Runtime
        raise UnsupportedError(first_line(error)) from error
    for one, other in zip(flatten_tensors(expected), flatten_tensors(actual), strict=True):
        difference = float((one.float() - other.float()).abs().max()) if one.shape == other.shape else float("inf")
        if not difference <= TOLERANCE * float(one.abs().max()):  # also for NaN
            raise UnsupportedError(f"its output differs from torch's by {difference:.2g}")
    if save is not None:
        save(graph)
    return session


def _export(network: nn.Module, images: Tensor) -> bytes:
    """Returns a network as an ONNX model. torch's TorchScript exporter takes 0.4 to 3.4 s, the other one 9 to 12 s."""
    flat, buffer = _Flattened(network).eval(), io.BytesIO()
    names = [f"output_{number}" for number in range(len(flat(images)))]
    axes = {name: {0: "images"} for name in (_INPUT, *names)}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            flat,
            (images,),
            buffer,  # type: ignore[arg-type]  # this exporter writes to files, too
            dynamo=False,
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=names,
            dynamic_axes=axes,
        )
    return buffer.getvalue()


class _Flattened(nn.Module):
    """A network whose output is a flat tuple of tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(flatten_tensors(self.network(images)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the warnings of the exporter: the check of the output finds what they warn of."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
