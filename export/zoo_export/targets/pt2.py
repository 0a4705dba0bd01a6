"""Exports a run to an archive of `torch.export`, for use in torch, and compares it with the run before writing it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from zoo.events import Work, ignore
from zoo.plugins.specs.export_targets import PHOTOS
from zoo_export.exported_files import ARCHIVE, check_target, write_exported
from zoo_export.graph.classifier import ExportableClassifier
from zoo_export.graph.converters import conversion, silence
from zoo_export.model_card import KEY, TENSOR
from zoo_export.security.digest import with_digest
from zoo_export.validation.decisions import check_decisions
from zoo_export.validation.parity import Backend, FileOutputs
from zoo_export.validation.reference import open_reference

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder
    from zoo_export.exported_files import ExportedFile
    from zoo_export.model_card import ModelCard

_NAME = "torch.export"


def export_pt2(
    run: RunFolder,
    target: Path | None = None,
    *,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> ExportedFile:
    """Exports a run to ``model.pt2``, loads the archive again and compares it with the run.

    The module takes normalised batches ``(N, 3, h, w)`` float32 and returns probabilities, logits and heat map; of a
    run that recognises unfamiliar photos, the familiarity ``(N,)`` next; with several labels per photo, or a decision
    by costs, the decisions last, as an ONNX file does. Its card is the extra file ``zoo`` of the archive. Arguments and
    errors are those of `zoo_export.targets.onnx.export_onnx`.
    """
    started = time.monotonic()
    target = check_target(target or run.path / "model.pt2", ARCHIVE)
    reference = open_reference(run, verify=verify, data=data, photos=photos, observer=observer, registry=registry)
    observer(Work(what="export the network", done=0, total=None))
    size = reference.preprocess.size
    card = reference.describe(has_digest=True)
    module: nn.Module = ExportableClassifier(reference.classifier, size, extra=reference.familiarity)
    program = _trace(_DecidingClassifier(module, card) if card.has_decisions else module, size)
    if verify:
        card = reference.compare_backends([_load_backend(_serialise(program, card), card)], card)
    return write_exported(target, _serialise(program, card), card, started=started)


class _DecidingClassifier(nn.Module):
    """A classifier with one more output, uint8 ``(N, classes)``: 1 for what a photo is decided to have.

    Args:
        classifier: Returns probabilities ``(N, classes)`` and other outputs.
        card: How to decide.
    """

    thresholds: Tensor
    is_positive: Tensor

    def __init__(self, classifier: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.classifier = classifier
        by_costs = card.decision
        self.positive = None if by_costs is None else card.classes.index(by_costs.positive)
        self.register_buffer("thresholds", torch.tensor(card.thresholds if by_costs is None else [by_costs.threshold]))
        classes = torch.arange(len(card.classes))
        self.register_buffer("is_positive", classes == (-1 if self.positive is None else self.positive))
        self.eval()

    def forward(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Maps normalised ``(N, 3, H, W)`` to the outputs of the classifier, and the decisions."""
        probabilities, *others = self.classifier(tensor)
        if self.positive is None:
            decided = probabilities >= self.thresholds
        else:
            decided = (probabilities[:, self.positive, None] >= self.thresholds) == self.is_positive
        return probabilities, *others, decided.to(torch.uint8)


def _trace(module: nn.Module, size: tuple[int, int]) -> torch.export.ExportedProgram:
    hint = "Its forward() must not depend on the values of its input."
    with conversion("The network cannot be exported", hint=hint), torch.no_grad():
        shapes = {TENSOR: {0: Dim.DYNAMIC}}
        return torch.export.export(module, (torch.zeros(2, 3, *size),), dynamic_shapes=shapes)


def _serialise(program: torch.export.ExportedProgram, card: ModelCard) -> bytes:
    buffer = io.BytesIO()
    with silence():
        torch.export.save(program, buffer, extra_files={KEY: card.to_json()})
    return with_digest(buffer.getvalue())


def _load_backend(content: bytes, card: ModelCard) -> Backend:
    with silence():
        module = torch.export.load(io.BytesIO(content)).module()

    @torch.inference_mode()
    def compute(feed: NDArray[Any]) -> FileOutputs:
        probabilities, logits, _, *others = (each.numpy() for each in module(torch.from_numpy(feed)))
        if card.has_decisions:
            check_decisions(others.pop(), probabilities, card, where=_NAME)
        return FileOutputs(probabilities, logits, others[0] if others else None)

    return Backend(_NAME, compute)
