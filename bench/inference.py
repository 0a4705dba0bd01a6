"""What a prediction costs: one photo, and 32 at a time, in torch, in ONNX Runtime and through the zoo's predictor.

A run is made of random weights and a few generated photos, and exported: as raw pixels, which the predictor takes, and
as the plain graph, a normalised tensor in and logits out, on which ONNX Runtime is called by itself. Everything is
measured in one process, in turn; each measurement is the second of two calls, so that none pays for what ran before it.
The predictor's share is the median of the differences to ONNX Runtime in the same round. Decoding and preprocessing
come before all of them, and are told apart.
"""

from __future__ import annotations

import functools
import io
import random
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
ALLOWED_MS, ALLOWED_SHARE = 0.3, 0.05  # what the predictor may add to ONNX Runtime at batch 1


def make_run(arguments: argparse.Namespace, folder: Path) -> Any:
    """Fine-tunes for an epoch: what is measured does not depend on how well."""
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
    """Returns the exported files by kind and precision, and a note for each that was not worth keeping."""
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
                # What so little training makes of so few photos says nothing of what precision costs in accuracy.
                export_onnx(run, target, input=kind, precision=precision, max_drop=100)
            except ExportError as error:
                notes.append(f"{precision} {kind}: {error.message}")
            else:
                files[kind, precision] = target
    return files, notes


def onnx_calls(files: dict[tuple[str, str], Path], images: Images, threads: int | None) -> dict[str, Call]:
    """Returns ONNX Runtime on the plain graph, and the predictor, in every precision there is."""
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
    """Returns the run's network in torch: eager, bf16 and channels-last, compiled."""
    import torch

    from zoo.data.loading.augment import normalise
    from zoo.inference.run_predictor import rebuild
    from zoo.plugins.registry import load_registry

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    network = rebuild(run, load_registry()).classifier.eval().to(device)
    batch = normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), run.preprocess).to(device)
    plain = batch.contiguous()

    def finished(logits: torch.Tensor) -> object:
        return logits.float().cpu()  # which waits for a GPU

    @torch.inference_mode()
    def eager() -> object:
        return finished(network(plain))

    last = rebuild(run, load_registry()).classifier.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def bf16() -> object:
        with torch.autocast(device, dtype=torch.bfloat16):
            return finished(last(batch))

    calls: dict[str, Call] = {"torch eager fp32": eager, "torch bf16 channels-last": bf16}
    if compiled:
        faster = torch.compile(network)

        @torch.inference_mode()
        def compile_() -> object:
            return finished(faster(plain))

        calls["torch.compile fp32"] = compile_
    return calls


def seconds_of(call: Call) -> float:
    """Returns what the second of two calls takes."""
    call()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def before(spec: Any, repeats: int) -> list[dict[str, Any]]:
    """Returns rows for decoding and preprocessing a generated photo."""
    from zoo.data.images.decode import decode, preprocess

    content = io.BytesIO()
    _photos.draw("disc", _photos.PHOTO, random.Random(0)).save(content, "JPEG", quality=90)
    pixels = decode(content.getvalue())
    measures: dict[str, Call] = {
        "decode a JPEG of 500 x 375": lambda: decode(content.getvalue()),
        f"resize and crop it to {spec.size[0]} x {spec.size[1]}": lambda: preprocess(pixels, spec),
    }
    taken = alternate({name: functools.partial(seconds_of, call) for name, call in measures.items()}, repeats)
    return [_row(name, {1: seconds}) for name, seconds in taken.items()]


def _row(what: str, taken: dict[int, list[float]], more: str = "") -> dict[str, Any]:
    one, many = taken[1], taken.get(BATCHES[-1])
    return {
        "what": what,
        "ms, one": 1e3 * median(one),
        "95 % within": 1e3 * float(np.percentile(one, 95)),
        "predictor adds": more,
        f"images/s, {BATCHES[-1]}": BATCHES[-1] / median(many) if many else None,
    }


def added(taken: dict[str, list[float]], precision: str) -> tuple[str, str]:
    """Returns what the predictor adds to ONNX Runtime on the plain graph, and whether that is allowed."""
    raw, ours = taken[f"{RAW} {precision}"], taken[f"{PREDICTOR} {precision}"]
    more = median([b - a for a, b in zip(raw, ours, strict=True)])
    share = more / median(raw)
    told = f"{1e3 * more:+.2f} ms, {share:+.1%}"
    kept = "kept" if 1e3 * more <= ALLOWED_MS or share <= ALLOWED_SHARE else "missed"
    limit = f"the limit, {ALLOWED_MS} ms or {ALLOWED_SHARE:.0%}, is {kept}"
    return told, f"{precision}, one photo: the predictor adds {told}; {limit}."


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    parser = make_parser(NAME, __doc__, repeats=40, photos=64)
    parser.add_argument("--backbone", default="resnet18", help="name (resnet18)")
    parser.add_argument("--threads", type=int, help="of ONNX Runtime and torch (all processors)")
    parser.add_argument("--without-compile", action="store_true", help="leave torch.compile out, which takes a while")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    _project.require("onnx", "onnxscript", "onnxruntime")
    if arguments.quick:
        arguments.image_size, arguments.photos, arguments.repeats, arguments.without_compile = 32, 16, 2, True
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(arguments, Path(folder))
    report(NAME, arguments, rows, notes=notes)


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and what is to be said below it."""
    run = make_run(arguments, folder)
    files, notes = export_all(run, folder)
    chance = np.random.default_rng(0)
    by_batch: dict[int, dict[str, list[float]]] = {}
    for batch in BATCHES:
        images = list(chance.integers(0, 256, (batch, *run.preprocess.size, 3), dtype=np.uint8))
        calls = onnx_calls(files, images, arguments.threads)
        calls |= torch_calls(run, images, arguments.threads, compiled=not arguments.without_compile)
        repeats = arguments.repeats if batch == 1 else max(2, arguments.repeats // 8)
        measures = {name: functools.partial(seconds_of, call) for name, call in calls.items()}
        by_batch[batch] = alternate(measures, repeats, warm_up=True)
    shares = {}
    for precision in ("fp32", "fp16", "int8"):
        if {("tensor", precision), ("pixels", precision)} <= files.keys():
            shares[f"{PREDICTOR} {precision}"], note = added(by_batch[1], precision)
            notes.append(note)
    taken = {name: {batch: by_batch[batch][name] for batch in BATCHES} for name in by_batch[1]}
    rows = [_row(name, each, shares.get(name, "")) for name, each in taken.items()]
    return rows + before(run.preprocess, arguments.repeats), notes


if __name__ == "__main__":
    main(sys.argv[1:])
