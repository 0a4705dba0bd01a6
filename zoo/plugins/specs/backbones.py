"""Backbones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.specs.base import Family, Spec, is_unknown
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone


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
    is_local: Callable[[], bool] | str = is_unknown
    all_options: Callable[[Collection[str]], type[Any]] | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFamily(Family):
    """Many backbones of a plugin, whose names are resolved on demand.

    Attributes:
        local_names: Returns the names whose pretrained weights are on this machine, under the same conditions as
            `BackboneSpec.is_local`. By default, none.
    """

    local_names: Callable[[], list[str]] | str = list
