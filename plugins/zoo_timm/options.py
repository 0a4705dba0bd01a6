"""The options of timm's networks, which other plugins that build timm's networks share."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.plugins.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmOptions:
    """The options of timm's networks.

    Attributes:
        drop_path: Probability of skipping the deepest block in training, decreasing linearly towards the input
            (stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382).
    """

    drop_path: float = option(
        0.0, help="probability of skipping the deepest block in training (stochastic depth)", minimum=0, maximum=0.9
    )
