"""The options of timm's networks."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.plugins.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmOptions:
    """What can be set when one of timm's networks is built.

    Attributes:
        drop_path: Probability with which the deepest block is skipped in training, falling linearly towards the input
            (stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382).
    """

    drop_path: float = option(
        0.0, help="Probability of skipping the deepest block in training (stochastic depth).", minimum=0, maximum=0.9
    )
