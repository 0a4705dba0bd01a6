"""What passes between a plugin and the core: frozen values, importable without torch.

A plugin's hook returns specs. A spec holds a name, a line of text, the type of its options and one callable that the
core calls with one request when, and only when, the thing is really needed; heavy imports belong inside that callable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.events import Progress, no_progress
from zoo.plugins.options import NoOptions
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone, Head
    from zoo.plugins.losses import Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What every offer has. Its callables may be written ``"module:attribute"``: they are imported when called.

    Attributes:
        name: Lower-case; letters, digits, ``_ . -``.
        summary: One line.
        options: Frozen dataclass of its options.
    """

    name: str
    summary: str = ""
    options: type[Any] = NoOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """Where pretrained weights come from.

    Attributes:
        name: ``"IMAGENET1K_V1"``, ``"a1_in1k"``.
        source: Address they are downloaded from, or a sentence.
        licence: As their owner states it; empty when unknown.
        accuracy: Published ImageNet top-1 in percent, or None.
    """

    name: str
    source: str
    licence: str = ""
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneCard:
    """What is known about a backbone before it is built.

    Attributes:
        preprocess: Of the pretrained weights, or the one to train with where there are none.
        weights: The pretrained weights, or None.
    """

    preprocess: Preprocess
    weights: WeightsInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneRequest:
    """What the core asks of `BackboneSpec.build`.

    Attributes:
        pretrained: Whether to load the pretrained weights of the card; never where the card names none.
        image_size: (height, width) of the images to come; needed by networks with position embeddings.
        options: An instance of `BackboneSpec.options`.
    """

    pretrained: bool
    image_size: tuple[int, int]
    options: Any


def _nothing_known() -> None:
    """Lets `BackboneSpec.build` find out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec(Spec):
    """One backbone offered by a plugin.

    Attributes:
        card: Returns what is known of the backbone; may import its library.
        build: Returns the module, in train mode, on the CPU, float32.
            Raises `WeightsError` where pretrained weights cannot be had: never random values in their place.
        check_pretrained: Raises `WeightsError` where pretrained weights surely cannot be had, so that a user without
            a network hears of it at once; imports nothing heavy, and answers within five seconds.
    """

    build: Callable[[BackboneRequest], Backbone] | str
    card: Callable[[], BackboneCard] | str
    check_pretrained: Callable[[], None] | str = _nothing_known


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFamily:
    """Many backbones under one plugin, resolved by name when asked for.

    Attributes:
        name: What the family is called in listings.
        summary: One line.
        names: Returns every name; may import its library (seconds).
        resolve: Returns the spec of a name, or None where the family has no such name; may import its library.
    """

    name: str
    names: Callable[[], list[str]] | str
    resolve: Callable[[str], BackboneSpec | None] | str
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """What the core asks of `HeadSpec.build`.

    Attributes:
        pooled_width: D of `Features.pooled` ``(N, D)``.
        map_width: C of `Features.map` ``(N, C, h, w)``.
        outputs: How many logits: one a class.
        dropout: Probability with which the head's input is dropped in training.
        criterion: The loss chosen by the configuration.
        options: An instance of `HeadSpec.options`.
    """

    pooled_width: int
    map_width: int
    outputs: int
    dropout: float
    criterion: Criterion
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec(Spec):
    """One head offered by a plugin.

    Attributes:
        build: Returns the module, freshly initialised.
    """

    build: Callable[[HeadRequest], Head] | str


class Sample(NamedTuple):
    """One labelled image.

    Attributes:
        source: A file, or the bytes of one.
        label: Index into `ImageSet.classes`.
        name: What the image is called in tables and messages; unique within its dataset.
    """

    source: Path | bytes
    label: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """A labelled set of images with explicit parts.

    Attributes:
        name: Short, fit for a file name.
        classes: Class names, in the order of the labels.
        train: What is learnt from.
        val: What chooses the best epoch; empty where the dataset has none (one is then split off `train`).
        test: What is scored once, at the end; empty where the dataset has none.
        note: What a reader of the results must know about the data, or empty.
        skipped: Names of files left out, each with its reason: ``"a/b.txt: not an image"``.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    note: str = ""
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """What the core asks of `DatasetSpec.load`.

    Attributes:
        cache: The dataset's own folder, which may not exist yet; downloads are kept there.
        options: An instance of `DatasetSpec.options`.
        progress: Called while something slow happens.
    """

    cache: Path
    options: Any
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """One dataset offered by a plugin.

    Attributes:
        load: Returns the images; downloads them first where need be.
        licence: As its owner states it; empty when unknown.
    """

    load: Callable[[DatasetRequest], ImageSet] | str
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRequest:
    """What the core asks of `FormatSpec.load`.

    Attributes:
        path: A file that has one of the format's suffixes.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, as the user wrote it. What it names is used,
            or an error raised; of ``"auto"`` alone the format makes something.
        ask: Asks whoever sits at the terminal for the passphrase of what its argument names; None where nobody does.
    """

    path: Path
    device: str = "auto"
    ask: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec(Spec):
    """A kind of file that holds a trained classifier and can be opened like a run.

    Attributes:
        suffixes: How the names of such files end, lower-case, with the dot: ``(".onnx",)``.
        load: Returns a `zoo.PhotoPredictor`. Raises a `ZooError` for a file that is broken, hostile or of another maker.
    """

    suffixes: tuple[str, ...]
    load: Callable[[FormatRequest], object] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check of the set-up found.

    Attributes:
        about: What was looked at: ``"CUDA in torch"``.
        status: ``"ok"``; ``"warning"``: it works, and something is lost; ``"problem"``: something does not work.
        text: What is there.
        advice: What to do about it; empty where there is nothing to do.
    """

    about: str
    status: Literal["ok", "warning", "problem"]
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec(Spec):
    """A check of the set-up, made by ``zoo doctor``.

    Attributes:
        run: Really tries what it speaks of, within seconds; may import heavy packages, and prints nothing.
    """

    run: Callable[[], list[Finding]] | str
