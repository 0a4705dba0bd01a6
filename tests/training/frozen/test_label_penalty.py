"""Heads of several labels: one logistic regression per label, with a penalty of its own."""

import pytest
import torch
from criteria import make_criterion

from zoo.plugins.contracts import Head
from zoo.training.frozen.folds import FOLDS
from zoo.training.frozen.label_penalty import choose_label_penalty, count_deciding
from zoo.training.frozen.solver import fit_head, predict_held_out

torch.set_num_threads(1)  # a second thread slows down problems this small
WIDTH, LABELS = 6, 3


class LinearHead(Head):
    """One linear layer."""

    def __init__(self, outputs=LABELS):
        super().__init__(make_criterion("bce", classes=outputs))
        self.layer = torch.nn.Linear(WIDTH, outputs)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def forward(self, features):
        return self.layer(features)

    @property
    def output_layer(self):
        return self.layer


def make_features(count=60, *, seed=0):
    """Returns vectors, and labels of which the first is easy, the second noisy, and the third pure chance."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, WIDTH, generator=generator)
    noise = torch.randn(count, generator=generator)
    chance = torch.rand(count, generator=generator) < 0.3
    targets = torch.stack([features[:, 0] > 0, features[:, 1] + 2 * noise > 0, chance], dim=1)
    return features, targets.to(torch.uint8)


def test_each_label_is_fitted_with_its_own_penalty():
    features, targets = make_features()
    strengths, together = (0.01, 0.3, 1.0), LinearHead()
    fit_head(together, features, targets, solver="lbfgs", strength=strengths)
    for label, strength in enumerate(strengths):
        alone = LinearHead(outputs=1)
        fit_head(alone, features, targets[:, label : label + 1], solver="lbfgs", strength=strength)
        assert torch.allclose(together.layer.weight[label], alone.layer.weight[0], atol=2e-3)


def test_the_logits_of_cross_validation_are_of_fits_that_did_not_see_the_photo():
    features, targets = make_features()
    features[:, 3] = torch.arange(len(features)).float()  # recognises each photo
    (logits,), labels = predict_held_out(LinearHead(), features, targets, [0.1], seed=0)
    assert logits.shape == labels.shape == targets.shape
    assert sorted(map(tuple, labels.tolist())) == sorted(map(tuple, targets.tolist()))
    right = ((logits > 0) == labels.bool()).float().mean(dim=0)
    assert right[0] > 0.85
    assert right[2] < 0.8


@pytest.mark.parametrize("photos", [FOLDS, 60])
def test_every_label_is_in_every_training_part_if_it_can_be(photos):
    features, targets = make_features(photos)
    logits, _ = predict_held_out(LinearHead(), features, targets, [0.1], seed=0)
    assert logits[0].isfinite().all()


def test_a_label_of_pure_chance_gets_the_strongest_penalty_and_the_better_head_is_chosen():
    features, targets = make_features(120)
    useless = torch.randn(features.shape, generator=torch.Generator().manual_seed(5))
    done = []
    chosen = choose_label_penalty(
        [LinearHead(), LinearHead()], [useless, features], targets, (1.0, 0.1, 0.001), seed=0, report=done.append
    )
    assert chosen.number == 1
    assert chosen.strengths[0] < chosen.strengths[2]
    assert chosen.strengths[2] == 1.0
    assert [list(each) for each in chosen.losses] == [[1.0, 0.1, 0.001]] * 2
    assert done == [0, 1, 2]


def test_a_rare_label_gets_the_penalty_that_is_best_for_all():
    features, targets = make_features(120)
    targets[:, 2] = 0
    targets[:3, 2] = 1
    chosen = choose_label_penalty([LinearHead()], [features], targets, (1.0, 0.1, 0.001), seed=0, report=lambda _: None)
    assert chosen.strengths[2] == min(chosen.losses[0], key=chosen.losses[0].get)


def test_the_most_balanced_label_says_on_how_many_photos_a_choice_rests():
    assert count_deciding(torch.tensor([[1, 0, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.uint8)) == 2
