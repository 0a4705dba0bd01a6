import numpy as np
import pytest
import torch
from criteria import make_criterion
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch.nn import functional as F

import zoo_heads
from zoo.errors import TrainingError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features
from zoo.plugins.specs import HeadRequest
from zoo.training.frozen import folds, solver
from zoo.training.frozen.folds import FOLDS
from zoo.training.frozen.solver import cross_validate, fit_head, predict_folds, predict_held_out

torch.set_num_threads(1)  # a second thread slows down problems this small
WIDTH, CLASSES = 12, 3
SPECS = {spec.name: spec for spec in zoo_heads.zoo_heads()}


def make_head(name="linear", *, loss="cross-entropy", weights=(), offsets=(), **options):
    spec = SPECS[name]
    request = HeadRequest(
        pooled_width=WIDTH,
        map_width=WIDTH,
        outputs=CLASSES,
        dropout=0.5,
        criterion=make_criterion(loss, class_weights=weights, logit_offsets=offsets),
        options=spec.options(**options),
    )
    return resolve_callable(spec.build)(request)


def make_features(per_class=20, *, distance=0.7, seed=0):
    """Returns vectors ``(N, WIDTH)`` of three clouds of points, of different scale in each dimension, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(per_class)
    points = torch.randn(len(labels), WIDTH, generator=generator) + distance * torch.eye(CLASSES, WIDTH)[labels]
    return points * torch.logspace(-1, 2, WIDTH) + 3, labels


def solve_exactly(features, labels, strength):
    """Returns the minimum of logistic regression on standardised features, and log-probabilities, in float64."""
    x, y = features.double().numpy(), labels.numpy()
    std = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1)

    def objective(flat):
        weight, bias = flat[:-CLASSES].reshape(CLASSES, -1), flat[-CLASSES:]
        logits = x @ weight.T + bias
        errors = np.exp(logits - logsumexp(logits, axis=1, keepdims=True)) - np.eye(CLASSES)[y]
        loss = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean()
        gradient = errors.T @ x / len(y) + strength * weight
        value = loss + strength / 2 * np.square(weight).sum()
        return value, np.concatenate([gradient.ravel(), errors.mean(axis=0)])

    best = minimize(objective, np.zeros(CLASSES * (x.shape[1] + 1)), jac=True, method="BFGS", options={"gtol": 1e-8})
    logits = x @ best.x[:-CLASSES].reshape(CLASSES, -1).T + best.x[-CLASSES:]
    return best.fun, logits - logsumexp(logits, axis=1, keepdims=True)


def logits_of(head, features):
    with torch.no_grad():
        return head.eval().classify(features)


def log_probabilities_of(head, features):
    return logits_of(head, features).log_softmax(dim=1)


@pytest.mark.parametrize("name", ["lbfgs", "cg"])
@pytest.mark.parametrize("strength", [1.0, 0.1, 0.003])
def test_a_linear_head_is_logistic_regression_on_standardised_features(name, strength):
    head, (features, labels) = make_head(), make_features()
    minimum, expected = solve_exactly(features, labels, strength)
    assert fit_head(head, features, labels, solver=name, strength=strength) == pytest.approx(minimum, abs=1e-5)
    np.testing.assert_allclose(log_probabilities_of(head, features).numpy(), expected, atol=0.02)


def test_the_solution_does_not_depend_on_the_weights_at_the_start():
    features, labels = make_features()
    heads = [make_head() for _ in range(2)]
    minima = [fit_head(head, features, labels, solver="lbfgs", strength=0.01) for head in heads]
    assert minima[0] == pytest.approx(minima[1], abs=1e-5)
    ours, theirs = (log_probabilities_of(head, features) for head in heads)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)


def test_the_penalty_suits_features_of_any_scale_and_offset():
    features, labels = make_features()
    heads = [make_head(), make_head()]
    fit_head(heads[0], features, labels, solver="lbfgs", strength=0.1)
    fit_head(heads[1], 100 * features + 50, labels, solver="lbfgs", strength=0.1)
    ours, theirs = log_probabilities_of(heads[1], 100 * features + 50), log_probabilities_of(heads[0], features)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)


def test_a_head_on_maps_in_half_precision_is_fitted_in_float32():
    """Maps are cached in the type of the forward pass."""
    vectors, labels = make_features(distance=3)
    maps = (vectors / vectors.std(dim=0))[:, :, None, None].expand(-1, -1, 2, 2).bfloat16()
    head = make_head("attention")
    minimum = fit_head(head, Features(pooled=vectors, map=maps), labels, solver="lbfgs", strength=0.001)
    logits = logits_of(head, Features(pooled=vectors, map=maps.float()))
    assert (logits.argmax(dim=1) == labels).all()
    assert minimum >= float(head.loss(logits, labels))


@pytest.mark.parametrize("loss", ["bce", "focal"])
def test_the_loss_is_that_of_the_head(loss):
    head, (features, labels) = make_head(loss=loss), make_features()
    minimum = fit_head(head, features, labels, solver="lbfgs", strength=0.1)
    weight = head.output_layer.weight.detach() * features.std(dim=0, correction=0)
    value = float(head.loss(logits_of(head, features), labels)) + 0.05 * float(weight.square().sum())
    assert minimum == pytest.approx(value, abs=1e-5)
    with torch.no_grad():
        head.output_layer.weight *= 1.02
        weight *= 1.02
    worse = float(head.loss(logits_of(head, features), labels)) + 0.05 * float(weight.square().sum())
    assert worse > value


def test_a_constant_feature_has_no_effect():
    features, labels = make_features()
    with_constant = features.clone()
    with_constant[:, 4] = 7.0
    head = make_head()
    minimum, expected = solve_exactly(with_constant, labels, 0.01)
    assert fit_head(head, with_constant, labels, solver="lbfgs", strength=0.01) == pytest.approx(minimum, abs=1e-5)
    np.testing.assert_allclose(log_probabilities_of(head, with_constant).numpy(), expected, atol=0.02)
    assert head.output_layer.weight[:, 4].abs().max() < 1e-3


def test_a_class_without_photos_is_never_predicted():
    features, labels = make_features()
    features, labels = features[labels != 1], labels[labels != 1]
    head = make_head()
    fit_head(head, features, labels, solver="lbfgs", strength=0.01)
    assert set(logits_of(head, features).argmax(dim=1).tolist()) == {0, 2}


@pytest.mark.parametrize("name", ["lbfgs", "cg"])
def test_separable_classes_without_a_penalty_end_in_a_finite_result(name):
    head, (features, labels) = make_head(), make_features(distance=20.0)
    minimum = fit_head(head, features, labels, solver=name, strength=0.0)
    assert 0 <= minimum < 1e-3
    assert all(parameter.isfinite().all() for parameter in head.parameters())
    assert (logits_of(head, features).argmax(dim=1) == labels).all()


@pytest.mark.parametrize("name", ["lbfgs", "cg"])
def test_the_number_of_evaluations_is_bounded_and_progress_ends_at_it(monkeypatch, name):
    monkeypatch.setattr(solver, "_MAX_EVALUATIONS", 6)
    evaluated, progress = [], []
    evaluate = solver._LinearProblem.evaluate
    monkeypatch.setattr(
        solver._LinearProblem, "evaluate", lambda self, strength: evaluated.append(1) or evaluate(self, strength)
    )
    features, labels = make_features()
    fit_head(make_head(), features, labels, solver=name, strength=1e-4, progress=lambda *both: progress.append(both))
    assert 6 <= len(evaluated) <= 3 * 6  # a line search is completed
    assert progress[0] == (1, 6)
    assert progress[-1] == (6, 6)
    assert all(done <= total == 6 for done, total in progress)


def test_a_large_problem_gets_fewer_evaluations(monkeypatch):
    monkeypatch.setattr(solver, "_MAX_WORK", 0.0)
    totals, (features, labels) = set(), make_features()
    fit_head(
        make_head(), features, labels, solver="lbfgs", strength=0.1, progress=lambda done, total: totals.add(total)
    )
    assert totals == {solver._MIN_EVALUATIONS}


def test_the_result_does_not_depend_on_the_size_of_blocks(monkeypatch):
    heads, (features, labels) = [make_head(), make_head()], make_features()
    heads[1].load_state_dict(heads[0].state_dict())
    minima = []
    for head, block in zip(heads, (solver._BLOCK, 7 * WIDTH), strict=True):
        monkeypatch.setattr(solver, "_BLOCK", block)
        minima.append(fit_head(head, features, labels, solver="lbfgs", strength=0.1))
    assert minima[0] == pytest.approx(minima[1], abs=1e-6)


def test_a_fitted_head_keeps_its_parameters_its_mode_and_its_type():
    head, (features, labels) = make_head(), make_features()
    before = list(head.parameters())
    fit_head(head, features, labels, solver="lbfgs", strength=0.01)
    assert all(now is then for now, then in zip(head.parameters(), before, strict=True))
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}
    assert head.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in head.parameters())


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_loss_that_is_not_finite_is_an_error(name):
    features, labels = make_features()
    features[0] = torch.nan
    for solver_name in ("lbfgs", "cg"):
        with pytest.raises(TrainingError, match=f"The solver '{solver_name}' ended with a loss of nan") as caught:
            fit_head(make_head(name), features, labels, solver=solver_name, strength=0.01)
        assert "--weight-decay" in caught.value.hint


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_features_whose_variance_overflows_are_named(name):
    features, labels = make_features()
    with pytest.raises(TrainingError, match=r"The features are up to .*e\+\d\d: their variance is not finite"):
        fit_head(make_head(name), features * 1e25, labels, solver="lbfgs", strength=0.01)


@pytest.mark.parametrize("name", ["lbfgs", "cg"])
def test_heads_with_hidden_layers_are_fitted_too(name):
    head, (features, labels) = make_head("mlp", hidden=16), make_features(distance=3.0)
    features = (features - features.mean(dim=0)) / features.std(dim=0)
    before = float(F.cross_entropy(logits_of(head, features), labels))
    minimum = fit_head(head.train(), features, labels, solver=name, strength=0.01)
    loss = float(head.loss(logits_of(head, features), labels))
    scale = float(features.var(dim=0, correction=0).mean())
    penalty = sum(float(p.detach().square().sum()) for p in head.parameters() if p.ndim > 1)
    assert minimum == pytest.approx(loss + 0.01 * scale / 2 * penalty, abs=1e-5)
    assert loss < 0.2 * before


def test_a_frozen_parameter_of_a_head_stays():
    head, (features, labels) = make_head("mlp", hidden=16), make_features()
    frozen = next(head.classifier.parameters()).requires_grad_(False)
    before = frozen.clone()
    fit_head(head, features, labels, solver="lbfgs", strength=0.01)
    assert torch.equal(frozen, before)


def test_cross_validation_finds_the_obviously_better_strength():
    # More dimensions than photos and weak clouds: without a penalty the fit is useless for other photos.
    features, labels = make_features(5, distance=1.0)
    noisy = cross_validate(make_head(), features, labels, (1.0, 0.3, 1e-5), seed=0)
    assert noisy[1e-5] > 2 * min(noisy[1.0], noisy[0.3])
    # Many photos of clouds far apart: a strong penalty prevents what is easily learnt.
    features, labels = make_features(100, distance=4.0)
    clear = cross_validate(make_head(), features, labels, (10.0, 0.01), seed=0)
    assert clear[0.01] < 0.3 * clear[10.0]


def test_cross_validation_ends_at_the_first_strength_that_is_worse_than_one_before():
    features, labels = make_features(5, distance=1.0)
    losses = cross_validate(make_head(), features, labels, (0.3, 0.01, 0.001, 1e-5), seed=0)
    assert [*losses] == [0.3, 0.01]
    assert losses[0.3] < losses[0.01]


def test_cross_validation_is_the_mean_loss_of_photos_that_a_fit_has_not_seen():
    head, (features, labels) = make_head(), make_features(7)
    standardised = (features - features.mean(dim=0)) / features.std(dim=0, correction=0)
    losses = cross_validate(head, standardised, labels, (0.1,), seed=3)
    order = torch.from_numpy(np.random.default_rng(3).permutation(len(labels)))
    assigned = folds._stratify(labels[order])
    total = 0.0
    for fold in range(FOLDS):
        seen, unseen = order[assigned != fold], order[assigned == fold]
        # The features of all photos are standardised once, so the penalty is that of the whole.
        fitted = minimise_as_they_are(standardised[seen], labels[seen], 0.1)
        total += float(F.cross_entropy(fitted(standardised[unseen]), labels[unseen], reduction="sum"))
    assert losses == {0.1: pytest.approx(total / len(labels), abs=3e-3)}


def minimise_as_they_are(features, labels, strength):
    """Returns the logits, as a function, of logistic regression on features without standardising them."""
    x, y = features.double().numpy(), labels.numpy()

    def objective(flat):
        weight, bias = flat[:-CLASSES].reshape(CLASSES, -1), flat[-CLASSES:]
        logits = x @ weight.T + bias
        loss = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean()
        return loss + strength / 2 * np.square(weight).sum()

    best = minimize(objective, np.zeros(CLASSES * (x.shape[1] + 1)), method="BFGS").x
    weight, bias = torch.from_numpy(best[:-CLASSES].reshape(CLASSES, -1)), torch.from_numpy(best[-CLASSES:])
    return lambda vectors: vectors.double() @ weight.T + bias


def test_cross_validation_depends_on_the_seed_alone_and_leaves_the_head_as_it_was():
    head, (features, labels) = make_head(), make_features()
    state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    first = cross_validate(head, features, labels, (0.1, 0.01), seed=0)
    torch.manual_seed(7)
    np.random.seed(7)
    assert cross_validate(make_head(), features, labels, (0.1, 0.01), seed=0) == first
    assert cross_validate(head, features, labels, (0.1, 0.01), seed=1) != first
    assert head.training
    assert all(torch.equal(state[name], tensor) for name, tensor in head.state_dict().items())
    assert all(parameter.grad is None for parameter in head.parameters())


def test_the_logits_of_photos_that_a_fold_did_not_train_on_have_the_loss_of_cross_validation():
    features, labels = make_features()
    losses = cross_validate(make_head(), features, labels, (0.1,), seed=4)
    (logits,), drawn = predict_held_out(make_head(), features, labels, [0.1], seed=4)
    assert logits.shape == (len(labels), CLASSES)
    assert torch.equal(drawn.sort().values, labels.sort().values)
    assert float(F.cross_entropy(logits, drawn)) == pytest.approx(losses[0.1], rel=1e-4)
    # Other features of the same photos: the same order, so that two networks can be paired.
    assert torch.equal(predict_held_out(make_head(), features + 1, labels, [0.1], seed=4)[1], drawn)


def test_each_photo_is_predicted_by_the_fit_that_did_not_see_its_fold():
    head, (features, labels) = make_head(), make_features(7)
    assigned = folds.assign_folds(labels, ())
    assigned[3] = -1
    logits = predict_folds(head, features, labels, assigned, strength=0.1)
    assert logits[3].isnan().all()
    held_out = assigned == 2
    flipped = torch.where(held_out, (labels + 1) % CLASSES, labels)
    others = predict_folds(head, features, flipped, assigned, strength=0.1)
    torch.testing.assert_close(others[held_out], logits[held_out], atol=0.05, rtol=0)
    assert not torch.allclose(others[assigned == 1], logits[assigned == 1], atol=0.1)


def test_only_some_of_many_photos_are_cross_validated(monkeypatch):
    monkeypatch.setattr(solver, "_CROSS_VALIDATED", 30)
    counts, stratify = [], folds._stratify
    monkeypatch.setattr(folds, "_stratify", lambda labels: counts.append(len(labels)) or stratify(labels))
    features, labels = make_features(40)
    cross_validate(make_head(), features, labels, (0.1,), seed=0)
    assert counts == [30]


def test_folds_have_photos_of_all_classes_and_equal_sizes():
    labels = torch.tensor([0] * 11 + [1] * 7 + [2] * 5)[torch.randperm(23)]
    assigned = folds._stratify(labels)
    assert sorted(assigned.bincount().tolist()) == [4, 4, 5, 5, 5]
    for label, few in ((0, 2), (1, 1), (2, 1)):
        assert set(assigned[labels == label].bincount(minlength=FOLDS).tolist()) <= {few, few + 1}


def test_groups_stay_in_one_fold_and_folds_have_photos_of_all_classes():
    labels = torch.arange(CLASSES).repeat(40)
    groups = [f"g{number // 6}" if number < 90 else "" for number in range(len(labels))]
    assigned = folds._stratify_groups(labels, groups)
    for group in set(groups) - {""}:
        assert len({int(fold) for fold, each in zip(assigned, groups, strict=True) if each == group}) == 1
    for label in range(CLASSES):
        assert assigned[labels == label].bincount(minlength=FOLDS).tolist() == pytest.approx([8] * FOLDS, abs=1)


def test_the_only_group_of_a_class_is_in_no_fold():
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert folds._stratify_groups(labels, ["a", "b", "c", "d", "d", "d"])[3:].tolist() == [-1, -1, -1]


def test_cross_validation_with_groups_does_not_validate_with_copies_of_training_photos():
    # Twenty copies of each of a few photos: without groups, each fold is validated with copies of what it has seen.
    features, labels = (each.repeat(20, *[1] * (each.ndim - 1)) for each in make_features(5, distance=1.0))
    groups = [f"g{number % 15}" for number in range(len(labels))]
    leaking = cross_validate(make_head(), features, labels, (1.0, 1e-5), seed=0)
    honest = cross_validate(make_head(), features, labels, (1.0, 1e-5), seed=0, groups=groups)
    assert leaking[1e-5] < leaking[1.0]
    assert honest[1e-5] > honest[1.0]


def test_nothing_is_cross_validated_with_too_few_groups():
    features, labels = make_features(10)
    for groups in (["a"] * len(labels), [f"g{label}" for label in labels.tolist()]):
        assert cross_validate(make_head(), features, labels, (1.0, 0.1), seed=0, groups=groups) == {}


def test_a_weight_of_two_counts_a_photo_twice():
    """Up to the penalty, whose units are the variances of the features, which repeated photos change."""
    features, labels = make_features(100, distance=0.3)
    again = torch.cat([torch.arange(len(labels)), (labels == 1).nonzero()[:, 0]])
    repeated, weighted = make_head(), make_head(weights=(0.75, 1.5, 0.75))
    for head, where in ((repeated, again), (weighted, slice(None))):
        fit_head(head, features[where], labels[where], solver="lbfgs", strength=1e-6)
    with torch.no_grad():
        found = [head.eval().probabilities(head.classify(features)) for head in (repeated, weighted)]
    torch.testing.assert_close(*found, atol=1e-2, rtol=0)


def test_photos_weigh_as_they_would_be_drawn():
    features, labels = make_features()
    drawn, weighted = make_head(weights=(1.0, 1.0, 1.0)), make_head(weights=(0.5, 2.0, 0.5))
    for head, draws in ((drawn, (0.5, 2.0, 0.5)), (weighted, ())):
        fit_head(head, features, labels, solver="lbfgs", strength=0.1, draws=draws)
    torch.testing.assert_close(drawn.output_layer.weight, weighted.output_layer.weight, atol=1e-2, rtol=0)
    assert drawn.criterion.class_weights == (1, 1, 1), "the loss is as it was"
    losses = [
        cross_validate(head, features, labels, (0.1, 0.01), seed=0, draws=draws)
        for head, draws in ((drawn, (0.5, 2.0, 0.5)), (weighted, ()))
    ]
    assert losses[0] == losses[1] != cross_validate(drawn, features, labels, (0.1, 0.01), seed=0)


@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
@pytest.mark.parametrize(
    "values", [{"weights": (0.4, 4.0, 4.0)}, {"offsets": (-0.18, -2.5, -2.5)}], ids=["weights", "offsets"]
)
def test_rare_classes_are_found_more_often(values, solver):
    features, labels = make_features(200, distance=0.8)
    where = torch.cat([(labels == label).nonzero()[: (200, 20, 20)[label], 0] for label in range(CLASSES)])
    hits = []
    for head in (make_head(), make_head(**values)):
        fit_head(head, features[where], labels[where], solver=solver, strength=0.01)
        predicted = head.eval().classify(features).argmax(dim=1)
        hits.append(int((predicted == labels)[labels > 0].sum()))
    assert hits[1] > 1.5 * hits[0]
