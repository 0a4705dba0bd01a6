import itertools
import math

import pytest
import torch
from fakes import PREPROCESS, SmallBackbone, SmallHead, make_samples
from torch import nn

from zoo.data.loading.augment_params import Augmentation, make_generator
from zoo.data.loading.loader import Batch, TrainLoader
from zoo.data.loading.pixel_buffer import PixelBuffer
from zoo.data.loading.store import PhotoStore
from zoo.data.loading.transform import ShrinkForCrops
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.contracts import Features, Head
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadRequest
from zoo.training.ema import WeightAverage
from zoo.training.frozen.features import FeatureBatches
from zoo.training.loop import Plan, fit
from zoo.training.mixup import mix
from zoo.training.optimizer import make_optimizer
from zoo.training.state import Meter, TrainState
from zoo.training.step import Step

FP32 = choose_precision("fp32", torch.device("cpu"))


class Toy(nn.Module):
    """A linear classifier whose head is the loss alone."""

    class Loss(Head):
        def forward(self, features):
            return features

    def __init__(self, *, start=0.0):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.head = self.Loss(Criterion())
        nn.init.constant_(self.linear.weight, start)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images):
        return self.linear(images.pooled if isinstance(images, Features) else images)


class Points:
    """Two separable clouds of points in the plane."""

    def __init__(self, count=32, *, batch_size=8, scale=1.0):
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(count) % 2
        self.points = scale * (torch.randn(count, 2, generator=generator) * 0.3 + (2 * self.labels[:, None] - 1))
        self.batch_size = batch_size

    @property
    def steps(self):
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, epoch, *, start=0):
        order = torch.randperm(len(self.labels), generator=make_generator(0, epoch))
        for indices in order.split(self.batch_size)[start:]:
            yield Batch(self.points[indices], self.labels[indices])

    def __iter__(self):
        yield Batch(self.points, self.labels)


