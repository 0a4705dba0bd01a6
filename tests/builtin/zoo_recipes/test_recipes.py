import dataclasses

import pytest

import zoo_recipes
from zoo.config import FinetuneConfig, make_config
from zoo.testing import check_plugin


def test_d2l_has_the_values_of_the_book():
    config = make_config("resnet18", data="hotdog", recipe="d2l")
    assert (config.optimizer, config.momentum, config.weight_decay, config.decay_norms) == ("sgd", 0.0, 0.001, True)
    assert (config.batch_size, config.epochs) == (128, 5)
    assert config.lr == pytest.approx(6.4e-3)  # 5e-5, of a loss that is summed over 128
    assert (config.head_lr_multiplier, config.layer_decay) == (10.0, 1.0)
    assert (config.schedule, config.warmup) == ("constant", 0.0)
    assert (config.crop_scale, config.hflip, config.vflip) == (0.08, 0.5, 0.5)  # torchvision's defaults, and both flips
    assert (config.rotation, config.shear, config.color_jitter, config.randaugment, config.mixup) == (0, 0, 0, 0, 0)
    assert (config.loss, config.label_smoothing, config.dropout) == ("cross-entropy", 0.0, 0.0)
    assert (config.probe, config.freeze, config.freeze_norm_stats) == (False, "none", False)
    assert (config.clip_grad, config.ema) == (None, None)
    assert config.weights == "pretrained"


def test_d2l_from_scratch_has_ten_times_the_rate_for_all_layers():
    config = make_config("resnet18", data="hotdog", recipe="d2l", weights="none")
    assert config.lr == pytest.approx(6.4e-2)
    assert config.head_lr_multiplier == 1.0
    pretrained = make_config("resnet18", data="hotdog", recipe="d2l")
    same = {"weights": "pretrained", "lr": pretrained.lr, "head_lr_multiplier": 10.0}
    assert dataclasses.replace(config, **same) == pretrained


def test_the_default_recipe_equals_the_defaults_of_the_configuration_except_that_it_stops_early():
    config = make_config("resnet18", data="hotdog")
    assert config == FinetuneConfig(backbone="resnet18", data="hotdog", patience=1)
    assert config.recipe == "default"


def test_a_frozen_backbone_uses_a_full_batch_solver():
    config = make_config("resnet18", data="hotdog", freeze="all")
    assert config.optimizer == "lbfgs"
    assert not config.probe
    assert make_config("resnet18", data="hotdog", freeze="all", optimizer="adamw").optimizer == "adamw"


def test_training_from_scratch_skips_the_probe_and_learns_the_statistics():
    config = make_config("resnet18", data="hotdog", weights="none")
    assert not config.probe
    assert not config.freeze_norm_stats
    assert config.head_lr_multiplier == 1.0


@pytest.mark.parametrize("recipe", zoo_recipes.zoo_recipes(), ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("values", [{}, {"weights": "none"}, {"freeze": "all"}, {"freeze": "1"}])
def test_every_recipe_makes_a_valid_configuration(recipe, values):
    assert make_config("resnet18", data="hotdog", recipe=recipe.name, **values).recipe == recipe.name


def test_the_recipes_keep_the_contract():
    check_plugin("zoo_recipes")
