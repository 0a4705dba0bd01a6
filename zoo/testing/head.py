"""The contract of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.nested import count_changes, flatten_tensors
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features, Head
from zoo.plugins.criterion import Criterion
from zoo.plugins.faults import probabilities_fault
from zoo.plugins.specs import HeadRequest, HeadSpec
from zoo.testing.contract import Contract, check_options, is_close, option_variants, perturb, reload_state, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = 4
# Different, to detect a head that confuses the two.
POOLED_WIDTH, MAP_WIDTH = 48, 32
STAGES = {"first": (8, 12, 8), "second": (16, 6, 4), "third": (24, 6, 4), "last": (MAP_WIDTH, 3, 2)}


def _binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    soft = F.one_hot(targets, logits.shape[1]) if targets.ndim == 1 else targets
    return F.binary_cross_entropy_with_logits(logits, soft.to(logits))


# One loss of each activation: a head knows of a loss no more than that.
SOFTMAX = Criterion(name="softmax", function=F.cross_entropy)
SIGMOID = Criterion(name="sigmoid", function=_binary_cross_entropy, activation="sigmoid")


@restore_random_states()
def check_head(spec: HeadSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks a head on random features, with every choice of its options, and losses of both activations.

    Args:
        spec: The head.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The head violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"head {spec.name}")
    instance = check_options(contract, spec.options, options or {})
    with seeded():
        for outputs in (2, 3, 11):
            head = _build(contract, spec, instance, outputs=outputs)
            _logits(contract, head, _features(head), outputs)
        for variant in (*option_variants(instance), *_candidates(contract, spec)):
            head = _build(contract, spec, variant)
            _logits(contract, head, _features(head), 3)
            _check_parts(contract, head, _features(head))
        features = _features(_build(contract, spec, instance))
        for criterion in (SOFTMAX, SIGMOID):
            _check_loss(contract, _build(contract, spec, instance, criterion=criterion), features)
        head = _build(contract, spec, instance)
        perturb(head)
        _check_parts(contract, head, features)
        _check_gradient(contract, head, features)
        _check_inference(contract, head, features)
        _check_saving(contract, head, _build(contract, spec, instance), features)
        _check_dropout(contract, _build(contract, spec, instance, dropout=0.5), features)


def _build(
    contract: Contract,
    spec: HeadSpec,
    options: Any,
    *,
    outputs: int = 3,
    dropout: float = 0.0,
    criterion: Criterion = SOFTMAX,
) -> Head:
    request = HeadRequest(
        pooled_width=POOLED_WIDTH,
        map_width=MAP_WIDTH,
        outputs=outputs,
        dropout=dropout,
        criterion=criterion,
        options=options,
        stages=STAGES,
    )
    with contract.calling(f"build({request})"):
        head = resolve_callable(spec.build)(request)
    contract.require(isinstance(head, Head), f"build() must return a zoo.Head, not {type(head).__name__}")
    contract.require(head.criterion == request.criterion, "build() must pass request.criterion on to zoo.Head.__init__")
    unknown = [name for name in head.stages if name not in STAGES]
    contract.require(not unknown, f"stages must name stages of request.stages; unknown: {unknown}")
    return head


def _features(head: Head) -> Features:
    maps = tuple(torch.randn(BATCH, *STAGES[name]) for name in head.stages)
    return Features(torch.randn(BATCH, POOLED_WIDTH), torch.randn(BATCH, *STAGES["last"]), maps)


def _candidates(contract: Contract, spec: HeadSpec) -> list[Any]:
    return [check_options(contract, spec.options, values) for values in spec.candidates]


def _check_parts(contract: Contract, head: Head, features: Features) -> None:
    """Checks that pooling and classifying in two steps is the same as in one."""
    head.eval()
    with contract.calling("pool()"):
        pooled = head.pool(features)
        tensors = flatten_tensors(pooled)
    contract.require(
        all(len(tensor) == BATCH for tensor in tensors), "pool() must return tensors (N, ...), or tuples of them"
    )
    contract.require(
        not any(tensor.requires_grad for tensor in tensors), "pool() must have no parameters, as its result is cached"
    )
    with torch.no_grad():
        logits = head(features)
        with contract.calling("classify() on the result of pool()"):
            parts = head.classify(pooled)
        contract.require(is_close(parts, logits), "classify(pool(features)) must be forward(features)")
        if head.output_layer is not None:
            contract.require(
                is_close(head.output_layer(pooled), logits), "output_layer must be all of classify() in eval mode"
            )
    head.train()


def _logits(contract: Contract, head: Head, features: Features, outputs: int) -> Tensor:
    changes = count_changes(features)
    with contract.calling(
        f"forward() on pooled {tuple(features.pooled.shape)} and map {tuple(features.map.shape)} features"
    ):
        logits: Tensor = head(features)
    contract.require(count_changes(features) == changes, "forward() must not change the features in place")
    expected = (len(features.pooled), outputs)
    contract.require(
        isinstance(logits, Tensor) and tuple(logits.shape) == expected,
        f"forward() must return logits (N, outputs), here {expected}; it returned "
        f"{tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__}",
    )
    contract.require(logits.dtype == torch.float32, f"logits of float32 features must be float32, not {logits.dtype}")
    contract.require(bool(logits.isfinite().all()), "logits must be finite")
    return logits


def _check_loss(contract: Contract, head: Head, features: Features) -> None:
    logits = _logits(contract, head, features, 3).detach()
    changes = count_changes(logits)
    targets = torch.arange(BATCH) % 3
    for kind, values in (("class indices", targets), ("soft targets", torch.full((BATCH, 3), 1 / 3))):
        with contract.calling(f"loss() with {kind}"):
            loss = head.loss(logits, values)
        contract.require(
            loss.ndim == 0 and bool(loss.isfinite()), f"loss() with {kind} must return one finite number, the mean"
        )
    contract.require(count_changes(logits) == changes, "loss() must not change the logits in place")
    # Such as a trained network returns: certain, and so far apart that their exponentials overflow.
    for scale in (1.0, 300.0):
        with contract.calling("probabilities()"):
            probabilities = head.probabilities(logits * scale)
        fault = probabilities_fault(probabilities, shape=(BATCH, 3), criterion=head.criterion)
        contract.require(not fault, f"probabilities() must return (N, outputs) from 0 to 1, float32; {fault}")


def _check_gradient(contract: Contract, head: Head, features: Features) -> None:
    leaves = [tensor.clone().requires_grad_() for tensor in (features.pooled, features.map, *features.stages)]
    with contract.calling("the backward pass of its loss"):
        logits = head(Features(leaves[0], leaves[1], tuple(leaves[2:])))
        head.loss(logits, torch.arange(BATCH) % 3).backward()
    reached = [leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves]
    contract.require(any(reached), "the gradient of its loss must reach the features, or the backbone cannot learn")
    missed = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    contract.require(not missed, f"the gradient of its loss must reach all its parameters; not reached: {missed[:3]}")


def _check_inference(contract: Contract, head: Head, features: Features) -> None:
    head.eval()
    with torch.no_grad():
        logits = _logits(contract, head, features, 3)
        again = _logits(contract, head, features, 3)
        one = Features(features.pooled[1:2], features.map[1:2], tuple(each[1:2] for each in features.stages))
        alone = _logits(contract, head, one, 3)
    contract.require(is_close(again, logits), "logits must be the same every time in eval mode")
    contract.require(
        is_close(alone, logits[1:2]), "logits of an image must not depend on the other images in eval mode"
    )


def _check_saving(contract: Contract, head: Head, fresh: Head, features: Features) -> None:
    with contract.calling("loading its state dict, saved as safetensors, into a fresh build"):
        reload_state(head, fresh)
    head.eval()
    fresh.eval()
    with torch.no_grad():
        same = is_close(_logits(contract, fresh, features, 3), _logits(contract, head, features, 3))
    contract.require(same, "a fresh build with the saved state dict must give the same logits")


def _check_dropout(contract: Contract, head: Head, features: Features) -> None:
    perturb(head)
    head.train()
    with torch.no_grad():
        first, second = _logits(contract, head, features, 3), _logits(contract, head, features, 3)
    contract.require(not is_close(first, second), "request.dropout must be applied to its input in train mode")
