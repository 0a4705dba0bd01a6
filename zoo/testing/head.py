"""The contract of a head."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features, Head
from zoo.plugins.losses import LOSSES, Criterion
from zoo.plugins.options import describe_options
from zoo.plugins.specs import HeadRequest, HeadSpec
from zoo.testing.subject import Subject, check_options, close, jitter, saved_and_loaded, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = 4
# They differ, so that a head that takes the one for the other is found out.
POOLED_WIDTH, MAP_WIDTH = 48, 32


def check_head(spec: HeadSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks one head on random features, with every choice of its options and every loss.

    Args:
        spec: The head.
        options: Values of its options, where the defaults will not do.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    subject = Subject(f"head {spec.name}")
    made = check_options(subject, spec.options, options or {})
    with seeded():
        features = Features(torch.randn(BATCH, POOLED_WIDTH), torch.randn(BATCH, MAP_WIDTH, 3, 2))
        for outputs in (2, 3, 11):
            _logits(subject, _build(subject, spec, made, outputs=outputs), features, outputs)
        for variant in _variants(made):
            _logits(subject, _build(subject, spec, variant), features, 3)
        for loss in LOSSES:
            _check_loss(subject, _build(subject, spec, made, criterion=Criterion(name=loss)), features)
        head = _build(subject, spec, made)
        jitter(head)
        _check_gradient(subject, head, features)
        _check_inference(subject, head, features)
        _check_saving(subject, head, _build(subject, spec, made), features)
        _check_dropout(subject, _build(subject, spec, made, dropout=0.5), features)


def _build(
    subject: Subject,
    spec: HeadSpec,
    options: Any,
    *,
    outputs: int = 3,
    dropout: float = 0.0,
    criterion: Criterion | None = None,
) -> Head:
    request = HeadRequest(
        pooled_width=POOLED_WIDTH,
        map_width=MAP_WIDTH,
        outputs=outputs,
        dropout=dropout,
        criterion=criterion or Criterion(),
        options=options,
    )
    with subject.calling(f"build({request})"):
        head = resolve_callable(spec.build)(request)
    subject.want(isinstance(head, Head), f"build() must return a zoo.Head, not {type(head).__name__}")
    subject.want(head.criterion == request.criterion, "build() must pass request.criterion on to zoo.Head.__init__")
    return head


def _variants(options: Any) -> list[Any]:
    """Returns `options` with one option at a time moved to each of its other choices."""
    infos = [info for info in describe_options(type(options)) if info.choices or info.type is bool]
    return [
        dataclasses.replace(options, **{info.name: choice})
        for info in infos
        for choice in (info.choices or (False, True))
        if choice != getattr(options, info.name)
    ]


def _logits(subject: Subject, head: Head, features: Features, outputs: int) -> Tensor:
    with subject.calling(
        f"forward() on pooled {tuple(features.pooled.shape)} and map {tuple(features.map.shape)} features"
    ):
        logits: Tensor = head(features)
    wanted = (len(features.pooled), outputs)
    subject.want(
        isinstance(logits, Tensor) and tuple(logits.shape) == wanted,
        f"forward() must return logits (N, outputs), here {wanted}; it returned "
        f"{tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__}",
    )
    subject.want(logits.dtype == torch.float32, f"logits of float32 features must be float32, not {logits.dtype}")
    subject.want(bool(logits.isfinite().all()), "logits must be finite")
    return logits


def _check_loss(subject: Subject, head: Head, features: Features) -> None:
    logits = _logits(subject, head, features, 3)
    targets = torch.arange(BATCH) % 3
    for kind, given in (("class indices", targets), ("soft targets", torch.full((BATCH, 3), 1 / 3))):
        with subject.calling(f"loss() with {kind}"):
            loss = head.loss(logits, given)
        subject.want(
            loss.ndim == 0 and bool(loss.isfinite()), f"loss() with {kind} must return one finite number, the mean"
        )
    with subject.calling("probabilities()"):
        probabilities = head.probabilities(logits)
    subject.want(
        probabilities.shape == logits.shape and bool(((probabilities >= 0) & (probabilities <= 1)).all()),
        "probabilities() must return (N, outputs) from 0 to 1",
    )


def _check_gradient(subject: Subject, head: Head, features: Features) -> None:
    leaves = Features(*(tensor.clone().requires_grad_() for tensor in features))
    with subject.calling("the backward pass of its loss"):
        head.loss(head(leaves), torch.arange(BATCH) % 3).backward()
    reached = [leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves]
    subject.want(any(reached), "the gradient of its loss must reach the features, or the backbone cannot learn")
    lost = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    subject.want(not lost, f"the gradient of its loss must reach all its parameters; not reached: {lost[:3]}")


def _check_inference(subject: Subject, head: Head, features: Features) -> None:
    head.eval()
    with torch.no_grad():
        logits = _logits(subject, head, features, 3)
        again = _logits(subject, head, features, 3)
        alone = _logits(subject, head, Features(features.pooled[1:2], features.map[1:2]), 3)
    subject.want(close(again, logits), "logits must be the same every time in eval mode")
    subject.want(close(alone, logits[1:2]), "logits of an image must not depend on the other images in eval mode")


def _check_saving(subject: Subject, head: Head, fresh: Head, features: Features) -> None:
    with subject.calling("loading its state dict, saved as safetensors, into a fresh build"):
        saved_and_loaded(head, fresh)
    head.eval()
    fresh.eval()
    with torch.no_grad():
        same = close(_logits(subject, fresh, features, 3), _logits(subject, head, features, 3))
    subject.want(same, "a fresh build with the saved state dict must give the same logits")


def _check_dropout(subject: Subject, head: Head, features: Features) -> None:
    jitter(head)
    head.train()
    with torch.no_grad():
        first, second = _logits(subject, head, features, 3), _logits(subject, head, features, 3)
    subject.want(not close(first, second), "request.dropout must be applied to its input in train mode")
