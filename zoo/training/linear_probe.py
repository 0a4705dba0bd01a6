"""Trains a head on the features of a frozen backbone: as a probe before fine-tuning, or as the whole training."""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import AUTO
from zoo.data.loading.augmenters import build_mixers
from zoo.errors import ConfigError, TrainingError
from zoo.events import EpochResult, Note, Work
from zoo.models.build import build_head
from zoo.models.classifier import Classifier
from zoo.models.offers import with_head_options
from zoo.models.random_state import restore_random_states
from zoo.runs.record import write_record
from zoo.training.feature_extractor import FeatureExtractor
from zoo.training.finite import find_bad_rows
from zoo.training.forward import Outputs, compute_outputs
from zoo.training.frozen.features import FeatureBatches, HeadOnFeatures
from zoo.training.frozen.head_choice import START, Candidate, choose_head
from zoo.training.frozen.solver import fit_head, predict_held_out
from zoo.training.job import (
    FrozenFeatures,
    build_average,
    build_compilation,
    build_optimizer,
    build_plan,
    eval_batches,
    save_epoch,
    set_values,
)
from zoo.training.loop import fit
from zoo.training.micro_batches import concatenate
from zoo.training.optimizer import OptimizerTraits
from zoo.training.scores import CROSS_VALIDATION, Scores
from zoo.training.state import TrainState, is_lower

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from zoo.plugins.contracts import Head
    from zoo.training.frozen.solver import Strength
    from zoo.training.job import Job

_MIRRORED = 1.1  # times the loss of photos as they are, above which mirrored ones are no further examples


def fit_probe(job: Job, state: TrainState) -> EpochResult:
    """Fits the head on frozen features before fine-tuning, so that a random head does not distort the backbone.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054: linear probing, then fine-tuning.
    """
    result = _fit(job, state, epoch=0, solver="lbfgs", strength=AUTO)
    if job.processes.is_main:
        write_record(job.folder, job.record)  # a resumed run needs what was chosen
    return result


def fit_start(job: Job, state: TrainState) -> None:
    """Fits the head of a probe again, with a penalty strong enough for fine-tuning to start from.

    A head that fits the training photos perfectly leaves almost no loss whose gradient could train the backbone.
    Whether fine-tuning pays shows in the validation loss, or in the monitored value, from here on.
    """
    features, head = find_features(job), job.classifier.head
    chosen: Strength = job.record.probe["strength"]
    stronger = max(chosen, START) if isinstance(chosen, int | float) else [max(each, START) for each in chosen]
    if stronger != chosen:
        _solve(job, features.train.features, features.train.labels, solver="lbfgs", strength=stronger)
    outputs = compute_outputs(HeadOnFeatures(head), features.val, job.precision)
    measured = job.monitor.measure(outputs, head, loss=outputs.loss(head))
    state.start_counting(measured.losses, measured.score)


def train_on_features(job: Job) -> Iterator[EpochResult]:
    """Trains the head of a job whose whole backbone is frozen; yields results as `zoo.training.train.train`."""
    _warn_of_unused_augmentations(job)
    if solver := job.parts.optimizer.spec.head_solver:
        result = _fit(job, TrainState(), epoch=1, solver=solver, strength=job.config.weight_decay)
        yield save_epoch(job, result, job.classifier)
    else:
        yield from _train_in_steps(job)


def _warn_of_unused_augmentations(job: Job) -> None:
    solves = bool(job.parts.optimizer.spec.head_solver)
    unused = [each.spec.name for each in job.parts.augmentations if solves or not each.spec.mixes_features]
    if unused:
        text = f"Without effect: {', '.join(unused)}. --freeze all trains on the features of photos as they are."
        job.observer(Note(text=text, warning=True))


def find_features(job: Job) -> FrozenFeatures:
    """Returns the features for the head of a job, computed again in a run that was resumed."""
    if job.features is None:
        extract = FeatureExtractor(job, [job.classifier.head])
        _keep_features(job, extract, 0, extract("train"))
    assert job.features is not None
    return job.features


def refit(job: Job) -> None:
    """Fits the head of a probe once more, on training and validation photos together, now that everything is chosen.

    The job gets the head; the strength of the penalty stays.
    """
    pooled, labels = _merge_features(job)
    chosen = job.parts.optimizer.spec.head_solver if job.config.freeze == "all" else ""
    _solve(job, pooled, labels, solver=chosen or "lbfgs", strength=job.record.probe["strength"])


