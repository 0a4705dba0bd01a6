"""The contract of a backbone."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.features import measure_stages
from zoo.models.nested import count_changes
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.faults import card_fault
from zoo.plugins.specs import BackboneCard, BackboneRequest, BackboneSpec
from zoo.testing.contract import Contract, check_local, check_options, is_close, perturb, reload_state, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = 3


@restore_random_states()
def check_backbone(
    spec: BackboneSpec, *, size: tuple[int, int] | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Checks a backbone with random weights.

    Args:
        spec: The backbone.
        size: (height, width) of the test images in pixels; by default that of the card.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The backbone violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"backbone {spec.name}")
    with contract.calling("all_options()"):
        kinds = spec.options if spec.all_options is None else resolve_callable(spec.all_options)(tuple(options or ()))
    contract.require(
        isinstance(kinds, type) and issubclass(kinds, spec.options),
        "all_options() must return a class that extends options",
    )
    instance = check_options(contract, kinds, options or {})
    card = _check_card(contract, spec)
    check_local(contract, spec.is_local)
    request = BackboneRequest(pretrained=False, image_size=size or card.preprocess.size, options=instance)
    with seeded():
        backbone = _build(contract, spec, request)
        stages = _check_stages(contract, backbone)
        images = _images(request.image_size)
        _check_features(contract, backbone, images)
        perturb(backbone)
        _check_gradients(contract, backbone, stages, images)
        _check_freezing(contract, backbone, stages, images)
        _check_inference(contract, backbone, images)
        _check_stage_maps(contract, backbone, images)
        _check_saving(contract, backbone, _build(contract, spec, request), images)


def _check_card(contract: Contract, spec: BackboneSpec) -> BackboneCard:
    with contract.calling("card()"):
        card = resolve_callable(spec.card)()
    fault = card_fault(card)
    contract.require(not fault, fault)
    return card


def _build(contract: Contract, spec: BackboneSpec, request: BackboneRequest) -> Backbone:
    with contract.calling(f"build({request})"):
        backbone = resolve_callable(spec.build)(request)
    contract.require(
        isinstance(backbone, Backbone), f"build() must return a zoo.Backbone, not {type(backbone).__name__}"
    )
    contract.require(backbone.training, "build() must return the module in train mode")
    for name, tensor in (*backbone.named_parameters(), *backbone.named_buffers()):
        contract.require(tensor.device.type == "cpu", f"build() must return the module on the CPU; {name} is not")
        contract.require(
            not tensor.is_floating_point() or tensor.dtype == torch.float32,
            f"{name} must be float32, not {tensor.dtype}",
        )
    contract.require(all(p.requires_grad for p in backbone.parameters()), "build() must return the module unfrozen")
    return backbone


def _check_stages(contract: Contract, backbone: Backbone) -> tuple[Stage, ...]:
    with contract.calling("stages()"):
        stages = backbone.stages()
    contract.require(
        isinstance(stages, tuple) and bool(stages) and all(isinstance(stage, Stage) for stage in stages),
        "stages() must return a tuple of zoo.Stage, at least one",
    )
    names = [stage.name for stage in stages]
    contract.require(len(set(names)) == len(names), f"the names of its stages must differ; they are {names}")
    for stage in stages:
        contract.require(bool(stage.parameters), f"the stage '{stage.name}' must have parameters, or be left out")
    staged = [name for stage in stages for name in stage.parameters]
    existing = {name for name, _ in backbone.named_parameters()}
    rule = "every parameter must be in exactly one stage, by its name in named_parameters()"
    twice = sorted({name for name in staged if staged.count(name) > 1})
    contract.require(not twice, f"{rule}; in two: {twice[:3]}")
    contract.require(not existing - set(staged), f"{rule}; in none: {sorted(existing - set(staged))[:3]}")
    contract.require(not set(staged) - existing, f"{rule}; unknown: {sorted(set(staged) - existing)[:3]}")
    return stages


def _forward(contract: Contract, backbone: Backbone, images: Tensor) -> Features:
    mode, changes = "train" if backbone.training else "eval", count_changes(images)
    with contract.calling(f"forward() in {mode} mode on images {tuple(images.shape)}"):
        features: Features = backbone(images)
    contract.require(count_changes(images) == changes, "forward() must not change the images in place")
    contract.require(
        isinstance(features, Features),
        f"forward() must return zoo.Features in {mode} mode, not {type(features).__name__}",
    )
    pooled = (len(images), backbone.pooled_width)
    contract.require(
        tuple(features.pooled.shape) == pooled,
        f"features.pooled must be (N, pooled_width), here {pooled}; it is {tuple(features.pooled.shape)}",
    )
    contract.require(
        features.map.ndim == 4 and tuple(features.map.shape[:2]) == (len(images), backbone.map_width),
        f"features.map must be (N, map_width, h, w), here ({len(images)}, {backbone.map_width}, h, w); "
        f"it is {tuple(features.map.shape)}",
    )
    for name in ("pooled", "map"):
        tensor = getattr(features, name)
        contract.require(tensor.dtype == torch.float32, f"features.{name} must be float32, not {tensor.dtype}")
        contract.require(bool(tensor.isfinite().all()), f"features.{name} must be finite for normalised images")
    return features


def _images(size: tuple[int, int]) -> Tensor:
    # Coarse patterns, because deep random networks average fine noise away, so that all images give the same features.
    coarse = F.interpolate(torch.randn(BATCH, 3, 4, 4), size=size, mode="bilinear")
    return coarse + 0.1 * torch.randn(BATCH, 3, *size)


def _check_features(contract: Contract, backbone: Backbone, images: Tensor) -> None:
    backbone.eval()
    with torch.no_grad():
        _forward(contract, backbone, images)
        _forward(contract, backbone, images[:1])
    backbone.train()


def _check_inference(contract: Contract, backbone: Backbone, images: Tensor) -> None:
    backbone.eval()
    with torch.no_grad():
        all_at_once = _forward(contract, backbone, images)
        again = _forward(contract, backbone, images)
        alone = _forward(contract, backbone, images[1:2])
    for name in ("pooled", "map"):
        batch = getattr(all_at_once, name)
        contract.require(
            is_close(getattr(again, name), batch), f"features.{name} must be the same every time in eval mode"
        )
        contract.require(
            is_close(getattr(alone, name), batch[1:2]),
            f"features.{name} of an image must not depend on the other images of the batch in eval mode",
        )


def _check_stage_maps(contract: Contract, backbone: Backbone, images: Tensor) -> None:
    with contract.calling("stage_modules() and stage_map()"):
        shapes = measure_stages(backbone, (images.shape[2], images.shape[3]))
    names = {stage.name for stage in backbone.stages()}
    contract.require(
        names.issuperset(backbone.stage_modules()), "stage_modules() must name stages, as stages() names them"
    )
    backbone.tapped_stages = tuple(shapes)
    backbone.eval()
    with torch.no_grad(), contract.calling("extract()"):
        batch, alone = backbone.extract(images), backbone.extract(images[1:2])
    for name, stage_map, one in zip(shapes, batch.stages, alone.stages, strict=True):
        contract.require(
            stage_map.shape == (len(images), *shapes[name]),
            f"the map of the stage '{name}' must be (N, C, h, w), here {(len(images), *shapes[name])}; "
            f"it is {tuple(stage_map.shape)}",
        )
        contract.require(
            is_close(one, stage_map[1:2]), f"the map of the stage '{name}' must not depend on the batch in eval mode"
        )
    backbone.tapped_stages = ()


def _backward(contract: Contract, backbone: Backbone, images: Tensor) -> None:
    backbone.train()
    backbone.zero_grad(set_to_none=True)
    features = _forward(contract, backbone, images)
    # Random weights, because the plain sum of layer-normalised features is constant and has no gradient.
    score = sum((tensor * torch.randn_like(tensor)).sum() for tensor in (features.pooled, features.map))
    with contract.calling("the backward pass"):
        torch.as_tensor(score).backward()


def _check_gradients(contract: Contract, backbone: Backbone, stages: tuple[Stage, ...], images: Tensor) -> None:
    order: list[str] = []
    handles = [
        parameter.register_post_accumulate_grad_hook(functools.partial(_append, order, name))
        for name, parameter in backbone.named_parameters()
    ]
    _backward(contract, backbone, images)
    for handle in handles:
        handle.remove()
    for stage in stages:
        contract.require(
            _has_gradient(backbone, stage), f"the gradient of the features must reach the stage '{stage.name}'"
        )
    # Gradients are computed from the output to the input, so their order reveals the order of the stages.
    ready = {name: place for place, name in enumerate(order)}
    first_ready = [min(ready[name] for name in stage.parameters if name in ready) for stage in stages]
    for (stage, place), (following, place_following) in itertools.pairwise(zip(stages, first_ready, strict=True)):
        contract.require(
            place > place_following,
            f"stages() must be ordered from input to output, but '{stage.name}' is used after '{following.name}'",
        )


def _append(order: list[str], name: str, parameter: Tensor) -> None:
    order.append(name)


def _check_freezing(contract: Contract, backbone: Backbone, stages: tuple[Stage, ...], images: Tensor) -> None:
    frozen = stages[: max(1, len(stages) // 2)]
    if len(stages) == 1:
        return
    for name in (name for stage in frozen for name in stage.parameters):
        backbone.get_parameter(name).requires_grad_(False)
    _backward(contract, backbone, images)
    for stage in frozen:
        contract.require(not _has_gradient(backbone, stage), f"the frozen stage '{stage.name}' must get no gradient")
    for stage in stages[len(frozen) :]:
        contract.require(
            _has_gradient(backbone, stage),
            f"the stage '{stage.name}' must still get a gradient when the stages before it are frozen",
        )
    backbone.requires_grad_(True)


def _has_gradient(backbone: Backbone, stage: Stage) -> bool:
    gradients = (backbone.get_parameter(name).grad for name in stage.parameters)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _check_saving(contract: Contract, backbone: Backbone, fresh: Backbone, images: Tensor) -> None:
    with contract.calling("loading its state dict, saved as safetensors, into a fresh build"):
        reload_state(backbone, fresh)
    backbone.eval()
    fresh.eval()
    with torch.no_grad():
        before, after = _forward(contract, backbone, images), _forward(contract, fresh, images)
    contract.require(
        is_close(after.pooled, before.pooled) and is_close(after.map, before.map),
        "a fresh build with the saved state dict must give the same features",
    )
