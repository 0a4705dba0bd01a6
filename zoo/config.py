"""`FinetuneConfig`: everything that decides a run, typed, frozen, checked before anything slow begins.

The defaults are those of the recipe ``default`` (`zoo.recipes`). The command line's options are made from these fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.errors import ConfigError, did_you_mean
from zoo.plugins.losses import LossName
from zoo.plugins.options import check_value, describe_options, option

OWNER = "finetune"
SOLVERS = ("lbfgs", "cg")
_OPTIONS = ("backbone_options", "head_options", "data_options")
Schedule = Literal["constant", "cosine", "linear"]
Compile = Literal["auto", "yes", "no"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Cache = Literal["auto", "device", "memory", "disk", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """One fine-tune run. Make it with `make_config`, which lays a recipe under the values given.

    Rates are per step and belong to the mean loss of a batch. Three fields are no options of the command line's own:
    `backbone_options`, `head_options` and `data_options` are dicts, given there as ``--head-option name=value``.
    """

    backbone: str = option(help="Backbone: a name from 'zoo list'.", group="Model")
    head: str = option("linear", help="Head: a name from 'zoo list'.", group="Model")
    weights: str = option(
        "pretrained",
        help="Starting weights of the backbone: pretrained, none, a file (.safetensors, .pth), or a run.",
        group="Model",
    )
    dropout: float = option(
        0.0, help="Probability of dropping each input of the head.", minimum=0, maximum=0.95, group="Model"
    )
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)

    data: str = option(help="Dataset: a name from 'zoo list', a folder, or a CSV of path,label.", group="Data")
    data_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = option(
        None,
        help="Side of the network's square input in pixels; none: the weights' own.",
        minimum=8,
        maximum=4096,
        group="Data",
    )
    eval_crop: float | None = option(
        1.0,
        help="Share of the photo's shorter side that the centre crop of evaluation keeps; none: the weights' own.",
        minimum=0.5,
        maximum=1,
        group="Data",
    )
    val_fraction: float = option(
        0.1,
        help="Share of the training part that chooses the best epoch, where the data brings no validation part.",
        minimum=0.01,
        maximum=0.9,
        group="Data",
    )
    test_fraction: float = option(
        0.2,
        help="Share held out for the test, where the data is one folder of class folders.",
        minimum=0.01,
        maximum=0.9,
        group="Data",
    )
    limit: int | None = option(
        None,
        help="Use this many photos of the training part only, the validation share included.",
        minimum=2,
        group="Data",
    )
    exclude: str | None = option(
        None, help="List of photos to leave out, as 'zoo data check --fix' writes it.", group="Data"
    )

    recipe: str = option("default", help="Values for all that is not said: default, d2l.", group="Training")
    epochs: int = option(5, help="Passes over the training part.", minimum=1, group="Training")
    batch_size: int | Literal["auto"] = option(
        32,
        help="Images a step; auto: as many as fit into a GPU and leave 50 steps an epoch, the rate scaled to it.",
        minimum=1,
        group="Training",
    )
    optimizer: str = option(
        "adamw",
        help="sgd, adam, adamw, adagrad, adadelta, nadam, adamax, rmsprop or a name of timm's factory; "
        "with --freeze all also the full-batch solvers lbfgs and cg.",
        group="Training",
    )
    lr: float = option(1.5e-4, help="Learning rate of the backbone.", minimum=0, group="Training")
    head_lr_multiplier: float = option(
        1.0, help="The head learns at this many times the rate of the backbone.", minimum=0, group="Training"
    )
    layer_decay: float = option(
        1.0,
        help="Each stage learns at this many times the rate of the next.",
        minimum=0.01,
        maximum=1,
        group="Training",
    )
    weight_decay: float = option(
        0.05,
        help="Weight decay; for the full-batch solvers an L2 penalty, in units of the features' variance.",
        minimum=0,
        group="Training",
    )
    decay_norms: bool = option(
        False, help="Whether weight decay applies to biases and normalisation layers.", group="Training"
    )
    momentum: float = option(0.9, help="Momentum, for sgd and rmsprop.", minimum=0, maximum=0.999, group="Training")
    schedule: Schedule = option("cosine", help="How the learning rate goes from step to step.", group="Training")
    warmup: float = option(
        0.1, help="Share of all steps in which the rate climbs to its height.", minimum=0, maximum=0.9, group="Training"
    )
    loss: LossName = option("cross-entropy", help="Loss function.", group="Training")
    label_smoothing: float = option(
        0.0, help="Share of each target spread over all classes.", minimum=0, maximum=0.9, group="Training"
    )
    clip_grad: float | None = option(
        None, help="Largest norm of a step's gradient; none: unlimited.", minimum=1e-6, group="Training"
    )
    freeze: str = option(
        "60%",
        help="none; all; or how many stages, counted from the input, keep their weights: 2, or a share: 50%.",
        group="Training",
    )
    views: int | None = option(
        None,
        help="Augmented views of each photo, shown in turn from epoch to epoch: the frozen stages are then run once "
        "over each. none: every epoch draws anew.",
        minimum=1,
        group="Training",
    )
    freeze_norm_stats: bool = option(
        True, help="Whether batch normalisation keeps the running statistics of the weights.", group="Training"
    )
    probe: bool = option(
        True,
        help="Fit the head on the frozen backbone's features first (Kumar et al. 2022), then fine-tune.",
        group="Training",
    )
    ema: float | None = option(
        0.95,
        help="Decay of an average of the weights, used for evaluation; none: no average.",
        minimum=0,
        maximum=1,
        group="Training",
    )

    crop_scale: float = option(
        0.6,
        help="Random resized crop: smallest share of the photo's area; 1 for none.",
        minimum=0.01,
        maximum=1,
        group="Augmentation",
    )
    hflip: float = option(0.5, help="Probability of a horizontal flip.", minimum=0, maximum=1, group="Augmentation")
    vflip: float = option(0.0, help="Probability of a vertical flip.", minimum=0, maximum=1, group="Augmentation")
    rotation: float = option(
        0.0, help="Rotation by up to this many degrees either way.", minimum=0, maximum=180, group="Augmentation"
    )
    shear: float = option(
        0.0, help="Shear by up to this many degrees either way.", minimum=0, maximum=60, group="Augmentation"
    )
    color_jitter: float = option(
        0.0,
        help="Brightness, contrast and saturation vary by up to this share.",
        minimum=0,
        maximum=1,
        group="Augmentation",
    )
    randaugment: int = option(
        0,
        help="RandAugment: magnitude of two random operations an image; 0: none.",
        minimum=0,
        maximum=30,
        group="Augmentation",
    )
    mixup: float = option(
        0.0, help="Mixup: alpha of the Beta distribution; 0: none.", minimum=0, maximum=10, group="Augmentation"
    )

    precision: Precision = option(
        "auto",
        help="auto: the fastest, by a short measurement that is kept for the next time; tf32: on NVIDIA GPUs.",
        group="Machine",
    )
    compile: Compile = option(
        "auto",
        help="torch.compile the training step; auto: on NVIDIA GPUs, where the training is long enough to repay it.",
        group="Machine",
    )
    device: str = option("auto", help="auto, cpu, cuda, cuda:1, mps.", group="Machine")
    devices: int = option(
        1,
        help="Processes that share each step: one a GPU, or on a CPU each with its share of the cores.",
        minimum=1,
        maximum=1024,
        group="Machine",
    )
    workers: int | None = option(
        None, help="Threads that decode photos; none: one a core.", minimum=1, maximum=256, group="Machine"
    )
    cache: Cache = option(
        "auto",
        help="Where decoded photos are kept: auto takes the first of device, memory, disk that has room; "
        "off decodes them anew in every epoch.",
        group="Machine",
    )
    cache_size: float | None = option(
        None,
        help="Most memory in GiB that decoded photos, and what frozen stages make of them, may take; "
        "none: half of what is to be had.",
        minimum=0,
        group="Machine",
    )
    save_every: float | None = option(
        None,
        help="Minutes between saves of what --resume needs; none: 5, and the ends of epochs, as far as that costs less "
        "than 1 % of the time.",
        minimum=0,
        group="Machine",
    )
    seed: int = option(
        0,
        help="Decides the split, the fresh weights, the order and the augmentation.",
        minimum=0,
        maximum=2**31,
        group="Machine",
    )

    def __post_init__(self) -> None:
        for info in describe_options(FinetuneConfig):
            object.__setattr__(self, info.name, check_value(info, getattr(self, info.name), owner=OWNER))
        for name in _OPTIONS:
            object.__setattr__(self, name, _check_mapping(name, getattr(self, name)))
        if not re.fullmatch(r"none|all|[0-9]+|([0-9]|[1-9][0-9])%", self.freeze):
            raise ConfigError(
                f"{OWNER}: option 'freeze' is {self.freeze!r}.",
                hint="Write none, all, a number of stages, or a share below 100%; 'zoo info BACKBONE' lists them.",
            )
        if self.optimizer in SOLVERS and self.freeze != "all":
            raise ConfigError(
                f"{OWNER}: option 'optimizer' is {self.optimizer!r}, a full-batch solver that works on kept features.",
                hint="Add --freeze all, or choose another optimizer.",
            )
        if self.weights == "none" and self.freeze == "all":
            raise ConfigError(
                f"{OWNER}: option 'freeze' is 'all' while option 'weights' is 'none': nothing useful could be learnt.",
                hint="Start from pretrained weights, or do not freeze.",
            )

    def frozen_stages(self, known: int) -> int | None:
        """Returns how many of a backbone's `known` stages keep their weights; None for all of them."""
        if self.freeze == "all":
            return None
        if self.freeze.endswith("%"):
            return int(known * int(self.freeze[:-1]) / 100)
        return 0 if self.freeze == "none" else int(self.freeze)

    @property
    def step_images(self) -> int:
        """Images a step, once that is decided.

        Raises:
            ConfigError: It is still to be found out: ``batch_size="auto"``.
        """
        if not isinstance(self.batch_size, int):
            raise ConfigError(f"{OWNER}: option 'batch_size' is 'auto', and the machine was not asked yet.")
        return self.batch_size

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def make_config(backbone: str, *, data: str, recipe: str = "default", **values: Any) -> FinetuneConfig:
    """Returns a checked configuration: the recipe's values, with those given laid over them.

    Args:
        backbone: A name from the registry.
        data: A dataset's name, a folder or a CSV.
        recipe: A name from `zoo.recipes.RECIPES`.
        **values: Fields of `FinetuneConfig`; text is parsed as on the command line.

    Raises:
        ConfigError: An unknown field or recipe, or a value of the wrong type or out of bounds; it names the option.
    """
    from zoo.recipes import recipe_values

    if isinstance(values.get("freeze"), int) and not isinstance(values["freeze"], bool):
        values["freeze"] = str(values["freeze"])
    given = _parse_fields({"backbone": backbone, "data": data, "recipe": recipe, **values})
    return FinetuneConfig(**{**recipe_values(recipe, given), **given})


def _parse_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    infos = {info.name: info for info in describe_options(FinetuneConfig)}
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name in infos:
            parsed[name] = check_value(infos[name], value, owner=OWNER)
        elif name in _OPTIONS:
            parsed[name] = _check_mapping(name, value)
        else:
            raise ConfigError(
                f"{OWNER} has no option '{name}'.",
                hint=f"{did_you_mean(name, infos)} 'zoo finetune --help' lists all.".strip(),
            )
    return parsed


def _check_mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{OWNER}: '{name}' is {value!r}, not a dict of options.", hint=f'For example: {name}={{"name": 1}}'
        )
    return dict(value)