def predict_unseen(job: Job) -> tuple[Tensor, Tensor] | None:
    """Returns logits for the training and validation photos of a probe, each by a fit that did not see the photo.

    Probabilities can be calibrated, and thresholds chosen, on ten times as many photos as the validation split has,
    with the penalty of the probe.

    Returns:
        The logits ``(N, classes)`` and the labels, ``(N,)`` or multi-hot ``(N, classes)``; None for heads of which
        there is no cross-validation.
    """
    head = job.classifier.head
    if head.output_layer is None or "strength" not in job.record.probe:
        return None
    pooled, labels = _merge_features(job)
    groups = [sample.group for split in ("train", "val") for sample in eval_batches(job, split).store.samples]
    strength = job.record.probe["strength"]
    logits, labels = predict_held_out(
        head, pooled, labels, [strength], seed=job.config.seed, groups=groups, draws=job.balance.draws
    )
    return (logits[0], labels) if logits else None


def _merge_features(job: Job) -> tuple[Any, Tensor]:
    """Returns the features of training and validation photos together, and their labels."""
    features = find_features(job)
    pooled = concatenate([features.train.features, features.val.features])
    return pooled, torch.cat([features.train.labels, features.val.labels])


def _solve(job: Job, pooled: Any, labels: Tensor, *, solver: str, strength: Strength) -> None:
    """Fits the head of a job on features; the main process does, for all."""
    head = job.classifier.head

    def solve() -> dict[str, Tensor]:
        fit_head(head, pooled, labels, solver=solver, strength=strength, draws=job.balance.draws)
        return head.state_dict()

    head.load_state_dict(job.processes.broadcast(solve))


def _fit(job: Job, state: TrainState, *, epoch: int, solver: str, strength: float | str) -> EpochResult:
    """Chooses a head, fits it on the features of the training photos and evaluates it on the validation photos.

    The head and the strength of its penalty are those of the lowest loss in cross-validation. The job gets the head and
    its options.
    """
    started = time.perf_counter()
    candidates = list_candidates(job)
    extract = FeatureExtractor(job, [candidate.head for candidate in candidates])
    features, labels = train = extract("train")

    def choose_and_fit() -> tuple[int, dict[str, Any], float, dict[str, Tensor]]:
        groups = [sample.group for sample in eval_batches(job, "train").store.samples]
        number, chosen = choose_head(
            candidates,
            features,
            labels,
            classes=len(job.images.classes),
            strength=strength,
            seed=job.config.seed,
            groups=groups,
            draws=job.balance.draws,
            progress=lambda done, total: job.observer(Work(what="cross-validate heads", done=done, total=total)),
        )
        head = candidates[number].head
        if job.scores is not None and "compared" in chosen:
            job.scores[CROSS_VALIDATION] = _score_held_out(
                job, head, features[number], labels, strength=chosen["strength"], groups=groups
            )
        loss = fit_head(
            head,
            features[number],
            labels,
            solver=solver,
            strength=chosen["strength"],
            draws=job.balance.draws,
            progress=lambda done, total: job.observer(Work(what="fit head", done=done, total=total)),
        )
        return number, chosen, loss, head.state_dict()

    number, chosen, loss, weights = job.processes.broadcast(choose_and_fit)
    head = candidates[number].head
    head.load_state_dict(weights)
    _set_head(job, candidates[number], chosen)
    seconds = time.perf_counter() - started
    val = _keep_features(job, extract, number, train)
    outputs = compute_outputs(HeadOnFeatures(head), val, job.precision)
    if epoch == 0 and job.config.hflip == AUTO:
        _choose_flips(job, extract, number, outputs)
    val_loss = outputs.loss(head)
    if not math.isfinite(val_loss) or find_bad_rows(outputs.logits):
        raise TrainingError(
            f"The validation loss became {val_loss} after the head was fitted: its outputs are NaN or infinite.",
            hint="The features are finite, so the head overflows: use --precision fp32, or another head.",
        )
    measured = job.monitor.measure(outputs, head, loss=val_loss)
    return EpochResult(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=float("nan"),
        val_loss=val_loss,
        val_accuracy=measured.accuracy,
        learning_rate=0.0,
        seconds=time.perf_counter() - started,
        images_per_second=len(labels) / seconds,
        best=state.improve(measured.quality, val_loss, measured.losses, score=measured.score),
        metrics=measured.metrics,
    )


def _score_held_out(
    job: Job, head: Head, pooled: Any, labels: Tensor, *, strength: float, groups: Sequence[str]
) -> Scores:
    """Returns the scores of training photos, each by the fit of the fold that did not train on it."""
    (logits,), drawn = predict_held_out(
        head, pooled, labels, [strength], seed=job.config.seed, groups=groups, draws=job.balance.draws
    )
    outputs = Outputs(logits.cpu(), drawn.cpu())
    return Scores.of(outputs.probabilities(head).numpy(), outputs.labels.numpy())


