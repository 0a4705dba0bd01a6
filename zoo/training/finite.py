"""Ends a training whose numbers are not finite, before they replace good ones, and names where they begin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import DivergedError, TrainingError
from zoo.models.finite import find_bad_entries, find_source
from zoo.models.nested import flatten_tensors
from zoo.models.weights import shorten
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from zoo.data.loading.loader import Batch
    from zoo.models.precision import Precision
    from zoo.plugins.specs import Sample

_HINT = "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."
_EXPLODED = 10.0
_MIN_SCALE = 2.0**-14  # of a loss in fp16: 30 steps in a row had gradients that overflowed


class StepLog:
    """The loss and the gradient norm of each step, kept on the device, so that recording them does not wait for it.

    Attributes:
        first: The first loss; None before the first check.
        last: The last loss that was checked.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, float]] = []
        self._values: list[Tensor] = []
        self.first: float | None = None
        self.last: float | None = None

    def add(self, step: int, *, rate: float, loss: Tensor, norm: Tensor | None) -> None:
        """Adds a step; the norm is None where a gradient may overflow, because its step is skipped then."""
        self._steps.append((step, rate))
        self._values += [loss, torch.zeros_like(loss) if norm is None else norm.to(loss)]

    def check(self, *, epoch: int) -> None:
        """Checks the steps of an epoch since the last check. Waits for the device.

        Raises:
            DivergedError: A loss or a gradient is not finite; the message names the first one, its step and its rate.
        """
        if not self._steps:
            return
        values, steps = torch.stack(self._values).tolist(), self._steps
        self._steps, self._values = [], []
        for (step, rate), loss, norm in zip(steps, values[::2], values[1::2], strict=True):
            where = f"in step {step} of epoch {epoch}, at a learning rate of {rate:.2g}"
            if not math.isfinite(loss):
                before = "" if self.last is None else f"; it was {self.last:.3g} in the step before"
                raise DivergedError(f"The loss became {loss} {where}{before}.", hint=_HINT)
            if not math.isfinite(norm):
                raise DivergedError(f"The gradient became {norm} {where}; the loss was {loss:.3g}.", hint=_HINT)
            self.first = loss if self.first is None else self.first
            self.last = loss

    def is_lost(self, loss: float | None, *, classes: int) -> bool:
        """Returns whether weights with such a loss are worth nothing: it is far above that of a guess and of the start.

        Args:
            loss: The loss; None if it is not known.
            classes: The number of classes.
        """
        limit = _EXPLODED * max(math.log(max(2, classes)), self.first or 0.0)
        return loss is not None and not loss <= limit  # also for NaN


