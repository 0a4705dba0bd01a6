from types import SimpleNamespace

import pytest
import torch
from fakes import PREPROCESS

from zoo.config import make_config
from zoo.models.precision import Precision
from zoo.training.autotune import batch_size as hardware
from zoo.training.autotune.batch_size import autotune_batch_size


@pytest.fixture
def settle_batch(registry, monkeypatch):
    """Settles the batch size of a configuration on a device on which up to 200 images fit into a step."""
    asked = []

    def fits(classifier, image_size, count, *, precision, prepare):
        asked.append(count)
        return count <= 200

    monkeypatch.setattr(hardware, "step_fits", fits)

    def run(*, images=20_000, device="cuda", observer=lambda event: None, ranks=1, **values):
        config = make_config("small", data="colours", head="flat", **{"weights": "none", **values})
        precision = Precision(name="fp32", device=torch.device(device), reason="a test")
        model = SimpleNamespace(classifier=None, preprocess=PREPROCESS)
        return autotune_batch_size(
            config, images=images, model=model, precision=precision, observer=observer, ranks=ranks
        )

    run.asked = asked
    return run


def test_a_batch_size_that_is_given_stands(settle_batch):
    config, why = settle_batch(batch_size=48, lr=0.01)
    assert (config.batch_size, config.lr, why) == (48, 0.01, "asked for")
    assert not settle_batch.asked


def test_the_largest_batch_that_fits_is_taken_and_the_rate_scaled(settle_batch):
    notes = []
    config, why = settle_batch(batch_size="auto", lr=0.01, optimizer="adamw", observer=notes.append)
    assert settle_batch.asked == [64, 128, 256]
    assert (config.batch_size, config.lr) == (128, 0.02)
    assert why == "auto: 128 images a step; learning rate 0.02, scaled from 0.01 at 32"
    assert [note.text for note in notes] == ["128 images a step; learning rate 0.02, scaled from 0.01 at 32."]
    assert settle_batch(batch_size="auto", lr=0.01, optimizer="sgd")[0].lr == pytest.approx(0.04)


def test_few_photos_keep_their_steps(settle_batch):
    assert settle_batch(batch_size="auto", images=1800)[0].batch_size == 32
    assert not settle_batch.asked
    assert settle_batch(batch_size="auto", images=3200)[0].batch_size == 64


def test_the_recipes_batch_is_where_it_begins(settle_batch):
    config, _ = settle_batch(batch_size="auto", recipe="d2l", images=400)
    assert config.batch_size == 128


def test_processes_share_the_images_of_a_step(settle_batch):
    assert settle_batch(batch_size="auto", ranks=2, images=1_000_000)[0].batch_size == 256
    assert settle_batch.asked == [32, 64, 128, 256]


@pytest.mark.parametrize("how", [{"device": "cpu"}, {"freeze": "all", "weights": "pretrained"}])
def test_where_more_is_not_faster_the_recipes_batch_stays(settle_batch, how):
    notes = []
    config, why = settle_batch(batch_size="auto", lr=0.01, observer=notes.append, **how)
    assert (config.batch_size, config.lr) == (32, 0.01)
    assert not settle_batch.asked
    assert "as in the recipe" in why
    assert notes[0].text.startswith("32 images a step")
