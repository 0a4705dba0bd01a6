import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from augmenters import make_augmenters, make_mixers
from criteria import make_criterion
from fakes import PREPROCESS, SmallBackbone, SmallHead, make_samples
from torch import nn

from zoo.data.loading.augment_params import CropPolicy, make_generator
from zoo.data.loading.loader import Batch, TrainLoader
from zoo.data.loading.pixel_buffer import PixelBuffer
from zoo.data.loading.store import PhotoStore
from zoo.data.loading.transform import ShrinkForCrops
from zoo.errors import DivergedError, TrainingError
from zoo.models.classifier import Classifier
from zoo.models.precision import choose_precision
from zoo.plugins.contracts import Features, Head
from zoo.plugins.specs import HeadRequest
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.ema import WeightAverage
from zoo.training.finite import StepLog
from zoo.training.frozen.features import FeatureBatches
from zoo.training.loop import Plan, ProgressMonitor, fit
from zoo.training.mixing import mix
from zoo.training.schedule import with_warmup
from zoo.training.state import Meter, TrainState
from zoo.training.step import Step

FP32 = choose_precision("fp32", torch.device("cpu"))


class LossHead(Head):
    """A head that is only a loss."""

    def __init__(self):
        super().__init__(make_criterion())

    def forward(self, features):
        return features


