"""The options of the optimizers. Learning rate, weight decay and momentum are options of every training."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.plugins.options import option

_EPS_HELP = "added to the denominator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SgdOptions:
    """The options of SGD."""

    nesterov: bool = option(False, help="Nesterov momentum, where the momentum is not 0")
    dampening: float = option(0.0, help="dampening of the momentum", minimum=0, maximum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamaxOptions:
    """The options of Adamax, and of others like Adam."""

    beta1: float = option(0.9, help="decay of the average of gradients", minimum=0, maximum=0.9999)
    beta2: float = option(0.999, help="decay of the average of squared gradients", minimum=0, maximum=0.999999)
    eps: float = option(1e-8, help=_EPS_HELP, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamOptions(AdamaxOptions):
    """The options of Adam and AdamW."""

    amsgrad: bool = option(False, help="divide by the largest average of squared gradients so far (AMSGrad)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NadamOptions(AdamaxOptions):
    """The options of NAdam."""

    momentum_decay: float = option(4e-3, help="decay of the momentum", minimum=0)
    decoupled_weight_decay: bool = option(False, help="decay weights as AdamW does")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdagradOptions:
    """The options of Adagrad."""

    lr_decay: float = option(0.0, help="decay of the learning rate with each step", minimum=0)
    initial_accumulator: float = option(0.0, help="first value of the sums of squared gradients", minimum=0)
    eps: float = option(1e-10, help=_EPS_HELP, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdadeltaOptions:
    """The options of Adadelta."""

    rho: float = option(0.9, help="decay of the average of squared gradients", minimum=0, maximum=1)
    eps: float = option(1e-6, help=_EPS_HELP, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RmspropOptions:
    """The options of RMSprop."""

    alpha: float = option(0.99, help="decay of the average of squared gradients", minimum=0, maximum=1)
    eps: float = option(1e-8, help=_EPS_HELP, minimum=0)
    centered: bool = option(False, help="divide by the standard deviation of gradients")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The options of optimizers with a line search."""

    full_batch: bool = option(True, help="each step takes all training photos, in place of a batch")
    iterations: int = option(5, help="directions that a step searches along", minimum=1)
    evaluations: int = option(20, help="most evaluations of loss and gradient in a step", minimum=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LbfgsOptions(SearchOptions):
    """The options of L-BFGS."""

    history: int = option(10, help="changes of the gradient that estimate the curvature", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFreeSgdOptions:
    """The options of schedule-free SGD; the momentum is that of the training."""

    power: float = option(0.0, help="a step weighs as much as its number to this power in the average", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFreeAdamwOptions(ScheduleFreeSgdOptions):
    """The options of schedule-free AdamW."""

    beta1: float = option(0.9, help="share of the average in the weights to train", minimum=0, maximum=0.9999)
    beta2: float = option(0.999, help="decay of the average of squared gradients", minimum=0, maximum=0.999999)
    eps: float = option(1e-8, help=_EPS_HELP, minimum=0)
