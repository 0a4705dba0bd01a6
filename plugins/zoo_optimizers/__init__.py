"""The built-in optimizers. Importing it imports no torch; those of timm are in zoo_timm."""

from __future__ import annotations

import zoo
from zoo_optimizers import options


@zoo.hookimpl
def zoo_optimizers() -> list[zoo.OptimizerSpec]:
    """Returns the optimizers of torch, two with a line search, and two that need no schedule."""
    return [*_torch_optimizers(), *_searching_optimizers(), *_schedule_free_optimizers()]


def _torch_optimizers() -> list[zoo.OptimizerSpec]:
    known = {
        "adamw": ("Adam with decoupled weight decay.", options.AdamOptions),
        "adam": ("Adaptive moments.", options.AdamOptions),
        "sgd": ("Stochastic gradient descent, with momentum.", options.SgdOptions),
        "adagrad": ("Divides by the root of all squared gradients so far.", options.AdagradOptions),
        "adadelta": ("Adagrad with a window, and steps in the units of the weights.", options.AdadeltaOptions),
        "nadam": ("Adam with Nesterov momentum.", options.NadamOptions),
        "adamax": ("Adam with the infinity norm.", options.AdamaxOptions),
        "rmsprop": ("Divides by the root of the mean squared gradient.", options.RmspropOptions),
    }
    return [
        zoo.OptimizerSpec(
            name=name,
            summary=summary,
            build=f"zoo_optimizers.torch_optimizers:{name}",
            options=kind,
            rate_growth="linear" if name == "sgd" else "sqrt",
        )
        for name, (summary, kind) in known.items()
    ]


def _searching_optimizers() -> list[zoo.OptimizerSpec]:
    return [
        zoo.OptimizerSpec(
            name="lbfgs",
            summary="L-BFGS with a line search, on all training photos or on large batches.",
            build="zoo_optimizers.line_search:build_lbfgs",
            options=options.LbfgsOptions,
            closure=True,
            full_batch=True,
            rate_growth="none",
            auto_weight_decay=0.0,
            head_solver="lbfgs",
        ),
        zoo.OptimizerSpec(
            name="cg",
            summary="Nonlinear conjugate gradients with a line search, on all training photos or on large batches.",
            build="zoo_optimizers.line_search:build_cg",
            options=options.SearchOptions,
            closure=True,
            full_batch=True,
            rate_growth="none",
            auto_weight_decay=0.0,
            head_solver="cg",
        ),
    ]


def _schedule_free_optimizers() -> list[zoo.OptimizerSpec]:
    return [
        zoo.OptimizerSpec(
            name="schedule-free-adamw",
            summary="AdamW that averages the weights in place of a schedule; for --schedule constant.",
            build="zoo_optimizers.schedule_free:build_adamw",
            options=options.ScheduleFreeAdamwOptions,
            averages=True,
        ),
        zoo.OptimizerSpec(
            name="schedule-free-sgd",
            summary="SGD that averages the weights in place of a schedule; for --schedule constant.",
            build="zoo_optimizers.schedule_free:build_sgd",
            options=options.ScheduleFreeSgdOptions,
            averages=True,
            rate_growth="linear",
        ),
    ]
