"""Heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    from zoo.plugins.contracts import Head
    from zoo.plugins.criterion import Criterion


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
