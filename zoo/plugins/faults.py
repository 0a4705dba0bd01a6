"""What is wrong with what code of a plugin returned. The contract kit and the commands apply the same rules."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from zoo.plugins.specs import SPLITS, BackboneCard, Finding, ImageSet, Sample, WeightsInfo
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.plugins.criterion import Criterion

_STATUSES = get_args(get_type_hints(Finding)["status"])
_TOLERANCE = 1e-3  # of the sum of probabilities, which bfloat16 rounds


def card_fault(card: object) -> str:
    """Returns what is wrong with the card of a backbone, or an empty string."""
    if not isinstance(card, BackboneCard):
        return f"card() must return a BackboneCard, not {type(card).__name__}"
    pre, weights = card.preprocess, card.weights
    if not isinstance(pre, Preprocess):
        return f"the preprocess of its card must be a zoo.Preprocess, not {type(pre).__name__}"
    for name, known in get_type_hints(Preprocess).items():
        if get_origin(known) is Literal and getattr(pre, name) not in get_args(known):
            return f"preprocess.{name} must be one of {', '.join(get_args(known))}; it is {getattr(pre, name)!r}"
    if len(pre.size) != 2 or not all(isinstance(side, int) and side > 0 for side in pre.size):
        return f"preprocess.size must be (height, width) in whole pixels; it is {pre.size}"
    if pre.resize <= 0 and pre.resize_mode != "squash":
        return f"preprocess.resize must be a length in pixels; it is {pre.resize}"
    if len(pre.mean) != 3 or len(pre.std) != 3 or 0 in pre.std or not all(0 <= x <= 1 for x in (*pre.mean, *pre.std)):
        return "preprocess.mean and std must be three numbers each, in units of x / 255 (0 to 1, not 0 to 255)"
    if weights is not None and not isinstance(weights, WeightsInfo):
        return f"the weights of its card must be a zoo.WeightsInfo or None, not {type(weights).__name__}"
    return ""


def findings_fault(findings: object, *, subject: str = "it") -> str:
    """Returns what is wrong with the result of a check of the installation, or an empty string.

    Args:
        findings: Anything; right is a list of `Finding`.
        subject: What returned it, for the message.
    """
    if not isinstance(findings, list) or not findings or not all(isinstance(each, Finding) for each in findings):
        got = "an empty list" if findings == [] else type(findings).__name__
        return f"{subject} must return a list of zoo.Finding, at least one; it returned {got}"
    for each in findings:
        for field in ("about", "text", "advice"):
            if not isinstance(value := getattr(each, field), str):
                return f"'{field}' of a finding must be text; it is {value!r}"
        if each.status not in _STATUSES:
            return f"the status of a finding must be ok, warning or problem; that of '{each.about}' is {each.status!r}"
        if each.status == "problem" and not each.advice:
            return f"the problem '{each.about}' must come with advice"
    return ""


def image_set_fault(images: object, *, subject: str = "it", min_classes: int = 1) -> str:
    """Returns what is wrong with the images of a dataset, or an empty string. Opens no file.

    Args:
        images: Anything; right is an `ImageSet`.
        subject: What returned it, for the message.
        min_classes: How many classes it must have.
    """
    if not isinstance(images, ImageSet):
        return f"{subject} must return a zoo.ImageSet, not {type(images).__name__}"
    if not isinstance(images.name, str) or not images.name or Path(images.name).name != images.name:
        return f"the name of its ImageSet must be valid as a file name; it is {images.name!r}"
    if not isinstance(images.note, str):
        return f"note must be text; it is {images.note!r}"
    if not isinstance(images.skipped, tuple) or not all(isinstance(each, str) for each in images.skipped):
        return "skipped must be a tuple of texts"
    if not isinstance(images.multi_label, bool):
        return f"multi_label must be True or False; it is {images.multi_label!r}"
    return _classes_fault(images.classes, min_classes) or _samples_fault(images)


def _classes_fault(classes: object, count: int) -> str:
    if not isinstance(classes, tuple) or not all(isinstance(name, str) and name for name in classes):
        return "classes must be a tuple of names"
    if len(classes) < count:
        return f"it must have at least {'two classes' if count == 2 else 'one class'}; it has {len(classes)}"
    return f"the names of its classes must differ; they are {classes}" if len(set(classes)) < len(classes) else ""


def _samples_fault(images: ImageSet) -> str:
    names, count = set[str](), 0
    for split in SPLITS:
        samples = getattr(images, split)
        if not isinstance(samples, tuple) or not all(isinstance(sample, Sample) for sample in samples):
            return f"{split} must be a tuple of zoo.Sample"
        for sample in samples:
            if fault := _sample_fault(sample, split) or _label_fault(sample, split, images):
                return fault
        names.update(sample.name for sample in samples)
        count += len(samples)
    return "" if len(names) == count else "the names of its samples must be unique across all splits"


def _sample_fault(sample: Sample, split: str) -> str:
    source, name = sample.source, sample.name
    if not isinstance(name, str) or not name:
        return f"the name of a sample must be text; one in {split} is {name!r}"
    if not isinstance(source, (Path, bytes)):
        return f"a source must be a Path or bytes; that of '{name}' is {type(source).__name__}"
    if not isinstance(sample.group, str):
        return f"a group must be text; that of '{name}' is {type(sample.group).__name__}"
    return ""


def _label_fault(sample: Sample, split: str, images: ImageSet) -> str:
    """Returns what is wrong with the labels of a sample: one number, or in a multi-label set a tuple of them."""
    label, where = sample.label, f"'{sample.name}' in {split}"
    if images.multi_label and not isinstance(label, tuple):
        return f"labels must be tuples in a multi-label set, as (0, 2) or (); that of {where} is {label!r}"
    if not images.multi_label and isinstance(label, tuple):
        return f"labels must be int unless multi_label is True; that of {where} is {label!r}"
    if wrong := [type(each).__name__ for each in sample.labels if type(each) is not int]:
        return f"labels must be int; that of {where} is {wrong[0]}"
    last = len(images.classes) - 1
    if outside := [each for each in sample.labels if not 0 <= each <= last]:
        return f"labels must be from 0 to {last}; that of {where} is {outside[0]!r}"
    if any(one >= other for one, other in pairwise(sample.labels)):
        fault = "in ascending order" if len(set(sample.labels)) == len(sample.labels) else "different"
        return f"the labels of a sample must be {fault}; those of {where} are {label!r}"
    return ""


def probabilities_fault(probabilities: Any, *, shape: tuple[int, int], criterion: Criterion | None = None) -> str:
    """Returns what is wrong with probabilities, or an empty string.

    Args:
        probabilities: Anything; right is an array or a tensor ``(N, classes)`` float32.
        shape: (N, classes).
        criterion: The loss that determines whether those of an image sum to one; None if that is unknown.
    """
    try:
        found, kind = tuple(probabilities.shape), str(probabilities.dtype).removeprefix("torch.")
    except (AttributeError, TypeError):
        return f"they are {type(probabilities).__name__}"
    if found != shape or kind != "float32":
        return f"they are {found} {kind}, not {shape} float32"
    if not bool((probabilities == probabilities).all()):  # NaN differs from itself
        return "they contain NaN"
    low, high = float(probabilities.min()), float(probabilities.max())
    if low < 0 or high > 1 + _TOLERANCE:
        return f"they range from {low:.3g} to {high:.3g}, not from 0 to 1"
    if criterion is not None and criterion.sums_to_one and (off := _worst_sum(probabilities)) is not None:
        return f"those of an image sum to {off:.3g}, not to 1"
    return ""


def _worst_sum(probabilities: Any) -> float | None:
    """Returns the sum of a row that is furthest from one, or None if all are close to it."""
    sums = [float(row.sum()) for row in probabilities]
    worst = max(sums, key=lambda value: abs(value - 1))
    return worst if abs(worst - 1) > _TOLERANCE else None


def augmented_fault(result: Any, images: Any) -> str:
    """Returns what is wrong with the type of augmented images, or an empty string; waits for no device.

    Args:
        result: Anything; right is a tensor like `images`, uint8 or float32.
        images: The images before, ``(N, 3, H, W)``.
    """
    if not hasattr(result, "device"):
        return f"it returned {type(result).__name__}, not images"
    if result.shape != images.shape:
        return f"it returned {tuple(result.shape)} for images {tuple(images.shape)}; their shape must not change"
    if str(result.dtype) not in ("torch.uint8", "torch.float32"):
        return f"it returned {_type_name(result)}; images must be uint8, or float32 from 0 to 255"
    if result.device != images.device:
        return f"it returned images on {result.device}; they were on {images.device}"
    return ""


def mixed_fault(result: Any, images: Any, targets: Any) -> str:
    """Returns what is wrong with the type of mixed images and targets, or an empty string; waits for no device.

    Args:
        result: Anything; right is a tuple of two tensors like `images` and `targets`.
        images: The images before, ``(N, ...)``.
        targets: The targets before, ``(N, classes)``.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not all(hasattr(each, "device") for each in result):
        return f"it returned {type(result).__name__}, not a tuple of images and targets"
    for what, after, before in zip(("images", "targets"), result, (images, targets), strict=True):
        if (after.shape, after.dtype, after.device) != (before.shape, before.dtype, before.device):
            return (
                f"it returned {what} {tuple(after.shape)} {_type_name(after)} on {after.device}; they were "
                f"{tuple(before.shape)} {_type_name(before)} on {before.device}"
            )
    return ""


def _type_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
