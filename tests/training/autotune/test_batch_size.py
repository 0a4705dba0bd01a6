import weakref
from types import SimpleNamespace

import pytest
import torch
from criteria import make_criterion
from fakes import PREPROCESS, SIZE, SmallBackbone, SmallHead, make_choice

from zoo.config import make_config
from zoo.models.classifier import Classifier
from zoo.models.precision import Precision, choose_precision
from zoo.plugins.kinds import OPTIMIZER
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import HeadRequest
from zoo.training.autotune import batch_size as module
from zoo.training.autotune.batch_size import (
    autotune_batch_size,
    largest_that_fits,
    max_batch_size,
    scale_rate,
    step_fits,
)
from zoo.training.parts import find_parts

FP32 = choose_precision("fp32", torch.device("cpu"))


class LimitedBackbone(SmallBackbone):
    """Runs out of memory with more than 24 images."""

    def forward(self, images):
        if len(images) > 24:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


def make_classifier():
    request = HeadRequest(
        pooled_width=12, map_width=12, outputs=3, dropout=0.2, criterion=make_criterion(), options=None
    )
    return Classifier(LimitedBackbone(), SmallHead(request))


def prepare(duplicate):
    groups = [{"params": list(duplicate.train().parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    return torch.optim.AdamW(groups, lr=0.1)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(0, 32), (49, 32), (1800, 32), (3200, 64), (6399, 64), (6400, 128), (50_000, 512), (1_281_167, 16384)],
)
def test_an_epoch_has_fifty_steps_unless_the_recipe_has_fewer(images, expected):
    assert max_batch_size(images, smallest=32) == expected


def test_sizes_are_doubled_while_they_fit():
    tried = []

    def fits(size):
        tried.append(size)
        return size <= 200

    assert largest_that_fits(fits, smallest=32, largest=1024) == 128
    assert tried == [64, 128, 256]
    assert largest_that_fits(fits, smallest=32, largest=100) == 64
    assert largest_that_fits(fits, smallest=512, largest=512) == 512


def test_a_trial_step_changes_neither_the_classifier_nor_the_random_generator():
    classifier = make_classifier()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    random = torch.get_rng_state()
    assert step_fits(classifier, (SIZE, SIZE), 24, precision=FP32, prepare=prepare)
    assert not step_fits(classifier, (SIZE, SIZE), 25, precision=FP32, prepare=prepare)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("count", [24, 25])
def test_the_copy_is_freed_before_the_memory_of_a_gpu_is_returned(monkeypatch, count):
    copies, alive = [], []

    def prepare_and_record(duplicate):
        copies.append(weakref.ref(duplicate))
        return prepare(duplicate)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(sum(copy() is not None for copy in copies)))
    step_fits(make_classifier(), (SIZE, SIZE), count, precision=FP32, prepare=prepare_and_record)
    assert len(copies) == 1
    assert alive[-1] == 0


def test_the_optimizer_needs_memory_too():
    def run_out_of_memory(duplicate):
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert not step_fits(make_classifier(), (SIZE, SIZE), 2, precision=FP32, prepare=run_out_of_memory)


def test_other_errors_are_raised():
    def fail(duplicate):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        step_fits(make_classifier(), (SIZE, SIZE), 2, precision=FP32, prepare=fail)


@pytest.mark.parametrize(
    ("optimizer", "factor"), [("sgd", 4), ("adamw", 2), ("rmsprop", 2), ("lbfgs", 1), ("schedule-free-sgd", 4)]
)
def test_the_rate_grows_with_the_batch_size_or_its_root(optimizer, factor):
    assert scale_rate(0.5, make_choice(OPTIMIZER, optimizer).spec.rate_growth, 4) == 0.5 * factor


def test_a_step_with_a_closure_fits_too():
    def prepare_search(duplicate):
        groups = [{"params": list(duplicate.train().parameters()), "lr_scale": 1.0}]
        return torch.optim.LBFGS(groups, lr=0.1, max_iter=1)

    def fits(count):
        size = (SIZE, SIZE)
        return step_fits(make_classifier(), size, count, precision=FP32, prepare=prepare_search, closure=True)

    assert [fits(count) for count in (8, 32)] == [True, False]


@pytest.fixture
def autotune(monkeypatch):
    """Autotunes the batch size of a configuration on a device whose memory is enough for 200 images."""
    tried = []

    def fits(classifier, image_size, count, *, precision, prepare, closure):
        tried.append(count)
        return count <= 200

    monkeypatch.setattr(module, "step_fits", fits)

    def run(*, images=20_000, device="cuda", observer=lambda event: None, processes=1, **values):
        config = make_config("small", data="colours", head="flat", **{"weights": "none", **values})
        precision = Precision(name="fp32", device=torch.device(device), reason="a test")
        model = SimpleNamespace(classifier=None, preprocess=PREPROCESS)
        return autotune_batch_size(
            config,
            optimizer=make_choice(OPTIMIZER, config.optimizer),
            smallest=find_parts(config, load_registry()).batch_size,
            images=images,
            model=model,
            precision=precision,
            observer=observer,
            processes=processes,
        )

    run.tried = tried
    return run


def test_a_given_batch_size_is_not_changed(autotune):
    config, reason = autotune(batch_size=48, lr=0.01)
    assert (config.batch_size, config.lr, reason) == (48, 0.01, "asked for")
    assert not autotune.tried


def test_the_largest_batch_size_that_fits_is_selected_and_the_rate_scaled(autotune):
    notes = []
    config, reason = autotune(batch_size="auto", lr=0.01, optimizer="adamw", observer=notes.append)
    assert autotune.tried == [64, 128, 256]
    assert (config.batch_size, config.lr) == (128, 0.02)
    assert reason == "auto: 128 images per step; learning rate 0.02, scaled from 0.01 at 32"
    assert [note.text for note in notes] == [
        "Batch size: 128 images per step; learning rate 0.02, scaled from 0.01 at 32."
    ]
    assert autotune(batch_size="auto", lr=0.01, optimizer="sgd")[0].lr == pytest.approx(0.04)


def test_few_photos_limit_the_batch_size(autotune):
    assert autotune(batch_size="auto", images=1800)[0].batch_size == 32
    assert not autotune.tried
    assert autotune(batch_size="auto", images=3200)[0].batch_size == 64


def test_the_batch_size_of_the_recipe_is_the_smallest(autotune):
    config, _ = autotune(batch_size="auto", recipe="d2l", images=400)
    assert config.batch_size == 128


def test_processes_share_the_images_of_a_step(autotune):
    assert autotune(batch_size="auto", processes=2, images=1_000_000)[0].batch_size == 256
    assert autotune.tried == [32, 64, 128, 256]


@pytest.mark.parametrize("values", [{"device": "cpu"}, {"freeze": "all", "weights": "pretrained"}])
def test_the_batch_size_of_the_recipe_stays_where_more_is_not_faster(autotune, values):
    notes = []
    config, reason = autotune(batch_size="auto", lr=0.01, observer=notes.append, **values)
    assert (config.batch_size, config.lr) == (32, 0.01)
    assert not autotune.tried
    assert "as in the recipe" in reason
    assert notes[0].text.startswith("Batch size: 32 images per step")
