"""A run as an archive of `torch.export`, for those who stay in torch: compared with the run before it is written."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim

from zoo.errors import ExportError
from zoo.events import Work, ignore
from zoo.inference.run_predictor import rebuild
from zoo.plugins.registry import load_registry
from zoo.utils.files import atomic_write
from zoo_export.card import KEY, TENSOR
from zoo_export.exporting import PHOTOS, Exported, checked_target, photos_to_compare
from zoo_export.files import ARCHIVE, take_in
from zoo_export.network import Deployed
from zoo_export.parity import Subject, compare, with_report
from zoo_export.provenance import card_of
from zoo_export.quiet import quiet

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.runs.run import Run
    from zoo_export.card import ModelCard


def export_pt2(
    run: Run,
    target: Path | None = None,
    *,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Exported:
    """Writes a run as ``model.pt2``, loads that again and compares it with the run.

    The module takes normalised batches ``(N, 3, h, w)`` float32 and gives probabilities, logits and heat map. Its card
    is the extra file ``zoo`` of the archive. Arguments and errors are those of `zoo_export.exporting.export`.
    """
    began = time.monotonic()
    registry = registry or load_registry()
    target = checked_target(target or run.path / "model.pt2", ARCHIVE)
    samples = photos_to_compare(run, data, photos, registry, observer) if verify else []
    classifier = rebuild(run, registry).classifier.eval()
    observer(Work(what="write the network", done=0, total=None))
    program = _program(Deployed(classifier), run.preprocess.size)
    card = card_of(run, classifier, input="tensor", opset=0)
    if verify:
        report = compare([_loaded(_archive(program, card))], card, classifier, samples, observer)
        card = with_report(card, report, data)
    content = _archive(program, card)
    with atomic_write(target) as aside:
        aside.write_bytes(content)
    take_in(target)
    return Exported(path=target, card=card, bytes=len(content), seconds=time.monotonic() - began)


def _program(module: Deployed, size: tuple[int, int]) -> torch.export.ExportedProgram:
    try:
        with quiet(), torch.no_grad():
            shapes = {TENSOR: {0: Dim.DYNAMIC}}
            return torch.export.export(module, (torch.zeros(2, 3, *size),), dynamic_shapes=shapes)
    except Exception as error:  # tracing raises dozens of kinds
        reason = str(error).strip().partition("\n")[0][:300].rstrip(". ")
        raise ExportError(
            f"The network cannot be exported: {type(error).__name__}: {reason}.",
            hint="Its forward() must not depend on values of its input.",
        ) from error


def _archive(program: torch.export.ExportedProgram, card: ModelCard) -> bytes:
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={KEY: card.to_json()})
    return buffer.getvalue()


def _loaded(content: bytes) -> Subject:
    with quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    @torch.inference_mode()
    def compute(feed: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probabilities, logits, _ = module(torch.from_numpy(feed))
        return probabilities.numpy(), logits.numpy()

    return Subject("torch.export", compute)