def _choose_flips(job: Job, extract: FeatureExtractor, number: int, plain: Outputs) -> None:
    """Sets the probability of a horizontal flip to 0 if the head, which has seen no mirrored photo, errs on them.

    Args:
        job: The training, with the fitted head.
        extract: Computes features.
        number: Of the head.
        plain: The outputs for the validation photos.
    """
    head = job.classifier.head
    features, labels = extract("val", flipped=True)
    mirrored = compute_outputs(
        HeadOnFeatures(head), FeatureBatches(features[number], labels, batch_size=1024, seed=0), job.precision
    )
    losses, others = plain.losses(head), mirrored.losses(head)
    harmful = is_lower(losses, others) and float(others.mean()) > _MIRRORED * float(losses.mean())
    set_values(job, hflip=0.0 if harmful else 0.5)
    probe = {**job.record.probe, "loss": float(losses.mean()), "mirrored_loss": float(others.mean())}
    job.record = dataclasses.replace(job.record, probe=probe)
    if harmful:
        job.observer(Note(text="Mirrored photos are not recognised: training does not flip photos (--hflip 0.5 does)."))


def list_candidates(job: Job) -> list[Candidate]:
    """Returns the heads to choose from: the spec's candidates that fit the backbone.

    A candidate is left out if the user set one of its options.
    """
    spec, given = job.offers.head.spec, job.config.head_options
    candidates = []
    with restore_random_states():
        for options in spec.candidates:
            if not options.keys() & given.keys():
                with suppress(ConfigError):  # a candidate of more stages than the backbone has
                    candidates.append(Candidate(options=options, head=_build_head(job, {**given, **options})))
    return candidates or [Candidate(options={}, head=job.classifier.head)]


def _build_head(job: Job, options: Mapping[str, Any]) -> Head:
    torch.manual_seed(job.config.seed)
    offers = with_head_options(job.offers, options)
    head = build_head(
        offers.head,
        job.classifier.backbone,
        image_size=job.preprocess.size,
        outputs=len(job.images.classes),
        dropout=job.config.dropout,
        criterion=job.classifier.head.criterion,
        options=offers.head_options,
    )
    return head.to(job.precision.device)


def _set_head(job: Job, candidate: Candidate, chosen: dict[str, Any]) -> None:
    """Makes a candidate the head of a job, in its configuration and its record too."""
    job.classifier = Classifier(job.classifier.backbone, candidate.head)
    set_values(job, head_options={**job.config.head_options, **candidate.options})
    job.record = dataclasses.replace(job.record, probe=chosen)


def _keep_features(
    job: Job, extract: FeatureExtractor, number: int, train: tuple[tuple[Any, ...], Tensor]
) -> FeatureBatches:
    """Returns the features of the validation photos for a head; the job keeps them, and those for training."""
    make = partial(FeatureBatches, batch_size=job.config.images_per_step, seed=job.config.seed)
    (train_features, train_labels), (val_features, val_labels) = train, extract("val")
    train_batches = make(train_features[number], train_labels, sampler=job.config.sampler)
    val = make(val_features[number], val_labels)
    vectors = (extract.vectors["train"][number], extract.vectors["val"][number]) if job.config.familiarity else None
    job.features = FrozenFeatures(
        run=lambda images: extract.run(images)[number], train=train_batches, val=val, vectors=vectors
    )
    return val


def _train_in_steps(job: Job) -> Iterator[EpochResult]:
    config, head = job.config, job.classifier.head
    job.observer(
        Note(text="The backbone runs once, over the photos as evaluation sees them: without random crops or flips.")
    )
    extract = FeatureExtractor(job, [head])
    train = extract("train")
    val = _keep_features(job, extract, 0, train)
    if not job.processes.is_main:
        return  # a head is too small to share: the main process trains it, and `finalize` copies it to the others
    assert job.features is not None
    batches, network, classes = job.features.train, HeadOnFeatures(head), len(job.images.classes)
    mixers = build_mixers(job.parts.augmentations, job.preprocess, classes=classes, features=True)
    average = build_average(config, network)
    best: Any = network if average is None else average.module
    for result in fit(
        network,
        batches,
        val,
        optimizer=build_optimizer(job),
        plan=build_plan(job, steps=batches.steps),
        precision=job.precision,
        set_training=network.train,
        state=TrainState(),
        traits=OptimizerTraits.from_choice(job.parts.optimizer),
        mixers=mixers,
        classes=classes,
        average=average,
        micro_batches=job.micro_batches,
        compilation=build_compilation(job, images=batches.images_per_step),
        monitor=job.monitor,
        on_step=job.observer,
    ):
        yield save_epoch(job, result, Classifier(job.classifier.backbone, best.head))
