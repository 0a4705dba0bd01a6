"""`FinetuneConfig`: every setting of a run, typed, frozen and validated before any slow work.

The defaults are those of the recipe ``default`` (plugins/zoo_recipes). The options of the command line are generated
from these fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.config.costs import parse_costs
from zoo.config.threshold_rule import parse_threshold_rule
from zoo.config.values import NAMES_OF, OPTIONS_OF, OWNER, check_mapping, check_names, to_plain
from zoo.errors import ConfigError
from zoo.plugins.options import check_value, describe_options, option
from zoo.plugins.specs import UNSTORED, ImageSet
from zoo.preprocess import MAX_SIDE
from zoo.utils.text import short_repr

AUTO = "auto"  # as the name of the backbone
# Fields that are other spellings of an augmentation, which 0 leaves out, and of an option of it; in the order in which
# these augmentations are applied.
SPELLINGS = {
    "rotation": ("affine", "rotation"),
    "shear": ("affine", "shear"),
    "color_jitter": ("color-jitter", "strength"),
    "randaugment": ("randaugment", "magnitude"),
    "mixup": ("mixup", "alpha"),
}
Compile = Literal["auto", "yes", "no"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Cache = Literal["auto", "device", "memory", "disk", "off"]
Sampler = Literal["none", "balanced", "sqrt"]
CalibrationChoice = Literal["auto", "temperature", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """The settings of one fine-tuning run. Create it with `make_config`, which fills in the values of a recipe.

    Learning rates refer to the mean loss of a batch. The dicts `head_options` and its like have no option of their own
    on the command line; there they are given as ``--head-option name=value``.
    """

    backbone: str = option(
        AUTO,
        help="Backbone: a name from 'zoo list'; auto: the best whose pretrained weights are on this machine.",
        group="Model",
    )
    head: str = option("linear", help="Head: a name from 'zoo list'.", group="Model")
    weights: str = option(
        "pretrained",
        help="Initial weights of the backbone: pretrained, none, a file (.safetensors, .pth), a run or hf:USER/NAME.",
        group="Model",
    )
    partial_weights: bool = option(
        False,
        help="Accept a file of weights that leaves frozen layers as they were initialised; otherwise an error.",
        group="Model",
    )
    dropout: float = option(
        0.0, help="Dropout probability of the head's inputs.", minimum=0, maximum=0.95, group="Model"
    )
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)

    data: str | ImageSet = option(
        help="Dataset: a name from 'zoo list', a folder, or a CSV file of path,label.", group="Data"
    )
    data_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = option(
        None,
        help="Side length of the network's square input in pixels; none: that of the weights.",
        minimum=8,
        maximum=MAX_SIDE,
        group="Data",
    )
    eval_crop: float | None = option(
        1.0,
        help="Fraction of a photo's shorter side that the centre crop keeps in evaluation; none: that of the weights.",
        minimum=0.5,
        maximum=1,
        group="Data",
    )
    val_fraction: float = option(
        0.1,
        help="Fraction of the training split used for validation if the data has no validation split.",
        minimum=0.01,
        maximum=0.9,
        group="Data",
    )
    test_fraction: float = option(
        0.2,
        help="Fraction of the photos used for testing if the data has neither a test nor a validation split; 0: no "
        "test.",
        minimum=0,
        maximum=0.9,
        group="Data",
    )
    groups: str = option(
        AUTO,
        help="Photos that stay in one split, such as those of one patient or day: a CSV file of path,group, or a "
        "column of the table; auto: the groups of the dataset or the column 'group'; none: no groups.",
        group="Data",
    )
    fold: str | None = option(
        None,
        help="Hold out a fold as the test split, of folds that are made of the training split: 2/5 is the second of "
        "five.",
        group="Data",
    )
    limit: int | None = option(
        None,
        help="Maximum number of training photos, including those used for validation.",
        minimum=2,
        group="Data",
    )
    exclude: str | None = option(
        None, help="CSV file of photos to leave out, as written by 'zoo data check --fix'.", group="Data"
    )
    labels: str | None = option(
        None,
        help="CSV file of path,label: labels that replace those of the data, as written by 'zoo data suspects'.",
        group="Data",
    )

    recipe: str = option(
        "default",
        help="Values for all options not given: a name from 'zoo list recipes', or a TOML file.",
        group="Training",
    )
    epochs: int = option(4, help="Passes over the training split.", minimum=1, group="Training")
    patience: int | None = option(
        None,
        help="Stop after this many epochs in a row in which what --monitor names is no better than before: with auto, "
        "the validation loss not lower by more than its standard error; none: never. The recipe default: 1.",
        minimum=1,
        group="Training",
    )
    batch_size: int | Literal["auto"] = option(
        32,
        help="Images per step; auto: on a GPU, the largest batch that fits and leaves 50 steps per epoch, with the "
        "learning rate scaled to match.",
        minimum=1,
        group="Training",
    )
    optimizer: str = option(
        "adamw",
        help="Optimizer: a name from 'zoo list optimizers': adamw, sgd, lbfgs ..., and every optimizer of timm.",
        group="Training",
    )
    lr: float = option(5e-4, help="Learning rate of the backbone.", minimum=0, group="Training")
    head_lr_multiplier: float = option(
        1.0, help="Learning rate of the head, as a multiple of the backbone's.", minimum=0, group="Training"
    )
    layer_decay: float = option(
        1.0,
        help="Learning rate of each stage, as a multiple of the next stage's.",
        minimum=0.01,
        maximum=1,
        group="Training",
    )
    weight_decay: float | Literal["auto"] = option(
        AUTO,
        help="Weight decay; auto: 0.05, and 0 for lbfgs and cg. With --freeze all these take it as an L2 penalty in "
        "units of the features' variance; auto: the strength of the lowest loss in cross-validation.",
        minimum=0,
        group="Training",
    )
    decay_norms: bool = option(
        False, help="Apply weight decay to biases and normalisation layers too.", group="Training"
    )
    momentum: float = option(
        0.9, help="Momentum of optimizers that have one: sgd, rmsprop.", minimum=0, maximum=0.999, group="Training"
    )
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = option("cosine", help="Learning-rate schedule: a name from 'zoo list schedules'.", group="Training")
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    warmup: float = option(
        0.1, help="Fraction of all steps spent on learning-rate warmup.", minimum=0, maximum=0.9, group="Training"
    )
    loss: str = option(
        "cross-entropy",
        help="Loss: a name from 'zoo list losses'. With several labels per photo the default is bce.",
        group="Training",
    )
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    label_smoothing: float = option(
        0.0,
        help="Fraction of each target spread evenly over all classes; with several labels per photo, over both answers "
        "of each.",
        minimum=0,
        maximum=0.9,
        group="Training",
    )
    class_weights: str = option(
        "none",
        help="Weight of a photo in the loss, by its class: none: the same for all; balanced: all classes weigh the "
        "same; effective: large classes weigh more, but less than in proportion (Cui et al. 2019); or a CSV file of "
        "class,weight. With several labels per photo, of each label in photos that have it, compared with those that "
        "do not.",
        group="Training",
    )
    sampler: Sampler = option(
        "none",
        help="Which photos an epoch shows: none: each once; balanced: as many of each class; sqrt: in between. The "
        "length of an epoch stays the same.",
        group="Training",
    )
    logit_adjustment: float = option(
        0.0,
        help="Strength of the adjustment of logits in the loss by the logarithm of the share of each class, for "
        "predictions as if all classes were equally common (Menon et al. 2021); 0: off; 1: that of the paper.",
        minimum=0,
        maximum=10,
        group="Training",
    )
    clip_grad: float | None = option(
        None, help="Maximum gradient norm; none: no clipping.", minimum=1e-6, group="Training"
    )
    monitor: str = option(
        AUTO,
        help="What decides which epoch is the best, and with --patience when training ends: val-loss, val-accuracy, "
        "with several labels per photo val-map, or a metric from 'zoo list metrics'; auto: the validation loss where "
        "it differs by more than its standard error, otherwise the accuracy, or the mean average precision.",
        group="Training",
    )
    threshold: str = option(
        "f1",
        help="With several labels per photo, how the threshold of each label is chosen on validation photos: f1, the "
        "highest F1; precision=0.9 or recall=0.9, at least that much; or 0.5, that number for all.",
        group="Training",
    )
    cost: str | None = option(
        None,
        help="With two classes, what mistakes cost: miss=5,false-alarm=1 if missing --positive CLASS is five times as "
        "bad as taking another photo for it. Its probability then need not be the higher one; none: it must be.",
        group="Training",
    )
    positive: str | None = option(
        None, help="With --cost, the name of the class that must not be missed.", group="Training"
    )
    calibration: CalibrationChoice = option(
        AUTO,
        help="How probabilities are calibrated after training, on photos that the network has not seen: temperature "
        "(Guo et al. 2017); none; auto: whichever predicts held-out photos better.",
        group="Training",
    )
    metric: tuple[str, ...] = ()
    metric_options: Mapping[str, Any] = field(default_factory=dict)
    freeze: str = option(
        "60%",
        help="Stages to freeze, counted from the input: none, all, a number (2) or a share (50%).",
        group="Training",
    )
    views: int | None = option(
        None,
        help="Augmented views per photo, used in turn from epoch to epoch, so that frozen stages process each view "
        "only once; none: new views in every epoch.",
        minimum=1,
        group="Training",
    )
    freeze_norm_stats: bool = option(
        True, help="Keep the running statistics of batch normalisation fixed.", group="Training"
    )
    probe: bool = option(
        True,
        help="Fit the head on the features of the frozen backbone before fine-tuning (Kumar et al. 2022).",
        group="Training",
    )
    refit: bool = option(
        True,
        help="Fit the head of --freeze all, or of a probe that fine-tuning did not improve, once more on training and "
        "validation photos together.",
        group="Training",
    )
    familiarity: bool = option(
        True,
        help="Learn from the features of the training photos which photos are familiar, so that the answer for others "
        "is 'none of these'.",
        group="Training",
    )
    ema: float | None = option(
        0.95,
        help="Decay of the moving average of the weights used for evaluation; none: no average.",
        minimum=0,
        maximum=1,
        group="Training",
    )

    train_size: float = option(
        0.85,
        help="Size of the training images, as a fraction of the size in evaluation, rounded up to a multiple of 32 "
        "pixels; 1 where the network accepts no other size.",
        minimum=0.1,
        maximum=1,
        group="Augmentation",
    )
    crop_scale: float = option(
        0.6,
        help="Smallest fraction of a photo's area in a random resized crop; 1: no random crop.",
        minimum=0.01,
        maximum=1,
        group="Augmentation",
    )
    hflip: float | Literal["auto"] = option(
        AUTO,
        help="Probability of a horizontal flip; auto: 0.5, but 0 if the probe shows that mirrored photos have another "
        "meaning, as signs and letters do.",
        minimum=0,
        maximum=1,
        group="Augmentation",
    )
    vflip: float = option(0.0, help="Probability of a vertical flip.", minimum=0, maximum=1, group="Augmentation")
    rotation: float = option(
        0.0, help="Maximum rotation in degrees, in either direction.", minimum=0, maximum=180, group="Augmentation"
    )
    shear: float = option(
        0.0, help="Maximum shear in degrees, in either direction.", minimum=0, maximum=60, group="Augmentation"
    )
    color_jitter: float = option(
        0.0,
        help="Maximum relative change of brightness, contrast and saturation.",
        minimum=0,
        maximum=1,
        group="Augmentation",
    )
    randaugment: int = option(
        0,
        help="RandAugment magnitude, with two operations per image; 0: off.",
        minimum=0,
        maximum=30,
        group="Augmentation",
    )
    augment: tuple[str, ...] = ()
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    mixup: float = option(
        0.0, help="Alpha of mixup's Beta distribution; 0: off.", minimum=0, maximum=10, group="Augmentation"
    )

    precision: Precision = option(
        "auto",
        help="Numerical precision; auto: the fastest on this hardware, measured once and remembered; tf32: NVIDIA GPUs "
        "only.",
        group="Machine",
    )
    compile: Compile = option(
        "auto",
        help="Compile the training step with torch.compile; auto: on NVIDIA GPUs, for training that is long enough to "
        "benefit.",
        group="Machine",
    )
    device: str = option("auto", help="Device to use: auto, cpu, cuda, cuda:1 or mps.", group="Machine")
    devices: int = option(
        1,
        help="Number of processes that share each step: one per GPU; on a CPU they divide the cores.",
        minimum=1,
        maximum=1024,
        group="Machine",
    )
    workers: int | None = option(
        None, help="Threads that decode photos; none: one per core.", minimum=1, maximum=256, group="Machine"
    )
    cache: Cache = option(
        "auto",
        help="Where to cache decoded photos; auto: the first of device, memory and disk with enough room; "
        "off: decode in every epoch.",
        group="Machine",
    )
    cache_size: float | None = option(
        None,
        help="Memory limit in GiB for decoded photos and cached activations; none: half of the available memory.",
        minimum=0,
        group="Machine",
    )
    save_every: float | None = option(
        None,
        help="Minutes between checkpoints for --resume; none: 5, and after each epoch, at a cost of at most 1 % of the "
        "time.",
        minimum=0,
        group="Machine",
    )
    tracker: tuple[str, ...] = ()
    tracker_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = option(
        0,
        help="Random seed of the split, new weights, photo order and augmentation.",
        minimum=0,
        maximum=2**31,
        group="Machine",
    )

    def __post_init__(self) -> None:
        for info in describe_options(FinetuneConfig):
            value = to_plain(info.name, getattr(self, info.name))
            object.__setattr__(self, info.name, check_value(info, value, owner=OWNER))
        for name in OPTIONS_OF:
            object.__setattr__(self, name, check_mapping(name, getattr(self, name)))
        for name in NAMES_OF:
            object.__setattr__(self, name, check_names(name, getattr(self, name)))
        parse_threshold_rule(self.threshold, owner=OWNER)
        _check_costs(self.cost, self.positive)
        if not re.fullmatch(r"none|all|[0-9]+|([0-9]|[1-9][0-9])%", self.freeze):
            raise ConfigError(
                f"{OWNER}: option 'freeze' is {short_repr(self.freeze)}.",
                hint="Pass none, all, a number of stages or a share below 100%; 'zoo info BACKBONE' lists the stages.",
            )
        if self.fold is not None and not _is_fold(self.fold):
            raise ConfigError(
                f"{OWNER}: option 'fold' is {short_repr(self.fold)}.",
                hint="Pass the number of the fold and that of all folds, at least two: --fold 1/5.",
            )
        if self.weights == "none" and self.freeze == "all":
            raise ConfigError(
                f"{OWNER}: option 'freeze' is 'all' while option 'weights' is 'none': the features would be random.",
                hint="Use pretrained weights, or freeze fewer stages.",
            )

    def frozen_stages(self, count: int) -> int | None:
        """Returns how many of a backbone's `count` stages are frozen; None for all of them."""
        if self.freeze == "all":
            return None
        if self.freeze.endswith("%"):
            return int(count * int(self.freeze[:-1]) / 100)
        return 0 if self.freeze == "none" else int(self.freeze)

    @property
    def held_out_fold(self) -> tuple[int, int] | None:
        """The number of the fold that is held out, from 1, and that of all folds; None if there are no folds."""
        if self.fold is None:
            return None
        number, _, folds = self.fold.partition("/")
        return int(number), int(folds)

    @property
    def images_per_step(self) -> int:
        """The batch size, once it is a number.

        Raises:
            ConfigError: ``batch_size="auto"`` has not been resolved yet.
        """
        if not isinstance(self.batch_size, int):
            raise ConfigError(f"{OWNER}: option 'batch_size' is 'auto' and has not been resolved yet.")
        return self.batch_size

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON. Of an `ImageSet` only the name is kept."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if isinstance(self.data, ImageSet):
            values["data"] = f"{UNSTORED}{self.data.name}"
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
        return plain | {name: list(plain[name]) for name in NAMES_OF}


def _check_costs(cost: str | None, positive: str | None) -> None:
    if cost is not None:
        parse_costs(cost, owner=OWNER)
    if (cost is None) == (positive is None):
        return
    if cost is None:
        raise ConfigError(
            f"{OWNER}: option 'positive' is {short_repr(positive)}, but there is no 'cost'.",
            hint="Pass what mistakes cost: --cost miss=5,false-alarm=1",
        )
    raise ConfigError(
        f"{OWNER}: option 'cost' is {short_repr(cost)}, but there is no 'positive'.",
        hint="Name the class that must not be missed: --positive CLASS",
    )


def _is_fold(text: str) -> bool:
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    return found is not None and 1 <= int(found[1]) <= int(found[2]) >= 2
