"""Compiles training steps (torch.compile) if the training is long enough to be worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import TrainingError
from zoo.training.micro_batches import MicroBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

# Not yet measured on a GPU by this project. Ansel et al. 2024 (https://doi.org/10.1145/3620665.3640366) report 1.41 x
# for training on an A100, over many kinds of networks; small ones gain less, and compile for about a minute.
_EXPECTED_GAIN = 0.15  # of the remaining time
_EXPECTED_COST = 60.0  # seconds
_WARMUP_STEPS = 20  # steps before the remaining time can be estimated
UNDECIDED = "not decided yet"


class Compilation:
    """Calls a network, as it is or compiled.

    Compiles the forward and backward pass for a single batch size, that of the micro-batches of a whole step: every
    further size, such as that of the last batch of an epoch, would be compiled as well, and so would evaluation.

    Args:
        mode: ``"auto"``: on CUDA, once enough time remains; ``"yes"``; ``"no"``.
        device: The device of the network.
        on_change: Called with `on` and `reason` when either changes.
        reason: The reason, if `mode` is ``"yes"`` or ``"no"``.
        images: Images of a whole step; by default as many as in the first call.
        micro_batches: How many of them the network processes at a time.

    Attributes:
        on: Whether the network is compiled.
        reason: The reason, in a few words.
    """

    def __init__(
        self,
        mode: str,
        device: torch.device,
        *,
        on_change: Callable[[bool, str], None] = lambda on, reason: None,
        reason: str = "asked for",
        images: int | None = None,
        micro_batches: MicroBatches | None = None,
    ) -> None:
        self._mode = mode
        self._on_change = on_change
        self._images = images
        self._micro_batches = micro_batches or MicroBatches()
        self._compiled: Callable[[Any], Tensor] | None = None
        self._compiled_size = 0
        self._undecided = mode == "auto" and device.type == "cuda"
        if mode == "auto":
            # On a CPU it gains 0 to 17 % and takes a minute (docs/performance.md).
            reason = UNDECIDED if self._undecided else f"too little is gained on {device.type}"
        self._set(mode == "yes", reason)

    def decide(self, *, seconds_left: float, steps: int) -> None:
        """Decides whether to compile from here on, unless that is decided already.

        Args:
            seconds_left: Estimated time until training ends.
            steps: Steps taken so far.
        """
        if not self._undecided or steps < _WARMUP_STEPS:
            return
        self._undecided = False
        gain = seconds_left * _EXPECTED_GAIN
        sign = ">" if gain > _EXPECTED_COST else "<="
        self._set(gain > _EXPECTED_COST, f"expected gain {gain:.0f} s {sign} expected cost {_EXPECTED_COST:.0f} s")

    def __call__(self, network: Callable[[Any], Tensor], images: Any, *, count: int) -> Tensor:
        """Returns the logits of a network.

        Args:
            network: The same one in every call.
            images: Its input.
            count: Number of images.

        Raises:
            TrainingError: `mode` is ``"yes"``, and the network cannot be compiled.
        """
        if not self.on or count != self._micro_batch_size(count):
            return network(images)
        if self._compiled is not None and count == self._compiled_size:
            return self._compiled(images)
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

        self._compiled_size = count
        self._compiled = torch.compile(network, dynamic=False)
        try:
            return self._compiled(images)
        except TorchDynamoException as error:
            self._give_up(error)
        return network(images)

    def _micro_batch_size(self, count: int) -> int:
        """Returns the number of images in the first micro-batch of a whole step; smaller once memory ran out."""
        self._images = self._images or count
        return len(range(self._images)[next(self._micro_batches.split(self._images))])

    def _give_up(self, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        if self._mode == "yes":
            raise TrainingError(
                f"The network cannot be compiled: {reason}", hint="Leave --compile out, or pass --compile no."
            ) from error
        self._set(False, f"it failed: {reason}")

    def _set(self, on: bool, reason: str) -> None:
        self.on, self.reason = on, reason
        self._on_change(on, reason)
