"""The losses that heads are tested with."""

import functools

from zoo.plugins.criterion import Criterion
from zoo.plugins.kinds import LOSS
from zoo.plugins.losses import build_criterion
from zoo.plugins.registry import Registry, load_registry

LOSSES = ("cross-entropy", "focal", "poly-1", "bce", "asymmetric")
SIGMOIDS = ("bce", "asymmetric")


@functools.cache
def _registry() -> Registry:
    return load_registry()


def make_criterion(
    name: str = "cross-entropy",
    *,
    label_smoothing: float = 0.0,
    classes: int = 3,
    class_weights: tuple[float, ...] = (),
    positive_weights: tuple[float, ...] = (),
    logit_offsets: tuple[float, ...] = (),
    **options,
) -> Criterion:
    """Returns a built-in loss with these options."""
    return build_criterion(
        _registry().choose(LOSS, f"losses/{name}", options),
        classes=classes,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        positive_weights=positive_weights,
        logit_offsets=logit_offsets,
    )
