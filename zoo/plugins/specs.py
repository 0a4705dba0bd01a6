"""The values that plugins and the core exchange: frozen dataclasses that import no torch.

A hook returns specs. A spec has a name, a summary, the type of its options, and a callable that the core calls with a
request when it needs the object. Heavy imports belong inside that callable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.events import Progress, no_progress
from zoo.plugins.options import NoOptions
from zoo.preprocess import Preprocess

CHECK_SECONDS = 60.0  # for a check of the installation, imports on a slow machine included

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone, Head
    from zoo.plugins.losses import Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The base class of all specs. Callables may be written as ``"module:attribute"``, which is imported when called.

    Attributes:
        name: Lower-case letters, digits and ``_ . -``.
        summary: One line.
        options: A frozen dataclass whose fields are the options (see `zoo.option`).
    """

    name: str
    summary: str = ""
    options: type[Any] = NoOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """The origin of pretrained weights.

    Attributes:
        name: ``"IMAGENET1K_V1"``, ``"a1_in1k"``.
        source: The address of the download, or a sentence.
        licence: As stated by their owner; empty if unknown.
        accuracy: Published ImageNet top-1 accuracy in percent, or None.
    """

    name: str
    source: str
    licence: str = ""
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneCard:
    """The properties of a backbone that are known before it is built.

    Attributes:
        preprocess: The preprocessing of the pretrained weights; without weights, the one to train with.
        weights: The pretrained weights, or None.
    """

    preprocess: Preprocess
    weights: WeightsInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneRequest:
    """The argument of `BackboneSpec.build`.

    Attributes:
        pretrained: Whether to load the pretrained weights; always false if the card has none.
        image_size: (height, width) of the images in pixels, for networks with position embeddings.
        options: An instance of `BackboneSpec.options`.
    """

    pretrained: bool
    image_size: tuple[int, int]
    options: Any


def no_check() -> None:
    """Leaves the check to `BackboneSpec.build`."""


