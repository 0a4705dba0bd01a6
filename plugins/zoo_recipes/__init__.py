"""The built-in recipes."""

from __future__ import annotations

import zoo
from zoo.plugins.specs import RecipeSpec

DEFAULT = RecipeSpec(
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
D2L = RecipeSpec(
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


@zoo.hookimpl
def zoo_recipes() -> list[RecipeSpec]:
    """Returns the recipes."""
    return [DEFAULT, D2L]
