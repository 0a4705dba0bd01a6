"""Measures the latency of one photo and the throughput of 32, in torch, in ONNX Runtime and in the zoo's predictor.

A short run on a few generated photos is exported twice: with raw pixels as its input, for the predictor, and as the
plain graph from normalised tensor to logits, on which ONNX Runtime is called directly. All variants are measured
alternately in one process; each measurement is the second of two calls, so that none pays for what ran before it. The
overhead of the predictor is the median of its differences to ONNX Runtime in the same round. Decoding and
preprocessing are measured separately.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import _photos
import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zoo_export.model_card import InputKind, PrecisionName

    Images = list[NDArray[np.uint8]]
    Call = Callable[[], object]

NAME = "inference"
RAW, PREDICTOR = "ONNX Runtime, plain graph,", "predictor, raw pixels,"
BATCHES = (1, 32)
MAX_OVERHEAD_MS, MAX_OVERHEAD_SHARE = 0.3, 0.05  # of the predictor over ONNX Runtime, at batch size 1


def make_run(arguments: argparse.Namespace, folder: Path) -> Any:
    """Fine-tunes for an epoch: speed does not depend on accuracy."""
    import zoo

    return zoo.finetune(
        arguments.backbone,
        data=str(arguments.data or _photos.generate(arguments.photos)),
        runs=folder,
        weights=str(arguments.weights or "none"),
        image_size=arguments.image_size,
        epochs=1,
    )


def export_all(run: Any, folder: Path) -> tuple[dict[tuple[str, str], Path], list[str]]:
    """Returns the exported files by kind and precision, and a note for each refused export."""
    from zoo.errors import ExportError
    from zoo_export.targets.onnx import export_onnx

    files: dict[tuple[str, str], Path] = {}
    notes = []
    kinds: tuple[InputKind, ...] = ("tensor", "pixels")
    precisions: tuple[PrecisionName, ...] = ("fp32", "fp16", "int8")
    for precision in precisions:
        for kind in kinds:
            target = folder / f"{kind}-{precision}.onnx"
            try:
                # After so little training, the loss of accuracy means nothing.
                export_onnx(run, target, input=kind, precision=precision, max_drop=100)
            except ExportError as error:
                notes.append(f"{precision} {kind}: {error.message}")
            else:
                files[kind, precision] = target
    return files, notes


def onnx_calls(files: dict[tuple[str, str], Path], images: Images, threads: int | None) -> dict[str, Call]:
    """Returns a call of ONNX Runtime on the plain graph, and of the predictor, for each exported precision."""
    from zoo_export.runtime.predictor import load

    calls: dict[str, Call] = {}
    for (kind, precision), file in files.items():
        predictor = load(file, threads=threads)
        if kind == "tensor":
            feed = {"tensor": predictor.batch(images)}
            calls[f"{RAW} {precision}"] = functools.partial(predictor.session.runtime.run, None, feed)
        else:
            calls[f"{PREDICTOR} {precision}"] = functools.partial(predictor.probabilities, images)
    return calls


def torch_calls(run: Any, images: Images, threads: int | None, *, compiled: bool) -> dict[str, Call]:
    """Returns calls of the run's network in torch: eager, bf16 with channels-last, and compiled."""
    import torch

    from zoo.data.loading.augment import normalise
    from zoo.inference.run_predictor import rebuild_model
    from zoo.plugins.registry import load_registry

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    network = rebuild_model(run, load_registry()).classifier.eval().to(device)
    batch = normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), run.preprocess).to(device)
    plain = batch.contiguous()

    def fetch(logits: torch.Tensor) -> object:
        return logits.float().cpu()  # waits for a GPU

    @torch.inference_mode()
    def eager() -> object:
        return fetch(network(plain))

    channels_last = rebuild_model(run, load_registry()).classifier.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def bf16() -> object:
        with torch.autocast(device, dtype=torch.bfloat16):
            return fetch(channels_last(batch))

    calls: dict[str, Call] = {"torch eager fp32": eager, "torch bf16 channels-last": bf16}
    if compiled:
        compiled_network = torch.compile(network)

        @torch.inference_mode()
        def compile_() -> object:
            return fetch(compiled_network(plain))

        calls["torch.compile fp32"] = compile_
    return calls


