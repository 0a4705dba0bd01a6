"""What a file decides by its probabilities, computed from its card: the output ``decisions`` must be the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ExportError
from zoo.metrics.costs import decide_classes
from zoo.metrics.thresholds import decide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo_export.model_card import ModelCard


def compute_decisions(probabilities: NDArray[np.float32], card: ModelCard) -> NDArray[np.bool_]:
    """Returns which labels each photo is decided to have, or which class, bool ``(N, classes)``.

    Args:
        probabilities: ``(N, classes)``.
        card: The card of the file.
    """
    if card.multi_label:
        return decide(probabilities, card.thresholds)
    decided = decide_classes(probabilities, card.classes, card.decision)
    one_hot: NDArray[np.bool_] = decided[:, None] == np.arange(len(card.classes))
    return one_hot


def check_decisions(
    decisions: NDArray[Any], probabilities: NDArray[np.float32], card: ModelCard, *, where: str
) -> None:
    """Checks the output ``decisions`` of a file.

    Args:
        decisions: The output, ``(N, classes)``.
        probabilities: Those of the same file, ``(N, classes)``.
        card: Its card.
        where: What computed them, for the message.

    Raises:
        ExportError: They do not follow from the probabilities.
    """
    if not np.array_equal(decisions, compute_decisions(probabilities, card)):
        raise ExportError(
            f"The decisions of the exported file do not follow from its probabilities on {where}.",
            hint="Nothing was written. Try another --opset.",
        )
