"""The options of the schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.plugins.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class FallOptions:
    """The options of schedules that fall from the first step to the last.

    Attributes:
        end: The factor towards which it falls.
    """

    end: float = option(0.0, help="factor on the rate towards which it falls", minimum=0, maximum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCycleOptions:
    """The options of `one_cycle`; the defaults are those of `torch.optim.lr_scheduler.OneCycleLR`.

    Attributes:
        rise: Share of all steps in which the rate rises.
        start: The factor at the first step.
        end: The factor towards which it falls.
    """

    rise: float = option(0.3, help="share of all steps in which the rate rises", minimum=0.01, maximum=1)
    start: float = option(0.04, help="factor on the rate at the first step", minimum=0, maximum=1)
    end: float = option(4e-6, help="factor on the rate towards which it falls", minimum=0, maximum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StableOptions:
    """The options of `warmup_stable_decay`.

    Attributes:
        decay: Share of the steps in which the rate falls, the last ones.
        shape: How it falls.
        end: The factor towards which it falls.
    """

    decay: float = option(0.2, help="share of the steps in which the rate falls, the last ones", minimum=0, maximum=1)
    shape: Literal["1-sqrt", "linear", "cosine"] = option("1-sqrt", help="how it falls; 1-sqrt: fast at first")
    end: float = option(0.0, help="factor on the rate towards which it falls", minimum=0, maximum=1)
