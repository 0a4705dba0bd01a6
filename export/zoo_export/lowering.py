"""A network in lower precision, where that is worth it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo.data.images.decode import preprocess
from zoo.errors import DataError
from zoo.events import Work
from zoo_export.gate import check, measure_gain
from zoo_export.photos import evenly, network_input, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess
    from zoo_export.card import ModelCard, PrecisionName

_CALIBRATION = 128  # photos; ranges hardly move with more


def lowered(
    network: onnx.ModelProto,
    card: ModelCard,
    precision: PrecisionName,
    *,
    photos: dict[str, list[Sample]],
    max_drop: float,
    device: str,
    finish: Callable[[onnx.ModelProto, ModelCard], bytes],
    observer: Observer,
) -> tuple[onnx.ModelProto, ModelCard]:
    """Returns a network in lower precision, and its card.

    Args:
        network: In float32, with the input ``tensor``.
        card: Of its file.
        precision: ``"fp16"`` or ``"int8"``.
        photos: The parts ``"train"``, which int8 is calibrated on, and ``"val"``, which both are scored on.
        max_drop: Points of accuracy that it may cost.
        device: What to measure on.
        finish: Makes a file of a network and a card.
        observer: Told of progress.

    Raises:
        ExportError: It cannot be had, costs too much accuracy, or is not faster.
    """
    made: dict[str, Any] = {}
    if precision == "int8":
        from zoo_export.int8 import to_int8

        images = _preprocessed(evenly(photos["train"], _CALIBRATION), card.preprocess, observer)
        made = {"calibration_photos": len(images)}
        observer(Work(what="quantise", done=0, total=None))
        lower = to_int8(network, (network_input([image], card.preprocess).numpy() for image in images))
    else:
        from zoo_export.half import to_fp16

        lower = to_fp16(network)
    lower_card = replace(card, precision=precision)
    files = finish(network, card), finish(lower, lower_card)
    gain = measure_gain(*files, photos["val"], device=device, observer=observer)
    check(gain, precision, max_drop=max_drop)
    return lower, replace(lower_card, quantisation={**made, **gain.to_dict(), "max_drop": max_drop})


def _preprocessed(samples: Sequence[Sample], spec: Preprocess, observer: Observer) -> list[NDArray[np.uint8]]:
    """Returns the photos to calibrate on: all of them, before the quantiser begins, whose output is not shown."""
    images = []
    for _, pixels in read(samples, observer):
        images.append(preprocess(pixels, spec))
        observer(Work(what="read photos to calibrate on", done=len(images), total=len(samples)))
    if not images:
        raise DataError("None of the training photos to calibrate on can be read.")
    return images
