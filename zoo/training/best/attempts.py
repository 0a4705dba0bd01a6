"""What a search tries, and what came of it: plain values, stored as JSON, with scores photo by photo beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.training.scores import Scores

DONE, FAILED, OUT_OF_TIME, NO_MEMORY = "done", "failed", "out of time", "not enough memory"
JOINED, JOIN = "joined", "+"  # the family of joined backbones, and what is between the names of their members


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A backbone with weights that are at hand.

    Attributes:
        backbone: A name that finds it.
        weights: The option `weights`: ``"pretrained"``, a file or a run.
        options: Options of the backbone.
        image_size: Side of the input for which the weights were made, in pixels.
    """

    backbone: str
    weights: str = "pretrained"
    options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int

    @property
    def is_joined(self) -> bool:
        """Whether it joins several backbones."""
        return JOIN in self.backbone

    @property
    def is_joinable(self) -> bool:
        """Whether `zoo_joined` can build it as a member: by its bare name alone, with its pretrained weights."""
        return self.weights == "pretrained" and not self.options and "/" not in self.backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A training that a search may start.

    Attributes:
        source: The backbone with its weights.
        image_size: Side of the input in pixels.
        photos: Training photos, those for validation included; None for all.
        values: The fields of `FinetuneConfig` in which it differs from the recipe; ``{"freeze": "all"}`` for a probe.
    """

    source: Source
    image_size: int
    photos: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_probe(self) -> bool:
        """Whether the backbone keeps its weights."""
        return self.values.get("freeze") == "all"

    @property
    def is_native(self) -> bool:
        """Whether its images have the size for which the weights were made."""
        return self.image_size == self.source.image_size

    @property
    def name(self) -> str:
        """What a table shows: ``"resnet18, 224 px, probe"``."""
        others = {name: value for name, value in self.values.items() if not (self.is_probe and name == "freeze")}
        details = " ".join(f"{name.replace('_', '-')}={value}" for name, value in others.items())
        how = "probe" if self.is_probe else f"fine-tuned {details}".strip()
        few = "" if self.photos is None else f", {self.photos:,} photos"
        return f"{self.source.backbone.rpartition('/')[2]}, {self.image_size} px, {how}{few}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        attempt: The attempt.
        status: `DONE`, `FAILED`, `OUT_OF_TIME` or `NO_MEMORY`.
        seconds: How long it took, preparation included.
        work: The part of `seconds` that grows with the number of photos, as far as it was seen.
        folder: Name of its run folder; empty if there is none.
        message: Why it failed, or was not tried.
        memory: Bytes that it needed beyond what the process had before; 0 if unknown.
        milliseconds: Time for a photo at prediction: reading it from the cache, and the network.
        epochs: Finished epochs of fine-tuning.
        best_epoch: The epoch whose weights were kept; 0 is the probe.
        scores: By what they were measured on (`zoo.training.scores`).
    """

    attempt: Attempt
    status: str = DONE
    seconds: float
    work: float = 0.0
    folder: str = ""
    message: str = ""
    memory: int = 0
    milliseconds: float = 0.0
    epochs: int = 0
    best_epoch: int = 0
    scores: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is a finished run."""
        return self.status == DONE

    @property
    def complete(self) -> bool:
        """Whether there is a finished run that was trained on all photos."""
        return self.done and self.attempt.photos is None

    @property
    def tuned(self) -> bool:
        """Whether fine-tuning replaced the probe."""
        return self.done and self.best_epoch > 0

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, with a summary in place of the scores."""
        plain = asdict(self)
        plain["scores"] = {name: _summarise(each) for name, each in self.scores.items()}
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], scores: Mapping[str, Scores]) -> Outcome:
        """Returns what `to_dict` described, with its scores."""
        return cls(**{**values, "attempt": attempt_from_dict(values["attempt"]), "scores": scores})


def join_sources(sources: Sequence[Source]) -> Source:
    """Returns the source of joined backbones, which see images of the largest size."""
    return Source(
        backbone=JOIN.join(each.backbone for each in sources), image_size=max(each.image_size for each in sources)
    )


def attempt_from_dict(values: Mapping[str, Any]) -> Attempt:
    """Returns an attempt from the values of `dataclasses.asdict`."""
    return Attempt(**{**values, "source": Source(**values["source"])})


def _summarise(scores: Scores) -> dict[str, Any]:
    from zoo.metrics.intervals import wilson_interval

    count, correct = len(scores.correct), int(scores.correct.sum())
    return {
        "loss": float(scores.losses.mean()),
        "accuracy": correct / count,
        "interval": list(wilson_interval(correct, count)),
        "count": count,
    }
