"""The contract of a backbone."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.specs import BackboneCard, BackboneRequest, BackboneSpec
from zoo.testing.subject import Subject, check_options, close, jitter, saved_and_loaded, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = 3


def check_backbone(
    spec: BackboneSpec, *, size: tuple[int, int] | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Checks one backbone, with random weights.

    Args:
        spec: The backbone.
        size: (height, width) of the images to check with; by default the card's.
        options: Values of its options, where the defaults will not do.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    subject = Subject(f"backbone {spec.name}")
    made = check_options(subject, spec.options, options or {})
    card = _check_card(subject, spec)
    request = BackboneRequest(pretrained=False, image_size=size or card.preprocess.size, options=made)
    with seeded():
        backbone = _build(subject, spec, request)
        stages = _check_stages(subject, backbone)
        images = _images(request.image_size)
        _check_features(subject, backbone, images)
        jitter(backbone)
        _check_gradients(subject, backbone, stages, images)
        _check_freezing(subject, backbone, stages, images)
        _check_inference(subject, backbone, images)
        _check_saving(subject, backbone, _build(subject, spec, request), images)


def _check_card(subject: Subject, spec: BackboneSpec) -> BackboneCard:
    with subject.calling("card()"):
        card = resolve_callable(spec.card)()
    subject.want(isinstance(card, BackboneCard), f"card() must return a BackboneCard, not {type(card).__name__}")
    pre = card.preprocess
    subject.want(
        len(pre.size) == 2 and all(isinstance(side, int) and side > 0 for side in pre.size),
        f"preprocess.size must be (height, width) in pixels; it is {pre.size}",
    )
    subject.want(
        pre.resize > 0 or pre.resize_mode == "squash",
        f"preprocess.resize must be a length in pixels; it is {pre.resize}",
    )
    subject.want(
        len(pre.mean) == len(pre.std) == 3 and all(0 < s <= 1 for s in pre.std) and all(0 <= m <= 1 for m in pre.mean),
        "preprocess.mean and std must be three numbers each, in units of x / 255 (0 to 1, not 0 to 255)",
    )
    return card


def _build(subject: Subject, spec: BackboneSpec, request: BackboneRequest) -> Backbone:
    with subject.calling(f"build({request})"):
        backbone = resolve_callable(spec.build)(request)
    subject.want(isinstance(backbone, Backbone), f"build() must return a zoo.Backbone, not {type(backbone).__name__}")
    subject.want(backbone.training, "build() must return the module in train mode")
    for name, tensor in (*backbone.named_parameters(), *backbone.named_buffers()):
        subject.want(tensor.device.type == "cpu", f"build() must return the module on the CPU; {name} is not")
        subject.want(
            not tensor.is_floating_point() or tensor.dtype == torch.float32,
            f"{name} must be float32, not {tensor.dtype}",
        )
    subject.want(all(p.requires_grad for p in backbone.parameters()), "build() must return the module unfrozen")
    return backbone


def _check_stages(subject: Subject, backbone: Backbone) -> tuple[Stage, ...]:
    with subject.calling("stages()"):
        stages = backbone.stages()
    subject.want(
        isinstance(stages, tuple) and bool(stages) and all(isinstance(stage, Stage) for stage in stages),
        "stages() must return a tuple of zoo.Stage, at least one",
    )
    names = [stage.name for stage in stages]
    subject.want(len(set(names)) == len(names), f"the names of its stages must differ; they are {names}")
    for stage in stages:
        subject.want(bool(stage.parameters), f"the stage '{stage.name}' must have parameters, or be left out")
    staged = [name for stage in stages for name in stage.parameters]
    existing = {name for name, _ in backbone.named_parameters()}
    wanted = "every parameter must be in exactly one stage, named as in named_parameters()"
    twice = sorted({name for name in staged if staged.count(name) > 1})
    subject.want(not twice, f"{wanted}; in two: {twice[:3]}")
    subject.want(not existing - set(staged), f"{wanted}; in none: {sorted(existing - set(staged))[:3]}")
    subject.want(not set(staged) - existing, f"{wanted}; unknown: {sorted(set(staged) - existing)[:3]}")
    return stages


def _forward(subject: Subject, backbone: Backbone, images: Tensor) -> Features:
    mode = "train" if backbone.training else "eval"
    with subject.calling(f"forward() in {mode} mode on images {tuple(images.shape)}"):
        features: Features = backbone(images)
    subject.want(
        isinstance(features, Features),
        f"forward() must return zoo.Features in {mode} mode, not {type(features).__name__}",
    )
    pooled = (len(images), backbone.pooled_width)
    subject.want(
        tuple(features.pooled.shape) == pooled,
        f"features.pooled must be (N, pooled_width), here {pooled}; it is {tuple(features.pooled.shape)}",
    )
    subject.want(
        features.map.ndim == 4 and tuple(features.map.shape[:2]) == (len(images), backbone.map_width),
        f"features.map must be (N, map_width, h, w), here ({len(images)}, {backbone.map_width}, h, w); "
        f"it is {tuple(features.map.shape)}",
    )
    for name, tensor in features._asdict().items():
        subject.want(tensor.dtype == torch.float32, f"features.{name} must be float32, not {tensor.dtype}")
        subject.want(bool(tensor.isfinite().all()), f"features.{name} must be finite for normalised images")
    return features


def _images(size: tuple[int, int]) -> Tensor:
    # Coarse patterns: deep random networks average fine noise away, and all images would look the same to them.
    coarse = F.interpolate(torch.randn(BATCH, 3, 4, 4), size=size, mode="bilinear")
    return coarse + 0.1 * torch.randn(BATCH, 3, *size)


def _check_features(subject: Subject, backbone: Backbone, images: Tensor) -> None:
    backbone.eval()
    with torch.no_grad():
        _forward(subject, backbone, images)
        _forward(subject, backbone, images[:1])
    backbone.train()


def _check_inference(subject: Subject, backbone: Backbone, images: Tensor) -> None:
    backbone.eval()
    with torch.no_grad():
        all_at_once = _forward(subject, backbone, images)
        again = _forward(subject, backbone, images)
        alone = _forward(subject, backbone, images[1:2])
    for name in Features._fields:
        batch = getattr(all_at_once, name)
        subject.want(close(getattr(again, name), batch), f"features.{name} must be the same every time in eval mode")
        subject.want(
            close(getattr(alone, name), batch[1:2]),
            f"features.{name} of an image must not depend on the other images of its batch in eval mode",
        )


def _backward(subject: Subject, backbone: Backbone, images: Tensor) -> None:
    backbone.train()
    backbone.zero_grad(set_to_none=True)
    features = _forward(subject, backbone, images)
    # Random weights, for the plain sum of layer-normalised features is constant and has no gradient.
    score = sum((tensor * torch.randn_like(tensor)).sum() for tensor in features)
    with subject.calling("the backward pass"):
        torch.as_tensor(score).backward()


def _check_gradients(subject: Subject, backbone: Backbone, stages: tuple[Stage, ...], images: Tensor) -> None:
    order: list[str] = []
    handles = [
        parameter.register_post_accumulate_grad_hook(functools.partial(_note, order, name))
        for name, parameter in backbone.named_parameters()
    ]
    _backward(subject, backbone, images)
    for handle in handles:
        handle.remove()
    for stage in stages:
        subject.want(
            _has_gradient(backbone, stage), f"the gradient of the features must reach the stage '{stage.name}'"
        )
    # Gradients become ready from the output to the input, so they tell in which order the stages really run.
    ready = {name: place for place, name in enumerate(order)}
    first_ready = [min(ready[name] for name in stage.parameters if name in ready) for stage in stages]
    for (stage, place), (following, place_following) in itertools.pairwise(zip(stages, first_ready, strict=True)):
        subject.want(
            place > place_following,
            f"stages() must run from input to output, but '{stage.name}' is used after '{following.name}'",
        )


def _note(order: list[str], name: str, parameter: Tensor) -> None:
    order.append(name)


def _check_freezing(subject: Subject, backbone: Backbone, stages: tuple[Stage, ...], images: Tensor) -> None:
    frozen = stages[: max(1, len(stages) // 2)]
    if len(stages) == 1:
        return
    for name in (name for stage in frozen for name in stage.parameters):
        backbone.get_parameter(name).requires_grad_(False)
    _backward(subject, backbone, images)
    for stage in frozen:
        subject.want(not _has_gradient(backbone, stage), f"the frozen stage '{stage.name}' must be given no gradient")
    for stage in stages[len(frozen) :]:
        subject.want(
            _has_gradient(backbone, stage),
            f"the stage '{stage.name}' must still be given a gradient when the stages before it are frozen",
        )
    backbone.requires_grad_(True)


def _has_gradient(backbone: Backbone, stage: Stage) -> bool:
    gradients = (backbone.get_parameter(name).grad for name in stage.parameters)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _check_saving(subject: Subject, backbone: Backbone, fresh: Backbone, images: Tensor) -> None:
    with subject.calling("loading its state dict, saved as safetensors, into a fresh build"):
        saved_and_loaded(backbone, fresh)
    backbone.eval()
    fresh.eval()
    with torch.no_grad():
        before, after = _forward(subject, backbone, images), _forward(subject, fresh, images)
    subject.want(
        close(after.pooled, before.pooled) and close(after.map, before.map),
        "a fresh build with the saved state dict must give the same features",
    )
