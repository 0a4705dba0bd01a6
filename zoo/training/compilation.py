"""Whether training steps run as compiled kernels (torch.compile): where a training is long enough to repay it."""

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
_HANDFUL = 20  # steps before the remaining time can be told
UNDECIDED = "not decided yet"


class Compilation:
    """Calls a network, as it is or compiled.

    Only the forward and backward pass over parts of one size are compiled, that of the parts of a whole step: every
    further size, such as an epoch's last batch, would be compiled anew, and so would evaluation.

    Args:
        how: ``"auto"``: on CUDA, and once enough time remains; ``"yes"``, ``"no"``.
        device: Where the network is.
        on_change: Called with `on` and `why` when either changes.
        why: Why, where `how` says it all.
        images: Of a whole step; by default as many as the network is first called with.
        micro_batches: How many of them at a time.

    Attributes:
        on: Whether the network is compiled.
        why: In a few words.
    """

    def __init__(
        self,
        how: str,
        device: torch.device,
        *,
        on_change: Callable[[bool, str], None] = lambda on, why: None,
        why: str = "asked for",
        images: int | None = None,
        micro_batches: MicroBatches | None = None,
    ) -> None:
        self._how = how
        self._on_change = on_change
        self._images = images
        self._micro_batches = micro_batches or MicroBatches()
        self._compiled: Callable[[Any], Tensor] | None = None
        self._size = 0
        self._open = how == "auto" and device.type == "cuda"
        if how == "auto":
            # On a CPU 0 to 17 % for a minute (docs/performance.md).
            why = UNDECIDED if self._open else f"too little is gained on {device.type}"
        self._decide(how == "yes", why)

    def consider(self, *, seconds_left: float, steps: int) -> None:
        """Decides, if that is still open, whether to compile from here on.

        Args:
            seconds_left: Of the training, if it goes on as it has.
            steps: How many were taken so far.
        """
        if not self._open or steps < _HANDFUL:
            return
        self._open = False
        gain = seconds_left * _EXPECTED_GAIN
        sign = ">" if gain > _EXPECTED_COST else "<="
        self._decide(gain > _EXPECTED_COST, f"to gain {gain:.0f} s {sign} to pay {_EXPECTED_COST:.0f} s, as expected")

    def __call__(self, network: Callable[[Any], Tensor], images: Any, *, count: int) -> Tensor:
        """Returns what a network says to images.

        Args:
            network: The same one each time.
            images: Its input.
            count: Of the images.

        Raises:
            TrainingError: The network was to be compiled and cannot be.
        """
        if not self.on or count != self._part(count):
            return network(images)
        if self._compiled is not None and count == self._size:
            return self._compiled(images)
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

        self._size = count
        self._compiled = torch.compile(network, dynamic=False)
        try:
            return self._compiled(images)
        except TorchDynamoException as error:
            self._give_up(error)
        return network(images)

    def _part(self, count: int) -> int:
        """Returns how many images the first part of a whole step has; fewer, once memory ran out."""
        self._images = self._images or count
        return len(range(self._images)[next(self._micro_batches.split(self._images))])

    def _give_up(self, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        if self._how == "yes":
            raise TrainingError(
                f"The network cannot be compiled: {reason}", hint="Leave --compile out, or say --compile no."
            ) from error
        self._decide(False, f"it failed: {reason}")

    def _decide(self, on: bool, why: str) -> None:
        self.on, self.why = on, why
        self._on_change(on, why)