class LinearNetwork(nn.Module):
    """A linear classifier of points or of features."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.head = LossHead()
        nn.init.zeros_(self.linear.weight)
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


def make_sgd(network, *, lr=0.5):
    groups = [{"params": list(network.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}]
    return torch.optim.SGD(groups, lr=lr)


def train(network, points=None, *, lr=0.5, epochs=3, state=None, optimizer=None, precision=FP32, plan=None, **options):
    return fit(
        network,
        points or Points(),
        Points(),
        optimizer=optimizer or make_sgd(network, lr=lr),
        plan=Plan(epochs=epochs, lr=lr, **(plan or {})),
        precision=precision,
        set_training=network.train,
        state=state or TrainState(),
        **options,
    )


def test_the_loss_falls_on_separable_data():
    results = list(train(LinearNetwork()))
    assert [result.epoch for result in results] == [1, 2, 3]
    assert all(later.train_loss < earlier.train_loss for earlier, later in itertools.pairwise(results))
    assert results[-1].val_loss < results[0].val_loss < math.log(2)
    assert results[-1].val_accuracy == results[-1].train_accuracy == 1.0
    assert results[0].learning_rate == 0.5
    assert results[0].images_per_second > 0
    assert results[0].seconds > 0


def test_the_last_step_of_every_epoch_is_reported():
    reports = []
    list(train(LinearNetwork(), epochs=2, on_step=reports.append))
    last = [result for result in reports if result.step == result.steps]
    assert [(result.epoch, result.steps) for result in last] == [(1, 4), (2, 4)]
    assert last[-1].seconds_left == 0
    assert last[0].seconds_left > 0


def test_progress_is_reported_about_twice_a_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr("zoo.training.loop.time", SimpleNamespace(perf_counter=lambda: now))
    decisions, reports = [], []
    monitor = ProgressMonitor(
        Plan(epochs=2, lr=0.1),
        steps=10,
        done=3,
        compilation=SimpleNamespace(decide=lambda **values: decisions.append(values)),
        processes=SINGLE_PROCESS,
        mixes=False,
        on_step=reports.append,
    )
    meter = Meter(FP32.device)
    meter.add(torch.tensor(0.5), torch.eye(3), torch.tensor([0, 1, 0]))
    now += 0.4
    assert not monitor.is_due(4)
    now += 0.2
    assert monitor.is_due(4)
    report = monitor.report(meter, StepLog(), epoch=1, step=4)
    assert reports == [report]
    assert (report.loss, report.accuracy) == (0.5, pytest.approx(2 / 3))
    assert report.seconds_left == pytest.approx(0.6 * 16)  # one step took 0.6 seconds, and 16 are left
    assert decisions == [{"seconds_left": report.seconds_left, "steps": 1}]
    now += 0.4
    assert not monitor.is_due(5)
    now += 9
    assert not monitor.is_due(10)  # the last step is reported anyway


def test_every_step_has_the_learning_rate_of_the_schedule():
    rates = []

    class RecordingSGD(torch.optim.SGD):
        def step(self, closure=None):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    network = LinearNetwork()
    groups = [
        {"params": [network.linear.weight], "lr_scale": 1.0},
        {"params": [network.linear.bias], "lr_scale": 10.0},
    ]
    plan = {"factor": with_warmup(lambda step, steps: 1 - step / steps, 0.25)}
    list(train(network, epochs=2, lr=0.1, plan=plan, optimizer=RecordingSGD(groups, lr=9.0)))
    assert [rate for rate, _ in rates] == pytest.approx(
        [0.1 * factor for factor in (1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)]
    )
    assert all(scaled == pytest.approx(10 * rate) for rate, scaled in rates)


def test_a_loss_that_is_not_finite_ends_training_with_epoch_step_and_rate():
    points = Points()
    _, second, *_ = torch.randperm(32, generator=make_generator(0, 1)).split(8)
    points.points[second[0]] = torch.inf
    with pytest.raises(
        DivergedError, match=r"loss became nan in step 2 of epoch 1, .* rate of 0\.5; it was 0\.\d+ in"
    ) as e:
        list(train(LinearNetwork(), points))
    assert "--lr" in e.value.hint


def test_a_first_loss_that_is_not_finite_is_found_before_any_weight_changes():
    network, points = LinearNetwork(), Points()
    points.points[:] = torch.inf
    with pytest.raises(TrainingError, match=r"The loss of the first step is nan, because its input is not finite\."):
        list(train(network, points))
    assert not network.linear.weight.any()


def test_a_validation_loss_that_is_not_finite_ends_training_before_the_epoch_counts():
    class Overflowing(LinearNetwork):
        def forward(self, images):
            return super().forward(images) * (1 if self.training else torch.nan)

    state = TrainState()
    with pytest.raises(TrainingError, match=r"The validation loss became nan in epoch 1, at a learning rate of 0\.5"):
        list(train(Overflowing(), state=state))
    assert (state.epoch, state.step, state.best_accuracy) == (0, 4, -1.0)


def test_the_caller_may_stop_after_any_epoch():
    state = TrainState()
    results = train(LinearNetwork(), epochs=100, state=state)
    assert next(results).epoch == 1
    results.close()
    assert state.epoch == 1


def test_stopped_training_continues_as_if_it_had_never_been_stopped():
    whole, stopped = LinearNetwork(), LinearNetwork()
    plan = {"factor": with_warmup(lambda step, steps: 1 - step / steps, 0.1)}
    list(train(whole, epochs=4, plan=plan))
    optimizer, state = make_sgd(stopped), TrainState()
    list(itertools.islice(train(stopped, epochs=4, plan=plan, optimizer=optimizer, state=state), 2))
    assert state.epoch == 2
    results = list(train(stopped, epochs=4, plan=plan, optimizer=optimizer, state=state))
    assert [result.epoch for result in results] == [3, 4]
    assert torch.equal(whole.linear.weight, stopped.linear.weight)


def test_results_say_whether_an_epoch_is_the_best_so_far():
    assert [result.best for result in train(LinearNetwork())] == [True, True, True]
    better = TrainState(best_epoch=1, best_accuracy=1.1, best_loss=0.0, best_losses=torch.zeros(len(Points().labels)))
    assert not any(result.best for result in train(LinearNetwork(), state=better))


def test_the_average_is_updated_at_every_step_and_evaluated():
    class ScaledHead(LossHead):
        """A loss with a trainable temperature."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def loss(self, logits, targets):
            return super().loss(logits * self.scale, targets)

    network = LinearNetwork()
    network.head = ScaledHead()
    average = WeightAverage(network, decay=0.9)
    (result,) = train(network, epochs=1, average=average)
    assert 0 < average.module.linear.weight.abs().max() < network.linear.weight.abs().max()
    with torch.no_grad():
        expected = average.module.head.loss(average.module(Points().points), Points().labels)
    assert result.val_loss == pytest.approx(float(expected), rel=1e-5)