def an_optimizer(network, *, lr=0.5, momentum=0.0):
    groups = [{"params": list(network.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    return make_optimizer("sgd", groups, lr=lr, momentum=momentum)


def training(network, points=None, *, lr=0.5, epochs=3, state=None, optimizer=None, precision=FP32, **more):
    average = more.pop("average", None)
    on_step = more.pop("on_step", lambda result: None)
    return fit(
        network,
        points or Points(),
        Points(),
        optimizer=optimizer or an_optimizer(network, lr=lr),
        plan=Plan(epochs=epochs, lr=lr, **more),
        precision=precision,
        set_training=network.train,
        state=state or TrainState(),
        average=average,
        on_step=on_step,
    )


def test_the_loss_falls_on_what_can_be_told_apart():
    results = list(training(Toy()))
    assert [result.epoch for result in results] == [1, 2, 3]
    assert all(later.train_loss < earlier.train_loss for earlier, later in itertools.pairwise(results))
    assert results[-1].val_loss < results[0].val_loss < math.log(2)
    assert results[-1].val_accuracy == results[-1].train_accuracy == 1.0
    assert results[0].learning_rate == 0.5
    assert results[0].images_per_second > 0
    assert results[0].seconds > 0


def test_each_step_is_told_at_the_end_of_an_epoch_at_least():
    told = []
    list(training(Toy(), epochs=2, on_step=told.append))
    ends = [result for result in told if result.step == result.steps]
    assert [(result.epoch, result.steps) for result in ends] == [(1, 4), (2, 4)]
    assert ends[-1].seconds_left == 0
    assert ends[0].seconds_left > 0


def test_the_learning_rate_is_that_of_the_schedule_at_every_step():
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    network = Toy()
    groups = [
        {"params": [network.linear.weight], "lr_scale": 1.0},
        {"params": [network.linear.bias], "lr_scale": 10.0},
    ]
    list(training(network, epochs=2, lr=0.1, schedule="linear", warmup=0.25, optimizer=Spy(groups, lr=9.0)))
    assert [body for body, _ in rates] == pytest.approx(
        [0.1 * factor for factor in (1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)]
    )
    assert all(head == pytest.approx(10 * body) for body, head in rates)


def test_a_loss_that_is_not_finite_stops_the_training_and_says_where():
    points = Points()
    points.points[3] = torch.inf
    with pytest.raises(
        TrainingError, match=r"The loss became nan in epoch 1, at or before step 4, .* rate of 0\.5"
    ) as e:
        list(training(Toy(), points))
    assert "--lr" in e.value.hint


def test_the_caller_may_stop_after_any_epoch():
    network, state = Toy(), TrainState()
    results = training(network, epochs=100, state=state)
    assert next(results).epoch == 1
    results.close()
    assert state.epoch == 1


def test_training_that_was_stopped_goes_on_as_if_it_never_had_been():
    whole, halves = Toy(), Toy()
    list(training(whole, epochs=4, schedule="cosine", warmup=0.1, mixup=0.3))
    optimizer, state = an_optimizer(halves), TrainState()
    how = {"epochs": 4, "schedule": "cosine", "warmup": 0.1, "mixup": 0.3, "optimizer": optimizer, "state": state}
    list(itertools.islice(training(halves, **how), 2))
    assert state.epoch == 2
    safe_point = list(training(halves, **how))
    assert [result.epoch for result in safe_point] == [3, 4]
    assert torch.equal(whole.linear.weight, halves.linear.weight)


def test_the_best_epoch_is_the_most_accurate_and_of_equals_the_one_of_lower_loss():
    state = TrainState()
    told = [state.improve(*epoch) for epoch in [(0.5, 1.0), (0.5, 1.2), (0.5, 0.9), (0.7, 2.0), (0.6, 0.1), (0.7, 2.0)]]
    assert told == [True, False, True, True, False, False]
    assert (state.best_accuracy, state.best_loss) == (0.7, 2.0)


def test_epochs_carry_whether_they_are_the_best():
    results = list(training(Toy(), lr=0.5, epochs=3))
    assert [result.best for result in results] == [True, True, True]
    state = TrainState(best_accuracy=1.1)
    assert not any(result.best for result in training(Toy(), state=state))


def test_an_average_follows_the_weights_and_is_what_is_evaluated():
    class Warmed(Toy.Loss):
        """A loss that learns a temperature."""

        def __init__(self):
            super().__init__(Criterion())
            self.heat = nn.Parameter(torch.ones(()))

        def loss(self, logits, targets):
            return super().loss(logits * self.heat, targets)

    network = Toy()
    network.head = Warmed()
    average = WeightAverage(network, decay=0.9)
    (result,) = training(network, epochs=1, average=average)
    assert 0 < average.module.linear.weight.abs().max() < network.linear.weight.abs().max()
    with torch.no_grad():
        expected = average.module.head.loss(average.module(Points().points), Points().labels)
    assert result.val_loss == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kept", ["memory", "device"])
def test_from_photo_to_average_a_step_does_not_wait_for_the_gpu(kept):
    device = torch.device("cuda", torch.cuda.current_device())
    store = PhotoStore(make_samples("train", 8), transform=ShrinkForCrops(1000), workers=1)
    store.fill(PixelBuffer(memory=1 << 20, file=None, count=0), lambda done, total: None)
    if kept == "device":
        store.move_to(device)
    how = Augmentation(crop_scale=0.5, hflip=0.5, rotation=10, color_jitter=0.2)
    loader = TrainLoader(store, preprocess=PREPROCESS, augmentation=how, batch_size=4, seed=0, device=device)
    request = HeadRequest(pooled_width=12, map_width=12, outputs=3, dropout=0.1, criterion=Criterion(), options=None)
    network = Classifier(SmallBackbone(dropout=0.1), SmallHead(request)).to(device)
    groups = [{"params": list(network.parameters()), "weight_decay": 0.1, "lr_scale": 1.0}]
    optimizer, average = make_optimizer("adamw", groups, lr=0.01, momentum=0.0), WeightAverage(network, decay=0.9)
    step, meter = Step(network, optimizer, precision=choose_precision("bf16", device), clip_grad=1.0), Meter(device)
    try:
        for number, batch in enumerate(loader.epoch(1)):
            loss, logits = step(mix(batch, alpha=0.2, draw=(0, number)))
            average.update_parameters(network)
            meter.add(loss, logits, batch.labels)
            torch.cuda.set_sync_debug_mode("error")  # once the first step has chosen its kernels
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(meter.read()[0])


def test_mixup_mixes_images_and_targets_alike():
    network, seen = Toy(), []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = network, network.head

        def forward(self, images):
            seen.append(images)
            return self.inner(images)

    points = Points(8)
    (result,) = training(Spy(), points, lr=0.0, epochs=1, mixup=1.0)
    (plain,) = points.epoch(1)
    assert math.isnan(result.train_accuracy)
    assert not torch.equal(seen[0], plain.images)
    torch.testing.assert_close(seen[0].mean(dim=0), plain.images.mean(dim=0))
    # Zero weights give every mixture of targets the same loss.
    assert result.train_loss == pytest.approx(math.log(2))


def test_mixup_works_on_kept_features_too():
    points = Points()
    kept = FeatureBatches(
        Features(points.points, points.points[:, :, None, None][:, :, :0, :0]), points.labels, batch_size=8, seed=0
    )
    results = list(training(Toy(), kept, mixup=0.2))
    assert results[-1].val_accuracy == 1.0


def test_a_gradient_is_clipped_to_its_norm():
    def weight_after_a_step(**how):
        network = Toy()
        next(training(network, Points(8, scale=100.0), epochs=1, **how))
        return torch.cat([p.detach().flatten() for p in network.parameters()]).norm().item()

    assert weight_after_a_step() > 10
    assert weight_after_a_step(clip_grad=1.0) == pytest.approx(0.5, rel=1e-4)  # the rate times the norm


def test_bf16_trains_too():
    results = list(training(Toy(), precision=choose_precision("bf16", torch.device("cpu"))))
    assert results[-1].val_accuracy == 1.0


def test_only_fp16_scales_its_loss():
    assert not FP32.scales_loss
    assert not torch.amp.GradScaler("cpu", enabled=FP32.scales_loss).is_enabled()
