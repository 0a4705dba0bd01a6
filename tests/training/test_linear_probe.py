import numpy as np
import pytest
import torch
from fakes import FakePlugin, SmallBackbone, SmallHead, make_backbone_spec, make_registry

from zoo.errors import TrainingError
from zoo.plugins.contracts import Features
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadRequest
from zoo.training.frozen.features import FeatureBatches
from zoo.training.linear_probe import solve_head


def make_head(loss="cross-entropy"):
    request = HeadRequest(
        pooled_width=12, map_width=12, outputs=3, dropout=0.5, criterion=Criterion(name=loss), options=None
    )
    return SmallHead(request)


def make_features(per_class=20):
    """Returns features of three overlapping clouds of points."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(per_class)
    pooled = torch.randn(3 * per_class, 12, generator=generator) + 0.7 * torch.eye(3, 12)[labels]
    return FeatureBatches(Features(pooled, pooled[:, :, None, None][:, :, :0, :0]), labels, batch_size=8, seed=0)


def variance(batches):
    return batches.features.pooled.double().var(dim=0, correction=0).mean().item()


def test_the_penalty_suits_features_of_any_scale():
    heads = [make_head(), make_head()]
    for head, scale in zip(heads, (1.0, 100.0), strict=True):
        batches = make_features()
        batches.features.pooled.mul_(scale)
        solve_head(head, batches, solver="lbfgs", weight_decay=0.1)
    torch.testing.assert_close(heads[0].linear.weight, 100 * heads[1].linear.weight, atol=5e-3, rtol=0)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce", "focal"])
@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
def test_a_solved_head_is_at_its_optimum(solver, loss):
    batches, head = make_features(), make_head(loss)
    minimum = solve_head(head, batches, solver=solver, weight_decay=0.01)
    head.eval().double()
    features = Features(*(each.double() for each in batches.features))
    penalty = 0.01 / 2 * variance(batches) * head.linear.weight.square().sum()
    objective = head.loss(head(features), batches.labels) + penalty
    objective.backward()
    assert float(objective.detach()) == pytest.approx(minimum, abs=1e-6)
    assert max(parameter.grad.abs().max().item() for parameter in head.parameters()) < 1e-3


def test_a_solved_linear_head_is_logistic_regression():
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    batches, head = make_features(), make_head()
    minimum = solve_head(head, batches, solver="lbfgs", weight_decay=0.1)
    x, y = batches.features.pooled.double().numpy(), batches.labels.numpy()

    def regularised_loss(flat):
        weight, bias = flat[:36].reshape(3, 12), flat[36:]
        logits = x @ weight.T + bias
        log_likelihood = logits[np.arange(len(y)), y] - logsumexp(logits, axis=1)
        return -log_likelihood.mean() + 0.05 * variance(batches) * np.square(weight).sum()

    best = minimize(regularised_loss, np.zeros(39), method="BFGS", options={"gtol": 1e-7})
    assert minimum == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose(head.linear.weight.detach(), best.x[:36].reshape(3, 12), atol=2e-3)


def test_both_solvers_find_the_same_head():
    heads = [make_head(), make_head()]
    minima = [
        solve_head(head, make_features(), solver=solver, weight_decay=0.01)
        for head, solver in zip(heads, ("lbfgs", "cg"), strict=True)
    ]
    assert minima[0] == pytest.approx(minima[1], abs=1e-5)
    torch.testing.assert_close(heads[0].linear.weight, heads[1].linear.weight, atol=5e-3, rtol=0)


def test_a_solved_head_keeps_its_parameters_and_its_type():
    head = make_head()
    before = list(head.parameters())
    solve_head(head, make_features(), solver="lbfgs", weight_decay=0.01)
    assert all(now is then for now, then in zip(head.parameters(), before, strict=True))
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}
    assert head.training
    assert all(parameter.grad is None for parameter in head.parameters())


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_head_unchanged():
    batches, head = make_features(), make_head()
    batches.features.pooled[0] = torch.nan
    before = head.linear.weight.clone()
    with pytest.raises(TrainingError, match="The solver 'lbfgs' ended with a loss of nan"):
        solve_head(head, batches, solver="lbfgs", weight_decay=0.01)
    assert torch.equal(head.linear.weight, before)


@pytest.mark.parametrize("values", [{"probe": True}, {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1}])
def test_a_validation_loss_that_is_not_finite_after_the_head_was_fitted_is_an_error(train, values):
    class BrokenInEvaluation(SmallBackbone):
        """Returns NaN for batches of 12 photos, of which only the validation split has one."""

        def forward(self, images):
            features = super().forward(images)
            return features if len(images) != 12 else Features(features.pooled * torch.nan, features.map)

    spec = make_backbone_spec(build=lambda request: BrokenInEvaluation())
    registry = make_registry(FakePlugin(backbones=[spec]))
    with pytest.raises(TrainingError, match="The validation loss became nan after the head was fitted") as caught:
        train(registry=registry, **values)
    assert "--precision fp32" in caught.value.hint
