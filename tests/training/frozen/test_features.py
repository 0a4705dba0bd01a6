import numpy as np
import pytest
import torch
from fakes import SmallBackbone, SmallHead, make_head_spec

from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.models.precision import choose_precision
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadRequest
from zoo.training.frozen.features import FeatureBatches, HeadOnFeatures, extract_features, uses_map
from zoo.training.linear_probe import solve_head

FP32 = choose_precision("fp32", torch.device("cpu"))


def a_request(outputs=3, **changes):
    return HeadRequest(
        **{
            "pooled_width": 12,
            "map_width": 12,
            "outputs": outputs,
            "dropout": 0.5,
            "criterion": Criterion(),
            "options": None,
            **changes,
        }
    )


def head_over(what):
    return SmallHead(a_request(), over_map=what == "map")


def clouds(per_class=20, *, seed=0):
    """CachedActivations features of three overlapping clouds of points."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(per_class)
    pooled = torch.randn(3 * per_class, 12, generator=generator) + 0.7 * torch.eye(3, 12)[labels]
    return FeatureBatches(Features(pooled, pooled[:, :, None, None][:, :, :0, :0]), labels, batch_size=8, seed=seed)


def test_a_head_that_looks_at_the_map_is_told_from_one_that_does_not():
    backbone = SmallBackbone()
    for what in ("map", "pooled"):
        head = head_over(what)
        assert uses_map(head, backbone) == (what == "map")
        assert head.training


@pytest.mark.parametrize(
    ("build", "options", "expected"),
    [
        ("linear", {}, False),
        ("linear", {"pooling": "max"}, True),
        ("linear", {"pooling": "avgmax"}, True),
        ("mlp", {}, False),
        ("cosine", {}, False),
        ("attention", {}, True),
    ],
)
def test_the_map_is_kept_for_those_built_in_heads_that_need_it(build, options, expected):
    import zoo_heads

    spec = next(spec for spec in zoo_heads.zoo_heads() if spec.name == build)
    head = resolve_callable(spec.build)(a_request(options=spec.options(**options)))
    assert uses_map(head, SmallBackbone()) == expected


@pytest.mark.parametrize("what", ["map", "pooled"])
def test_a_head_says_the_same_of_kept_features_as_of_the_images(what):
    backbone, head = SmallBackbone(dropout=0.5), head_over(what)
    images = [Batch(torch.randn(4, 3, 16, 16), torch.arange(4)), Batch(torch.randn(2, 3, 16, 16), torch.arange(2))]
    told = []
    kept = extract_features(backbone, head, images, precision=FP32, batch_size=4, seed=0, progress=told.append)
    assert told == [4, 6]
    assert not backbone.training
    assert kept.features.map.shape == ((6, 12, 2, 2) if what == "map" else (6, 12, 0, 0))
    head.eval()
    straight = torch.cat([head(backbone(batch.images)) for batch in images])
    again = torch.cat([HeadOnFeatures(head)(batch.images) for batch in kept])
    torch.testing.assert_close(again, straight)
    assert torch.cat([batch.labels for batch in kept]).tolist() == [0, 1, 2, 3, 0, 1]


def test_pooled_features_are_kept_in_float32_even_where_bf16_made_them():
    precision = choose_precision("bf16", torch.device("cpu"))
    images = [Batch(torch.randn(2, 3, 16, 16), torch.arange(2))]
    kept = extract_features(
        SmallBackbone(), head_over("map"), images, precision=precision, batch_size=2, seed=0, progress=lambda done: None
    )
    assert kept.features.pooled.dtype == torch.float32
    assert kept.features.map.dtype == torch.bfloat16


def test_kept_features_come_once_an_epoch_in_an_order_that_the_seed_decides():
    kept = clouds(7)
    assert kept.steps == 3

    def first_columns(epoch, batches=kept):
        return [x for batch in batches.epoch(epoch) for x in batch.images.pooled[:, 0].tolist()]

    assert sorted(first_columns(1)) == sorted(kept.features.pooled[:, 0].tolist())
    assert first_columns(1) == first_columns(1)
    assert first_columns(1) != first_columns(2)


def test_no_step_has_a_single_image_of_which_batch_normalisation_cannot_learn():
    kept = clouds(3)  # nine, of which eight are a batch
    assert (kept.steps, kept.images) == (1, 9)
    assert [len(batch.labels) for batch in kept.epoch(1)] == [9]
    assert [len(batch.labels) for batch in kept.epoch(1, start=1)] == []
    assert [len(batch.labels) for batch in kept] == [8, 1]  # in eval mode it may be one


def variance(kept):
    return kept.features.pooled.double().var(dim=0, correction=0).mean().item()


def test_the_penalty_suits_features_of_any_scale():
    heads = [head_over("pooled"), head_over("pooled")]
    for head, scale in zip(heads, (1.0, 100.0), strict=True):
        kept = clouds()
        kept.features.pooled.mul_(scale)
        solve_head(head, kept, solver="lbfgs", weight_decay=0.1)
    torch.testing.assert_close(heads[0].linear.weight, 100 * heads[1].linear.weight, atol=5e-3, rtol=0)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce", "focal"])
@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
def test_a_solved_head_is_at_its_optimum(solver, loss):
    kept, head = clouds(), SmallHead(a_request(criterion=Criterion(name=loss)))
    value = solve_head(head, kept, solver=solver, weight_decay=0.01)
    head.eval().double()
    features = Features(*(each.double() for each in kept.features))
    objective = head.loss(head(features), kept.labels) + 0.01 / 2 * variance(kept) * head.linear.weight.square().sum()
    objective.backward()
    assert float(objective.detach()) == pytest.approx(value, abs=1e-6)
    assert max(parameter.grad.abs().max().item() for parameter in head.parameters()) < 1e-3


def test_a_solved_linear_head_is_logistic_regression():
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    kept, head = clouds(), head_over("pooled")
    value = solve_head(head, kept, solver="lbfgs", weight_decay=0.1)
    x, y = kept.features.pooled.double().numpy(), kept.labels.numpy()

    def by_hand(flat):
        weight, bias = flat[:36].reshape(3, 12), flat[36:]
        logits = x @ weight.T + bias
        log_likelihood = logits[np.arange(len(y)), y] - logsumexp(logits, axis=1)
        return -log_likelihood.mean() + 0.05 * variance(kept) * np.square(weight).sum()

    best = minimize(by_hand, np.zeros(39), method="BFGS", options={"gtol": 1e-7})
    assert value == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose(head.linear.weight.detach(), best.x[:36].reshape(3, 12), atol=2e-3)


def test_both_solvers_find_the_same_head():
    heads = [head_over("pooled"), head_over("pooled")]
    values = [
        solve_head(head, clouds(), solver=solver, weight_decay=0.01)
        for head, solver in zip(heads, ("lbfgs", "cg"), strict=True)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    torch.testing.assert_close(heads[0].linear.weight, heads[1].linear.weight, atol=5e-3, rtol=0)


def test_a_solved_head_keeps_its_parameters_and_its_type():
    head = head_over("pooled")
    before = list(head.parameters())
    solve_head(head, clouds(), solver="lbfgs", weight_decay=0.01)
    assert all(now is then for now, then in zip(head.parameters(), before, strict=True))
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}
    assert head.training
    assert all(parameter.grad is None for parameter in head.parameters())


def test_features_that_are_not_finite_are_told_and_the_head_stays_as_it_was():
    kept, head = clouds(), head_over("pooled")
    kept.features.pooled[0] = torch.nan
    before = head.linear.weight.clone()
    with pytest.raises(TrainingError, match="The solver 'lbfgs' ended with a loss of nan"):
        solve_head(head, kept, solver="lbfgs", weight_decay=0.01)
    assert torch.equal(head.linear.weight, before)


def test_the_fake_head_is_built_as_the_core_builds_it():
    assert isinstance(make_head_spec().build(a_request()), SmallHead)