def check_loss(loss: float, *, epoch: int, step: int, rate: float) -> None:
    """Checks the mean training loss of the epoch so far.

    Raises:
        DivergedError: It is not finite; the message names epoch, step and learning rate.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"The loss became {loss} in epoch {epoch}, at or before step {step}, at a learning rate of {rate:.2g}.",
            hint=_HINT,
        )


def check_first_loss(loss: Tensor, locate: Callable[[], str]) -> None:
    """Checks the loss of the first step, before it changes any weight: then the learning rate cannot be the cause.

    Waits for the device. `locate` is called as in `check_val_loss`.

    Raises:
        TrainingError: It is not finite; the message names the module in which it begins.
    """
    if not math.isfinite(value := float(loss.detach())):
        raise TrainingError(
            f"The loss of the first step is {value}{locate()}.",
            hint="No weight has changed yet, so the learning rate is not the cause. Use --precision fp32, or report it "
            "to the author of the backbone or the head.",
        )


def check_scale(scaler: torch.amp.GradScaler, *, epoch: int, step: int) -> None:
    """Checks that the gradients of fp16 fit into it at some scale; those that do not are skipped. Waits for the device.

    Raises:
        DivergedError: Every step is skipped.
    """
    if scaler.is_enabled() and scaler.get_scale() < _MIN_SCALE:
        raise DivergedError(
            f"The gradients are NaN or infinite in every step up to step {step} of epoch {epoch}: no weight changes.",
            hint="Use --precision fp32.",
        )


def check_val_loss(loss: float, logits: Tensor, *, epoch: int, rate: float, locate: Callable[[], str]) -> None:
    """Checks the validation loss of an epoch: after its last step, only the validation shows that weights diverged.

    Args:
        loss: The mean loss.
        logits: The outputs for all photos; the loss of a plugin may be finite where they are not.
        epoch: Counted from 1.
        rate: The learning rate of the last step.
        locate: Returns where in the network the first value begins that is not finite.

    Raises:
        DivergedError: They are not finite; the message names epoch, learning rate and module.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"The validation loss became {loss} in epoch {epoch}, at a learning rate of {rate:.2g}{locate()}.",
            hint=_HINT,
        )
    if bad := find_bad_rows(logits):
        raise DivergedError(
            f"The outputs became NaN or infinite for {len(bad)} of {len(logits)} validation photos in epoch {epoch}, "
            f"at a learning rate of {rate:.2g}{locate()}.",
            hint=_HINT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenOutputs:
    """What frozen layers return for the photos of a split, for the message if some of it is not finite.

    Attributes:
        what: What they return: ``"features"``.
        split: The name of the split.
        samples: Its photos.
        locate: Returns where in the network the first such value begins, for the number of a photo.
    """

    what: str = "features"
    split: str = ""
    samples: Sequence[Sample] = ()
    locate: Callable[[int], str] = lambda number: ""

    def check(self, bad: Sequence[int], *, total: int) -> None:
        """Checks that there are no photos for which it is not finite.

        Args:
            bad: Their numbers.
            total: The number of all photos.

        Raises:
            TrainingError: There are some; the message names the first one, and the module.
        """
        if bad:
            photos = describe_photos(bad, total, self.split, self.samples)
            raise TrainingError(
                f"The {self.what} are NaN or infinite for {photos}{self.locate(bad[0])}.",
                hint="All weights are finite, so a layer overflows or divides by zero: use --precision fp32, leave out "
                "these photos, or report it to the author of the backbone or the head.",
            )


def check_outputs(logits: Tensor, samples: Sequence[Sample], *, split: str) -> None:
    """Checks the outputs of a trained network for a split.

    Raises:
        TrainingError: They are not finite; the message names the first photo.
    """
    if bad := find_bad_rows(logits):
        raise TrainingError(
            f"The trained network returns NaN or infinity for {describe_photos(bad, len(logits), split, samples)}.",
            hint="Its weights are finite, but it overflows: lower --lr, or use --precision fp32.",
        )


def describe_photos(indices: Sequence[int], total: int, split: str, samples: Sequence[Sample]) -> str:
    """Returns ``"3 of 71 val photos (the first: cat/1.jpg)"``; without the name if there are no samples."""
    name = f" (the first: {printable(samples[indices[0]].name)})" if indices[0] < len(samples) else ""
    return " ".join(filter(None, (f"{len(indices)} of {total}", split, f"photos{name}")))


@torch.no_grad()
def locate_failure(network: nn.Module, batches: Iterable[Batch], precision: Precision) -> str:
    """Returns where NaN or infinity begins in a network in eval mode (`zoo.models.finite.find_source`).

    Args:
        network: The network.
        batches: Batches of images; it looks at them until it finds the place.
        precision: The precision of forward passes.
    """
    for batch in batches:
        with precision.autocast():
            if place := find_source(network, batch.images):
                return place
    return ""


def check_weights(network: nn.Module, *, epoch: int, step: int, rate: float, what: str = "weights") -> None:
    """Checks what training changes, which shows a step before the loss does that it diverged. Waits for the device.

    Args:
        network: Its trainable weights are checked, and the statistics of its normalisations.
        epoch: Counted from 1.
        step: Counted from 1 within the epoch.
        rate: The learning rate.
        what: What they are called.

    Raises:
        DivergedError: One is not finite; the message names the first of them.
    """
    entries = {name: each.detach() for name, each in network.named_parameters() if each.requires_grad}
    entries |= {name: each for name, each in network.named_buffers() if "running_" in name}
    if bad := find_bad_entries(entries, network):
        raise DivergedError(
            f"The {what} are no longer finite after step {step} of epoch {epoch}, at a learning rate of {rate:.2g}: "
            f"{shorten(bad)}.",
            hint=_HINT,
        )


def find_bad_rows(values: Any) -> list[int]:
    """Returns the numbers of the photos whose values are not finite.

    Args:
        values: A tensor ``(N, ...)``, or nested tuples of such tensors.
    """
    finite = torch.stack([each.flatten(1).isfinite().all(dim=1) for each in flatten_tensors(values)]).all(dim=0)
    return (~finite).nonzero()[:, 0].tolist()