def _is_unknown(*_: object) -> bool:
    """The default of ``is_local``: nothing is known, which counts as no."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec(Spec):
    """A backbone.

    Attributes:
        card: Returns the `BackboneCard`; may import the library of the backbone.
        build: Returns the module, in train mode, on the CPU, in float32. Raises `WeightsError` if the pretrained
            weights are not available; it never substitutes random values.
        check_pretrained: Raises `WeightsError` if the pretrained weights are certainly not available, so that a user
            without a network learns it at once. Imports nothing heavy and returns within five seconds.
        is_local: Returns whether the pretrained weights are on this machine. Imports nothing heavy, uses no network and
            takes milliseconds, because ``zoo list`` calls it for every backbone. By default, no.
        all_options: For a library whose networks have options that are unknown before it is imported. Returns a
            dataclass that extends `options`, or raises a `ConfigError` that says why it refuses one of the names that
            the user passes, which are its argument. Called if `options` lacks one of them, and with none to list all.
    """

    build: Callable[[BackboneRequest], Backbone] | str
    card: Callable[[], BackboneCard] | str
    check_pretrained: Callable[[], None] | str = no_check
    is_local: Callable[[], bool] | str = _is_unknown
    all_options: Callable[[Collection[str]], type[Any]] | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFamily:
    """Many backbones of a plugin, whose names are resolved on demand.

    Attributes:
        name: The name of the family in listings.
        summary: One line.
        names: Returns all names; may import the library of the family, which may take seconds.
        resolve: Returns the spec of a name, or None if the family does not have the name; may import its library.
        local_names: Returns the names whose pretrained weights are on this machine, under the same conditions as
            `BackboneSpec.is_local`. By default, none.
    """

    name: str
    names: Callable[[], list[str]] | str
    resolve: Callable[[str], BackboneSpec | None] | str
    summary: str = ""
    local_names: Callable[[], list[str]] | str = list


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """The argument of `HeadSpec.build`.

    Attributes:
        pooled_width: D of `Features.pooled` ``(N, D)``.
        map_width: C of `Features.map` ``(N, C, h, w)``.
        outputs: Number of logits, one per class.
        dropout: Dropout probability of the head's input, 0 to 1.
        criterion: The loss that the configuration selects.
        options: An instance of `HeadSpec.options`.
        stages: The shapes (C, h, w) of the maps that the backbone's stages offer, from input to output, by name; the
            head names those that it reads in `Head.stages`.
    """

    pooled_width: int
    map_width: int
    outputs: int
    dropout: float
    criterion: Criterion
    options: Any
    stages: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec(Spec):
    """A head.

    Attributes:
        build: Returns the module, newly initialised, in train mode, on the CPU, in float32.
        candidates: Values of options, from which a linear probe chooses by cross-validation unless the user sets one of
            these options.
    """

    build: Callable[[HeadRequest], Head] | str
    candidates: tuple[Mapping[str, Any], ...] = ()


class Sample(NamedTuple):
    """A labelled image.

    Attributes:
        source: An image file, or its bytes.
        label: Index into `ImageSet.classes`.
        name: The name of the image in tables and messages; unique within its dataset.
    """

    source: Path | bytes
    label: int
    name: str


SPLITS = ("train", "val", "test")  # of an `ImageSet`
UNSTORED = "ImageSet:"  # begins what a record has as its data, followed by a name, if that was an `ImageSet`


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """A set of labelled images with explicit splits: what datasets load, and what Python code may pass as data.

    Attributes:
        name: A short name that is valid as a file name.
        classes: Class names, in the order of the labels.
        train: The images to train on.
        val: The images that select the best epoch; if empty, a part of `train` is split off.
        test: The images of the final evaluation; empty if the dataset has no test split.
        note: A sentence that readers of the results must know about the data, or empty.
        skipped: The names of skipped files, each with the reason: ``"a/b.txt: not an image"``.
        left_out: One line that says how many photos each reason removes, or empty if no photo was left out.
        warnings: Sentences about what may be meant otherwise: classes that lose many photos, tables that are not read.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    note: str = ""
    skipped: tuple[str, ...] = ()
    left_out: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """The argument of `DatasetSpec.load`.

    Attributes:
        cache: The folder for the downloads of the dataset; it need not exist.
        options: An instance of `DatasetSpec.options`.
        progress: A function to call during slow work.
    """

    cache: Path
    options: Any
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset.

    Attributes:
        load: Returns the images, after downloading them if necessary.
        licence: As stated by its owner; empty if unknown.
        is_local: Returns whether `load` works without a network, given the cache folder of the dataset, which need not
            exist. Takes milliseconds, because ``zoo list`` calls it for every dataset. By default, no.
    """

    load: Callable[[DatasetRequest], ImageSet] | str
    licence: str = ""
    is_local: Callable[[Path], bool] | str = _is_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRequest:
    """The argument of `FormatSpec.load`.

    Attributes:
        path: A file with one of the suffixes of the format.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, as passed by the user. Only for ``"auto"``
            may the format choose; if any other device is not available, it raises an error.
        ask: Prompts the user for a passphrase and returns it; the argument names what it is for. None without a
            terminal.
    """

    path: Path
    device: str = "auto"
    ask: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec(Spec):
    """A file format of trained classifiers, which can be opened like a run.

    Attributes:
        suffixes: The lower-case suffixes of such files, with the dot: ``(".onnx",)``.
        load: Returns a `zoo.PhotoPredictor`. Raises a `ZooError` if the file is broken, malicious or from another
            program.
    """

    suffixes: tuple[str, ...]
    load: Callable[[FormatRequest], object] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a check of the installation.

    Attributes:
        about: The subject: ``"CUDA in torch"``.
        status: ``"ok"``; ``"warning"``: it works with restrictions; ``"problem"``: something does not work.
        text: The result.
        advice: What to do about it, or empty.
    """

    about: str
    status: Literal["ok", "warning", "problem"]
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec(Spec):
    """A check of the installation, run by ``zoo doctor``.

    Attributes:
        run: Tries out what it reports on, within seconds: after `CHECK_SECONDS` nobody waits for it any longer. May
            import heavy packages; prints nothing.
    """

    run: Callable[[], list[Finding]] | str
