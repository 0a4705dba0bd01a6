"""A run in torch, with the photos to compare on: what an export starts from, and is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError
from zoo.plugins.distributions import require_torch
from zoo.plugins.registry import load_registry
from zoo.runs.open import open_run
from zoo_export.validation.samples import find_export_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.models.classifier import Classifier
    from zoo.models.familiarity import Familiarity
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ExportRequest
    from zoo.preprocess import Preprocess
    from zoo.runs.run import RunFolder
    from zoo_export.model_card import InputKind, ModelCard
    from zoo_export.validation.parity import Backend
    from zoo_export.validation.samples import ExportSamples


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A run in torch, with the photos to compare on.

    Attributes:
        run: The run.
        classifier: Maps normalised images ``(N, 3, h, w)`` float32 to logits ``(N, classes)``; in eval mode, on the
            CPU, with the weights of the run.
        familiarity: Maps its features to the familiarity of photos; None if the run does not recognise unfamiliar ones.
        samples: The photos of the export.
        verify: Whether the user asked for a comparison.
        data: The photos that the user passed; None means the validation photos of the run.
        observer: Receives progress.
    """

    run: RunFolder
    classifier: Classifier
    familiarity: Familiarity | None
    samples: ExportSamples
    verify: bool
    data: str | None
    observer: Observer

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return self.run.classes

    @property
    def preprocess(self) -> Preprocess:
        """How photos become normalised images; its `size` is (h, w)."""
        return self.run.preprocess

    def describe(self, *, input: InputKind = "tensor", opset: int = 0, has_digest: bool = False) -> ModelCard:
        """Returns the card of a file, before any comparison: classes, preprocessing, origin, versions.

        Args:
            input: What the file takes.
            opset: Version of the ONNX operators; 0 for a file without any.
            has_digest: Whether the file ends with its digest.
        """
        from zoo_export.targets.provenance import build_card

        return build_card(self.run, self.classifier, input=input, opset=opset, has_digest=has_digest)

    def compare(self, compute: Callable[[Any], Any], *, input: InputKind = "tensor", name: str = "torch") -> ModelCard:
        """Compares what was exported with the run: photo by photo, and in batches of 2 and 7.

        Compares nothing if the user asked for no comparison; the card says so.

        Args:
            compute: Maps a tensor to logits ``(N, classes)``. The tensor has normalised images ``(N, 3, h, w)``
                float32; for the input ``"pixels"`` decoded photos ``(N, H, W, 3)`` uint8 of any size, those of a batch
                of the same.
            input: What `compute` takes.
            name: What it computes with, for the report and for messages.

        Returns:
            The card, with the report of the comparison.

        Raises:
            ExportError: They differ; the message names the worst photo.
            DataError: No photo is readable.
        """
        card = self.describe(input=input)
        if not self.verify:
            return card
        from zoo_export.validation.parity import Backend, FileOutputs, compute_probabilities

        def run_backend(feed: NDArray[Any]) -> FileOutputs:
            logits = _compute_logits(compute, feed)
            return FileOutputs(compute_probabilities(self.classifier, logits), logits)

        return self.compare_backends([Backend(name, run_backend)], card)

    def compare_backends(self, backends: Sequence[Backend], card: ModelCard) -> ModelCard:
        """Compares a file with the run, in each of several ways to run it; returns the card with the report.

        Raises:
            ExportError: As for `compare`.
            DataError: As for `compare`.
        """
        from zoo_export.validation.parity import RunFamiliarity, compare, with_report

        known = None
        if self.familiarity is not None and self.run.familiarity is not None:
            known = RunFamiliarity(self.familiarity, self.run.familiarity.threshold)
        report = compare(backends, card, self.classifier, self.samples.comparison, self.observer, familiarity=known)
        return with_report(card, report, self.data)


def load_reference(request: ExportRequest) -> Reference:
    """Finds the photos of an export and rebuilds the network of the run: the first step of an export target.

    Raises:
        MissingPackageError: torch is not installed.
        ExportError: There are no photos to compare on.
        RunError: The files of the run are damaged.
    """
    return open_reference(
        open_run(request.run),
        verify=request.verify,
        data=request.data,
        photos=request.photos,
        observer=request.observer,
        registry=request.registry,
    )


def open_reference(
    run: RunFolder,
    *,
    verify: bool,
    data: str | None,
    photos: int,
    observer: Observer,
    registry: Registry | None,
    reduced: bool = False,
) -> Reference:
    """Does what `load_reference` does; with `reduced` also finds the photos that a reduced precision needs."""
    require_torch("The export of a run")
    registry = registry or load_registry()
    samples = find_export_samples(
        run, verify=verify, reduced=reduced, data=data, photos=photos, registry=registry, observer=observer
    )
    # Imported only now: bad arguments and missing photos fail before torch is loaded.
    from zoo.inference.run_predictor import build_familiarity, rebuild_model

    classifier = rebuild_model(run, registry).classifier.eval()
    return Reference(
        run=run,
        classifier=classifier,
        familiarity=build_familiarity(run, classifier.head),
        samples=samples,
        verify=verify,
        data=data,
        observer=observer,
    )


def _compute_logits(compute: Callable[[Any], Any], feed: NDArray[Any]) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        result = torch.as_tensor(compute(torch.from_numpy(feed))).detach().float().cpu()
    if result.ndim != 2:
        raise ExportError(f"The exported file returns {tuple(result.shape)} for {len(feed)} photos, not one row each.")
    logits: NDArray[np.float32] = result.numpy()
    return logits
