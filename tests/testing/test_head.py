from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from contract_offers import (
    Detached,
    GoodHead,
    head_spec,
    violation,
)
from torch import Tensor, nn

from zoo.plugins.options import option
from zoo.testing import check_head

if TYPE_CHECKING:
    import zoo


class ZeroHead(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        nn.init.zeros_(self.fc.weight)


class OneTooMany(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, outputs=request.outputs + 1))


class MixesWidths(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, pooled_width=request.map_width))


class OwnCriterion(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.criterion = dataclasses.replace(request.criterion, label_smoothing=0.5)


class LossPerImage(GoodHead):
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return logits.sum(dim=1)


class IndicesOnly(GoodHead):
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.nll_loss(logits.log_softmax(dim=1), targets)


class LogitsAsProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return 10 * logits


class HalfProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return 0.5 * super().probabilities(logits)


class NoProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return None  # type: ignore[return-value]


class OneProbability(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return super().probabilities(logits).amax(dim=1)


class NegativeProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return 1.5 * super().probabilities(logits) - 0.5 / logits.shape[1]


class UndefinedProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return super().probabilities(logits) * float("nan")


class OverflowingSoftmax(GoodHead):
    """Right for small logits only."""

    def probabilities(self, logits: Tensor) -> Tensor:
        if not self.criterion.sums_to_one:
            return super().probabilities(logits)
        return logits.exp() / logits.exp().sum(dim=1, keepdim=True)


class ChangesFeatures(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        features.pooled.relu_()
        return super().forward(features)


class ChangesLogits(GoodHead):
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return super().loss(logits.sub_(1), targets)


class FailingBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise IndexError("bad luck")


class FailsBackward(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        return FailingBackward.apply(super().forward(features))  # type: ignore[no-any-return, no-untyped-call]


class Leaves(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        raise SystemExit(3)


class Unused(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.spare = nn.Linear(2, 2)


class NoDropout(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, dropout=0.0))


class Standardising(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(features) - features.pooled.mean()


class ForgetfulHead(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.hidden = [torch.randn(request.outputs)]

    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(features) + self.hidden[0]


class OverStages(GoodHead):
    """A head that meets its contract: it pools the maps of all stages, and the classes depend on nothing else."""

    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, pooled_width=sum(shape[0] for shape in request.stages.values())))
        self.stages = tuple(request.stages)

    def pool(self, features: zoo.Features) -> Any:
        return torch.cat([stage.mean(dim=(2, 3)) for stage in features.stages], dim=1)

    def classify(self, pooled: Any) -> Tensor:
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits

    def forward(self, features: zoo.Features) -> Tensor:
        return OverStages.classify(self, OverStages.pool(self, features))  # whatever a subclass makes of the parts

    @property
    def output_layer(self) -> nn.Linear | None:
        return self.fc


class UnknownStage(OverStages):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.stages = (*self.stages, "neck")


class OtherPool(OverStages):
    def pool(self, features: zoo.Features) -> Any:
        return super().pool(features) + 1


class PoolOfBatch(OverStages):
    def pool(self, features: zoo.Features) -> Any:
        return super().pool(features), torch.ones(3)


class PoolWithWeights(OverStages):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.scale = nn.Parameter(torch.ones(self.fc.in_features))

    def pool(self, features: zoo.Features) -> Any:
        return super().pool(features) * self.scale

    def forward(self, features: zoo.Features) -> Tensor:
        return self.classify(self.pool(features))


class PoolOfNothing(OverStages):
    def pool(self, features: zoo.Features) -> Any:
        return None


class FailingClassify(OverStages):
    def classify(self, pooled: Any) -> Tensor:
        raise KeyError("weight")


class WrongOutputLayer(OverStages):
    def classify(self, pooled: Any) -> Tensor:
        return 2 * super().classify(pooled)

    def forward(self, features: zoo.Features) -> Tensor:
        return 2 * super().forward(features)


@pytest.mark.parametrize("build", [GoodHead, ZeroHead, OverStages])
def test_a_good_head_passes(build: Any) -> None:
    check_head(head_spec(build))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda request: nn.Linear(3, 3), "build() must return a zoo.Head, not Linear"),
        (OneTooMany, "forward() must return logits (N, outputs), here (4, 2); it returned (4, 3)"),
        (MixesWidths, "forward() on pooled (4, 48) and map (4, 32, 3, 2) features raised RuntimeError"),
        (OwnCriterion, "build() must pass request.criterion on"),
        (LossPerImage, "loss() with class indices must return one finite number"),
        (IndicesOnly, "loss() with soft targets raised"),
        (LogitsAsProbabilities, "probabilities() must return (N, outputs) from 0 to 1"),
        (HalfProbabilities, "those of an image sum to 0.5, not to 1"),
        (NoProbabilities, "they are NoneType"),
        (OneProbability, "they are (4,) float32, not (4, 3) float32"),
        (NegativeProbabilities, "not from 0 to 1"),
        (UndefinedProbabilities, "they contain NaN"),
        (OverflowingSoftmax, "they contain NaN"),
        (ChangesFeatures, "forward() must not change the features in place"),
        (ChangesLogits, "loss() must not change the logits in place"),
        (FailsBackward, "the backward pass of its loss raised IndexError: bad luck"),
        (Leaves, "features raised SystemExit: 3"),
        (Detached, "the gradient of its loss must reach the features"),
        (Unused, "not reached: ['spare.weight', 'spare.bias']"),
        (NoDropout, "request.dropout must be applied"),
        (Standardising, "logits of an image must not depend on the other images"),
        (UnknownStage, "stages must name stages of request.stages; unknown: ['neck']"),
        (OtherPool, "classify(pool(features)) must be forward(features)"),
        (PoolOfBatch, "pool() must return tensors (N, ...), or tuples of them"),
        (PoolWithWeights, "pool() must have no parameters"),
        (PoolOfNothing, "pool() raised TypeError"),
        (FailingClassify, "classify() on the result of pool() raised KeyError: 'weight'"),
        (WrongOutputLayer, "output_layer must be all of classify() in eval mode"),
        (ForgetfulHead, "a fresh build with the saved state dict must give the same logits"),
    ],
)
def test_a_broken_head_is_refused_with_the_violated_rule(build: Any, sentence: str) -> None:
    message = violation(lambda: check_head(head_spec(build)))
    assert message.startswith("head mine: ")
    assert sentence in message


@dataclass(frozen=True)
class Kinds:
    kind: Literal["good", "bad"] = option("good", help="which")


def test_every_choice_of_an_option_is_built() -> None:
    def build(request: zoo.HeadRequest) -> zoo.Head:
        if request.options.kind == "bad":
            raise NotImplementedError("later")
        return GoodHead(request)

    assert "raised NotImplementedError: later" in violation(lambda: check_head(head_spec(build, options=Kinds)))


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        ({"kind": "best"}, "creating its options from {'kind': 'best'} raised ConfigError"),
        ({"size": 3}, "creating its options from {'size': 3} raised ConfigError"),
        ({"kind": "bad"}, "raised NotImplementedError: later"),
    ],
)
def test_every_candidate_has_valid_options_and_is_built(candidate: dict[str, Any], sentence: str) -> None:
    def build(request: zoo.HeadRequest) -> zoo.Head:
        if request.options.kind == "bad":
            raise NotImplementedError("later")
        return GoodHead(request)

    spec = head_spec(build, options=Kinds, candidates=({"kind": "good"}, candidate))
    assert sentence in violation(lambda: check_head(spec))
    check_head(head_spec(GoodHead, options=Kinds, candidates=({"kind": "good"}, {"kind": "bad"})))
