import weakref

import pytest
import torch
from fakes import SIZE, SmallBackbone, SmallHead

from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadRequest
from zoo.training.autotune.batch_size import largest_that_fits, most_images, rate_factor_of, step_fits
from zoo.training.optimizer import make_optimizer

FP32 = choose_precision("fp32", torch.device("cpu"))


class Narrow(SmallBackbone):
    def forward(self, images):
        if len(images) > 24:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


def a_classifier():
    request = HeadRequest(pooled_width=12, map_width=12, outputs=3, dropout=0.2, criterion=Criterion(), options=None)
    return Classifier(Narrow(), SmallHead(request))


def prepare(scratch):
    groups = [{"params": list(scratch.train().parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    return make_optimizer("adamw", groups, lr=0.1, momentum=0.0)


@pytest.mark.parametrize(
    ("images", "most"),
    [(0, 32), (49, 32), (1800, 32), (3200, 64), (6399, 64), (6400, 128), (50_000, 512), (1_281_167, 16384)],
)
def test_an_epoch_keeps_fifty_steps_unless_the_recipe_has_fewer(images, most):
    assert most_images(images, least=32) == most


def test_sizes_are_doubled_while_they_fit():
    tried = []

    def fits(size):
        tried.append(size)
        return size <= 200

    assert largest_that_fits(fits, least=32, most=1024) == 128
    assert tried == [64, 128, 256]
    assert largest_that_fits(fits, least=32, most=100) == 64
    assert largest_that_fits(fits, least=512, most=512) == 512


def test_a_step_is_tried_on_a_copy_and_no_draw_is_spent():
    classifier = a_classifier()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    random = torch.get_rng_state()
    assert step_fits(classifier, (SIZE, SIZE), 24, precision=FP32, prepare=prepare)
    assert not step_fits(classifier, (SIZE, SIZE), 25, precision=FP32, prepare=prepare)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("count", [24, 25])
def test_the_copy_is_gone_when_the_memory_of_a_gpu_is_given_back(monkeypatch, count):
    copies, left = [], []

    def noting(scratch):
        copies.append(weakref.ref(scratch))
        return prepare(scratch)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(sum(copy() is not None for copy in copies)))
    step_fits(a_classifier(), (SIZE, SIZE), count, precision=FP32, prepare=noting)
    assert len(copies) == 1
    assert left[-1] == 0


def test_room_for_the_optimizer_is_asked_for_too():
    def greedy(scratch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert not step_fits(a_classifier(), (SIZE, SIZE), 2, precision=FP32, prepare=greedy)


def test_other_faults_are_no_lack_of_memory():
    def broken(scratch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        step_fits(a_classifier(), (SIZE, SIZE), 2, precision=FP32, prepare=broken)


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 4), ("sgdw", 4), ("adamw", 2), ("lamb", 2), ("rmsprop", 2)])
def test_the_rate_grows_with_the_batch_or_its_root(optimizer, factor):
    assert rate_factor_of(optimizer, 4) == factor
