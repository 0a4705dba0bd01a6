"""Recipes: named sets of values for `FinetuneConfig`. docs/recipes.md shows the measurements behind the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from zoo.errors import ConfigError, did_you_mean
from zoo.utils.text import short_repr

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Values that replace the defaults of `FinetuneConfig`; values given by the user take precedence.

    Attributes:
        name: As given to ``--recipe``.
        summary: One line.
        values: The values for every run.
        from_scratch: Replace some of `values` if ``weights="none"``.
        frozen: Replace some of `values` if ``freeze="all"``.
    """

    name: str
    summary: str
    values: Mapping[str, Any] = field(default_factory=dict)
    from_scratch: Mapping[str, Any] = field(default_factory=dict)
    frozen: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = Recipe(
    name="default",
    summary="Linear probing, then gentle fine-tuning of the upper stages: the best of those measured.",
    values={"patience": 1},
    from_scratch={
        "probe": False,
        "freeze": "none",
        "freeze_norm_stats": False,
        "lr": 1e-3,
        "ema": None,
        "epochs": 5,
        "patience": None,
        "train_size": 1.0,
    },
    frozen={"probe": False, "optimizer": "lbfgs", "epochs": 1},
)

# The fine-tuning section of Dive into Deep Learning, https://d2l.ai/chapter_computer-vision/fine-tuning.html.
# Its learning rate of 5e-5 is for a loss summed over a batch of 128; ours is a mean, so the rate is 128 times that.
# From scratch it uses ten times the rate, the same for all layers.
D2L = Recipe(
    name="d2l",
    summary="Dive into Deep Learning: SGD at a constant rate, ten times as high for the output layer.",
    values={
        "epochs": 5,
        "batch_size": 128,
        "optimizer": "sgd",
        "momentum": 0.0,
        "lr": 128 * 5e-5,
        "head_lr_multiplier": 10.0,
        "layer_decay": 1.0,
        "weight_decay": 1e-3,
        "decay_norms": True,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": "cross-entropy",
        "label_smoothing": 0.0,
        "clip_grad": None,
        "dropout": 0.0,
        "freeze": "none",
        "freeze_norm_stats": False,
        "probe": False,
        "ema": None,
        "train_size": 1.0,
        "crop_scale": 0.08,
        "eval_crop": None,
        "hflip": 0.5,
        "vflip": 0.5,
        "rotation": 0.0,
        "shear": 0.0,
        "color_jitter": 0.0,
        "randaugment": 0,
        "mixup": 0.0,
    },
    from_scratch={"lr": 128 * 5e-4, "head_lr_multiplier": 1.0},
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (DEFAULT, D2L)})


def recipe_values(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a recipe for a run with the settings `given`.

    Raises:
        ConfigError: There is no recipe of that name.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise ConfigError(
            f"finetune: option 'recipe' is {short_repr(name)}; there is no such recipe.",
            hint=f"{did_you_mean(name, RECIPES)} Recipes: {', '.join(RECIPES)}.".strip(),
        )
    from_scratch = recipe.from_scratch if given.get("weights") == "none" else _EMPTY
    frozen = recipe.frozen if given.get("freeze") == "all" else _EMPTY
    return {**recipe.values, **from_scratch, **frozen}