def test_there_is_a_safe_point_after_every_step_and_every_batch_of_an_evaluation():
    state, positions = TrainState(), []
    list(train(LinearNetwork(), epochs=2, state=state, safe_point=lambda: positions.append((state.epoch, state.step))))
    assert positions == [(epoch, step) for epoch in (0, 1) for step in (1, 2, 3, 4, 4)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("place", ["memory", "device"])
def test_a_step_from_photo_to_average_does_not_wait_for_the_gpu(place):
    device = torch.device("cuda", torch.cuda.current_device())
    store = PhotoStore(make_samples("train", 8), transform=ShrinkForCrops(1000), workers=1)
    store.fill(PixelBuffer(memory=1 << 20, file=None, count=0), lambda done, total: None)
    if place == "device":
        store.move_to(device)
    loader = TrainLoader(
        store,
        preprocess=PREPROCESS,
        crops=CropPolicy(crop_scale=0.5, hflip=0.5),
        augmenters=make_augmenters("affine", "color-jitter", "randaugment", "trivialaugment", "random-erasing", "blur"),
        batch_size=4,
        seed=0,
        device=device,
    )
    mixers = make_mixers("mixup", "cutmix")
    request = HeadRequest(
        pooled_width=12, map_width=12, outputs=3, dropout=0.1, criterion=make_criterion(), options=None
    )
    network = Classifier(SmallBackbone(dropout=0.1), SmallHead(request)).to(device)
    groups = [{"params": list(network.parameters()), "weight_decay": 0.1, "lr_scale": 1.0}]
    optimizer, average = torch.optim.AdamW(groups, lr=0.01, fused=True), WeightAverage(network, decay=0.9)
    step, meter = Step(network, optimizer, precision=choose_precision("bf16", device), clip_grad=1.0), Meter(device)
    try:
        for number, batch in enumerate(loader.epoch(1)):
            loss, logits = step(mix(batch, mixers, classes=3, seed=0, step=number))
            average.update_parameters(network)
            meter.add(loss, logits, batch.labels)
            torch.cuda.set_sync_debug_mode("error")  # once the first step has selected its kernels
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(meter.read()[0])


def test_mixup_blends_images_and_targets_alike():
    inputs = []

    class RecordingNetwork(LinearNetwork):
        def forward(self, images):
            inputs.append(images)
            return super().forward(images)

    points = Points(8)
    (result,) = train(
        RecordingNetwork(), points, lr=0.0, epochs=1, mixers=make_mixers("mixup", options={"alpha": 1.0}), classes=2
    )
    (plain,) = points.epoch(1)
    blended = inputs[0]
    assert math.isnan(result.train_accuracy)
    assert not torch.equal(blended, plain.images)
    torch.testing.assert_close(blended.mean(dim=0), plain.images.mean(dim=0))
    # Zero weights give every blend of targets the same loss.
    assert result.train_loss == pytest.approx(math.log(2))


def test_mixup_works_on_cached_features_too():
    points = Points()
    features = Features(points.points, points.points[:, :, None, None][:, :, :0, :0])
    cached = FeatureBatches(features, points.labels, batch_size=8, seed=0)
    results = list(train(LinearNetwork(), cached, mixers=make_mixers("mixup", features=True), classes=2))
    assert results[-1].val_accuracy == 1.0


def test_gradients_are_clipped_to_their_norm():
    def norm_after_a_step(**plan):
        network = LinearNetwork()
        next(train(network, Points(8, scale=100.0), epochs=1, plan=plan))
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).norm().item()

    assert norm_after_a_step() > 10
    assert norm_after_a_step(clip_grad=1.0) == pytest.approx(0.5, rel=1e-4)  # the learning rate times the norm


def test_bf16_trains_too():
    results = list(train(LinearNetwork(), precision=choose_precision("bf16", torch.device("cpu"))))
    assert results[-1].val_accuracy == 1.0


def test_fp32_does_not_scale_the_loss():
    assert not FP32.scales_loss
    assert not torch.amp.GradScaler("cpu", enabled=FP32.scales_loss).is_enabled()