def measure_seconds(call: Call) -> float:
    """Returns the duration of the second of two calls."""
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_preprocessing(spec: Any, repeats: int) -> list[dict[str, Any]]:
    """Returns rows for decoding and preprocessing a generated photo."""
    from zoo.data.images.decode import decode
    from zoo.data.images.resize import preprocess

    content = _photos.draw_jpeg(_photos.PHOTO, 0)
    pixels = decode(content)
    measures: dict[str, Call] = {
        "decode a JPEG of 500 x 375": lambda: decode(content),
        f"resize and crop it to {spec.size[0]} x {spec.size[1]}": lambda: preprocess(pixels, spec),
    }
    seconds = alternate({name: functools.partial(measure_seconds, call) for name, call in measures.items()}, repeats)
    return [_make_row(name, {1: each}) for name, each in seconds.items()]


def _make_row(what: str, seconds: dict[int, list[float]], overhead: str = "") -> dict[str, Any]:
    one, many = seconds[1], seconds.get(BATCHES[-1])
    return {
        "what": what,
        "ms, one": 1e3 * median(one),
        "95 % within": 1e3 * float(np.percentile(one, 95)),
        "predictor adds": overhead,
        f"images/s, {BATCHES[-1]}": BATCHES[-1] / median(many) if many else None,
    }


def compute_overhead(seconds: dict[str, list[float]], precision: str) -> tuple[str, str]:
    """Returns the overhead of the predictor over ONNX Runtime on the plain graph, and a note on its limit."""
    raw, ours = seconds[f"{RAW} {precision}"], seconds[f"{PREDICTOR} {precision}"]
    overhead = median([b - a for a, b in zip(raw, ours, strict=True)])
    share = overhead / median(raw)
    text = f"{1e3 * overhead:+.2f} ms, {share:+.1%}"
    verb = "stays within" if 1e3 * overhead <= MAX_OVERHEAD_MS or share <= MAX_OVERHEAD_SHARE else "exceeds"
    limit = f"{MAX_OVERHEAD_MS} ms or {MAX_OVERHEAD_SHARE:.0%}"
    return text, f"{precision}, one photo: the predictor adds {text}, and {verb} its limit of {limit}."


def main(args: list[str] | None = None) -> None:
    """Parses the options, measures and reports."""
    parser = make_parser(NAME, __doc__, repeats=40, photos=64)
    parser.add_argument("--backbone", default="resnet18", help="backbone (resnet18)")
    parser.add_argument("--threads", type=int, help="threads of ONNX Runtime and torch (all CPUs)")
    parser.add_argument("--without-compile", action="store_true", help="skip torch.compile, which is slow to start")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    _project.require("onnx", "onnxscript", "onnxruntime")
    if arguments.quick:
        arguments.image_size, arguments.photos, arguments.repeats, arguments.without_compile = 32, 16, 2, True
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(arguments, Path(folder))
    report(NAME, arguments, rows, notes=notes)


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and the notes below it."""
    run = make_run(arguments, folder)
    files, notes = export_all(run, folder)
    rng = np.random.default_rng(0)
    by_batch: dict[int, dict[str, list[float]]] = {}
    for batch in BATCHES:
        images = list(rng.integers(0, 256, (batch, *run.preprocess.size, 3), dtype=np.uint8))
        calls = onnx_calls(files, images, arguments.threads)
        calls |= torch_calls(run, images, arguments.threads, compiled=not arguments.without_compile)
        repeats = arguments.repeats if batch == 1 else max(2, arguments.repeats // 8)
        measures = {name: functools.partial(measure_seconds, call) for name, call in calls.items()}
        by_batch[batch] = alternate(measures, repeats, warm_up=True)
    overheads = {}
    for precision in ("fp32", "fp16", "int8"):
        if {("tensor", precision), ("pixels", precision)} <= files.keys():
            overheads[f"{PREDICTOR} {precision}"], note = compute_overhead(by_batch[1], precision)
            notes.append(note)
    seconds = {name: {batch: by_batch[batch][name] for batch in BATCHES} for name in by_batch[1]}
    rows = [_make_row(name, each, overheads.get(name, "")) for name, each in seconds.items()]
    return rows + measure_preprocessing(run.preprocess, arguments.repeats), notes


if __name__ == "__main__":
    main(sys.argv[1:])
