"""The loss of a head, with its activation, the smoothing of its labels and what makes up for uneven classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from zoo.plugins.specs.losses import Activation

LossFunction: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A loss, and the activation that turns its logits into probabilities.

    `zoo.plugins.losses.build_criterion` makes one of the loss of a plugin.

    Attributes:
        name: The name of the loss, for messages.
        function: Returns the mean loss of logits ``(N, classes)`` and targets, as `zoo.LossSpec.build` describes it;
            with `class_weights`, the loss of each image ``(N,)``; with `positive_weights`, that of each label ``(N,
            classes)``. None in a finished run, which has no use for a loss.
        activation: ``"softmax"``, whose probabilities sum to one, or ``"sigmoid"``, whose need not.
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1 (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).
        smooths_labels: Whether `function` smooths the labels itself.
        multi_label: Whether targets have any number of labels per image: smoothing then moves each of them towards a
            half, not towards the mean over all classes.
        class_weights: What the loss of a photo of each class is multiplied by; empty: by nothing. Photos of soft
            targets have the mean weight of their classes. The result is divided by the number of photos, not by the
            sum of their weights, so that it does not depend on how photos are put into batches.
        positive_weights: Where photos have any number of labels, what the loss of each label is multiplied by in a
            photo that has it; empty: by nothing. Labels that a photo has in part count in part.
        logit_offsets: Added to the logits of each class before the loss is computed, and to no predictions: the
            adjustment of Menon et al. 2021 (https://arxiv.org/abs/2007.07314). Empty: nothing is added.
        temperature: What logits are divided by before they become probabilities, and not in the loss: one number, or
            one for each class (`zoo.metrics.calibration.Calibration`). Empty: by nothing.

    Raises:
        ConfigError: The label smoothing is not from 0 to 1.
    """

    name: str
    function: LossFunction | None
    activation: Activation = "softmax"
    label_smoothing: float = 0.0
    smooths_labels: bool = False
    multi_label: bool = False
    class_weights: tuple[float, ...] = ()
    positive_weights: tuple[float, ...] = ()
    logit_offsets: tuple[float, ...] = ()
    temperature: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}.", hint="It must be between 0 and 1.")

    @property
    def sums_to_one(self) -> bool:
        """Whether the probabilities of an image sum to one."""
        return self.activation == "softmax"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            logits: ``(N, classes)`` of any float type; the computation uses at least float32.
            targets: Class indices ``(N,)`` int64; soft targets ``(N, classes)`` whose rows sum to one; or, for several
                labels per image, multi-hot ``(N, classes)``.

        Raises:
            ConfigError: The network was opened for predictions, and has no loss.
        """
        import torch

        if self.function is None:
            raise ConfigError(
                f"The loss '{self.name}' is not available in a finished run, which is opened for predictions.",
                hint="Train with 'zoo finetune', or build the loss with zoo.plugins.losses.build_criterion.",
            )
        logits = self.adjust(logits.to(torch.promote_types(logits.dtype, torch.float32)))
        labels = targets = targets if targets.ndim == 1 else targets.to(logits)
        if self.label_smoothing and not self.smooths_labels:
            targets = self._smooth(targets, logits)
        loss = self.function(logits, targets)
        if self.positive_weights:
            return (loss * self.weigh_labels(labels, logits)).sum(dim=1).mean()
        return (loss * self.weigh(labels, logits)).mean() if self.class_weights else loss

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns probabilities ``(N, classes)`` float32, from 0 to 1, of logits ``(N, classes)``."""
        logits = self._divide(logits.float())
        return logits.softmax(dim=1) if self.sums_to_one else logits.sigmoid()

    def adjust(self, logits: Tensor) -> Tensor:
        """Returns the logits ``(N, classes)`` of which the loss is computed: those of the network plus the offsets."""
        return logits + _per_class(self.logit_offsets, logits.device, logits.dtype) if self.logit_offsets else logits

    def weigh(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Returns the weight of each photo ``(N,)``, with the type and the device of the logits.

        Args:
            targets: As for `loss`, before they are smoothed.
            logits: ``(N, classes)``.
        """
        import torch

        if not self.class_weights:
            return torch.ones(len(targets), dtype=logits.dtype, device=logits.device)
        weights = _per_class(self.class_weights, logits.device, logits.dtype)
        return weights[targets] if targets.ndim == 1 else targets.to(logits) @ weights

    def weigh_labels(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Returns the weight of each label of each photo ``(N, classes)``, with the type and the device of the logits.

        Args:
            targets: As for `loss`, before they are smoothed.
            logits: ``(N, classes)``.
        """
        import torch
        from torch.nn import functional as F

        if not self.positive_weights:
            return torch.ones_like(logits)
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[1])
        return 1 + targets.to(logits) * (_per_class(self.positive_weights, logits.device, logits.dtype) - 1)

    def reweighted(self, factors: Sequence[float]) -> Criterion:
        """Returns the same loss with the weight of each class multiplied by a factor; it must have weights."""
        return replace(self, class_weights=tuple(a * b for a, b in zip(self.class_weights, factors, strict=True)))

    def _divide(self, logits: Tensor) -> Tensor:
        """Returns logits divided by the temperature."""
        import torch

        if len(self.temperature) < 2:
            return logits / self.temperature[0] if self.temperature else logits
        # Not `_per_class`: an exporter traces this, and must see a constant, not a tensor from outside.
        return logits / torch.tensor(self.temperature, dtype=logits.dtype, device=logits.device)

    def _smooth(self, targets: Tensor, logits: Tensor) -> Tensor:
        from torch.nn import functional as F

        classes = logits.shape[1]
        soft = F.one_hot(targets, classes).to(logits) if targets.ndim == 1 else targets
        return soft * (1 - self.label_smoothing) + self.label_smoothing / (2 if self.multi_label else classes)


@lru_cache(maxsize=64)
def _per_class(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns a number for each class as a tensor ``(classes,)``; copied to a device once, not at every step."""
    import torch

    with torch.inference_mode(mode=False):  # the first to ask may be an evaluation, the next a training step
        return torch.tensor(values, dtype=dtype, device=device)
