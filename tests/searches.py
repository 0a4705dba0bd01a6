"""Outcomes of searches that never happened, and a search by a fake clock."""

from dataclasses import replace

import numpy as np

from zoo.training.best.attempts import DONE, JOIN, Attempt, Outcome, Source
from zoo.training.best.plan import PROBE, Plan, find_deadline, next_attempt
from zoo.training.scores import CROSS_VALIDATION, VALIDATION, Scores


def source(name, size=224):
    return Source(backbone=name, image_size=size)


def scores(losses):
    return Scores(np.asarray(losses, dtype=np.float32), np.asarray(losses) < 1)


def probe(name, losses, *, val=None, ms=10.0, photos=None, status=DONE, size=224, seconds=10.0, work=None):
    found = {VALIDATION: scores(losses if val is None else val)}
    if losses is not None:
        found[CROSS_VALIDATION] = scores(losses)
    attempt = Attempt(source=source(name), image_size=size, photos=photos, values=PROBE)
    return Outcome(
        attempt=attempt,
        status=status,
        seconds=seconds,
        work=seconds / 1.2 if work is None else work,
        milliseconds=ms,
        scores={} if status != DONE else found,
    )


def tuned(name, losses, *, best_epoch=3, epochs=4, seconds=60.0, ms=10.0, **values):
    attempt = Attempt(source=source(name), image_size=224, values={"epochs": epochs, **values})
    found = {VALIDATION: scores(losses)}
    return Outcome(
        attempt=attempt, seconds=seconds, milliseconds=ms, epochs=epochs, best_epoch=best_epoch, scores=found
    )


def make_plan(*names, photos=500, test_photos=100, smallest=None, minutes=10.0, epochs=4):
    sources = tuple(each if isinstance(each, Source) else source(each) for each in names)
    return Plan(
        sources=sources,
        photos=photos,
        test_photos=test_photos,
        smallest=smallest or photos,
        seconds=60 * minutes,
        epochs=epochs,
    )


def simulate(plan, *, losses, speed=0.02, tuned_loss=lambda attempt: 0.3, epoch_share=1.0):
    """Searches by a fake clock; returns the names of what was tried, and the seconds at which the last one ended.

    Args:
        plan: The search.
        losses: The loss of each backbone, or a function of an attempt.
        speed: Seconds for a photo of 224 pixels; a number, or one for each backbone.
        tuned_loss: The loss after fine-tuning; None if the probe stays.
        epoch_share: Seconds of an epoch, as a share of those of the probe.
    """
    outcomes, clock = [], 0.0
    while True:
        left = find_deadline(plan, outcomes) - clock
        attempt = next_attempt(plan, outcomes, left=left)
        if attempt is None or left < 1:
            return [each.attempt.name for each in outcomes], clock, outcomes
        name = attempt.source.backbone
        members = name.split(JOIN)
        loss = losses(attempt) if callable(losses) else losses.get(name, max(losses[each] for each in members))
        paces = [speed[each] if isinstance(speed, dict) else speed for each in members]
        pace = sum(paces) * (attempt.image_size / 224) ** 2
        seconds = 3 + pace * (attempt.photos or plan.photos)
        if attempt.is_probe:
            same = {"size": attempt.image_size, "photos": attempt.photos}
            outcome = probe(name, [loss, loss], **same, seconds=seconds, work=seconds - 3)
        else:
            epochs = attempt.values.get("epochs", plan.epochs)
            better = tuned_loss(attempt)
            outcome = Outcome(
                attempt=attempt,
                seconds=seconds * (1 + epoch_share * epochs),
                epochs=epochs,
                best_epoch=0 if better is None else epochs,
                scores={VALIDATION: scores([loss if better is None else better] * 2)},
            )
        clock += outcome.seconds
        assert len(outcomes) < 100, [each.attempt.name for each in outcomes]
        outcomes.append(replace(outcome, attempt=attempt))
