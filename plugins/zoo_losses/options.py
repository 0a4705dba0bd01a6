"""The options of the losses."""

from __future__ import annotations

from dataclasses import dataclass

import zoo


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalOptions:
    """Options of the focal loss."""

    # The value that section 5.1 of the paper recommends.
    gamma: float = zoo.option(
        2.0, help="How much less weight easy photos have; 0: that of cross-entropy.", minimum=0, maximum=20
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolyOptions:
    """Options of Poly-1."""

    # That of the paper for ImageNet, section 5.1.
    epsilon: float = zoo.option(
        2.0, help="Weight of the missing probability; 0: cross-entropy.", minimum=-1, maximum=100
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsymmetricOptions:
    """Options of the asymmetric loss; the defaults are those that the paper recommends."""

    gamma_neg: float = zoo.option(
        4.0, help="How much less weight easy negatives have; 0: all the same.", minimum=0, maximum=20
    )
    gamma_pos: float = zoo.option(
        0.0, help="How much less weight easy positives have; 0: all the same.", minimum=0, maximum=20
    )
    clip: float = zoo.option(
        0.05, help="Probability below which a negative counts as right and has no weight.", minimum=0, maximum=0.9
    )
