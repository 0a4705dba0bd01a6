import json

import numpy as np
import pytest
import timm
import torch
from timm.layers import Conv2dSame

from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.inference.run_predictor import load
from zoo.models.offers import find_offers, find_options
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.options import describe_options
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import BackboneRequest
from zoo.testing import check_backbone
from zoo.training.finetune import finetune
from zoo_timm.arguments import all_options

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "timm/test_efficientnet"


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def build(registry, name=NAME, **options):
    offers = find_offers(make_config(name, data="d", backbone_options=options), registry)
    request = BackboneRequest(pretrained=False, image_size=(32, 32), options=offers.backbone_options)
    return offers.backbone.spec.build(request)


def option_names(registry, name):
    return {info.name for info in describe_options(find_options(registry.find(BACKBONE, name)))}


def test_the_arguments_of_a_network_are_options(registry):
    assert {"drop_path", "pad_type", "act_layer", "output_stride"} <= option_names(registry, NAME)
    assert {"qk_norm", "reg_tokens", "init_values"} <= option_names(registry, "timm/test_vit")
    assert "stem_type" in option_names(registry, "timm/test_byobnet")  # of its configuration
    assert "depth" not in option_names(registry, "timm/test_efficientnet")
    for name in (NAME, "timm/test_vit", "timm/test_byobnet"):
        assert not {"num_classes", "global_pool", "features_only", "in_chans", "drop_rate"} & option_names(
            registry, name
        )


def test_networks_whose_function_names_no_class_have_options_too(registry):
    assert {"drop_path", "head_dim"} <= option_names(registry, "timm/efficientvit_b0")


@pytest.mark.slow
def test_every_network_has_options():
    for name in timm.list_models():
        assert describe_options(all_options(name, ()))


def test_an_argument_is_passed_to_timm(registry):
    backbone = build(registry, **{"pad-type": "same", "act_layer": "gelu"})
    original = timm.create_model("test_efficientnet", pad_type="same", act_layer="gelu").eval()
    assert isinstance(backbone.net.conv_stem, Conv2dSame)
    assert not isinstance(build(registry).net.conv_stem, Conv2dSame)
    state = {name: value for name, value in original.state_dict().items() if not name.startswith("classifier")}
    backbone.net.load_state_dict(state)
    images = torch.randn(2, 3, 33, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            backbone.eval()(images).pooled, original.forward_head(original.forward_features(images), pre_logits=True)
        )


def test_a_network_with_arguments_meets_its_contract(registry):
    spec = registry.find(BACKBONE, NAME).spec
    check_backbone(spec, size=(32, 32), options={"pad_type": "same", "output_stride": "16"})


@pytest.mark.parametrize(
    ("options", "message", "advice"),
    [
        ({"num_classes": "5"}, "does not take timm's argument 'num_classes'", "The head computes the outputs"),
        ({"global_pool": "max"}, "does not take timm's argument 'global_pool'", "--head-option pooling"),
        ({"features_only": "true"}, "does not take timm's argument 'features_only'", "pooled features and a map"),
        ({"in-chans": "1"}, "does not take timm's argument 'in_chans'", "three channels"),
        ({"img_size": "64"}, "does not take timm's argument 'img_size'", "--image-size"),
        ({"drop_rate": "0.1"}, "does not take timm's argument 'drop_rate'", "--dropout"),
        ({"pretrained": "true"}, "does not take timm's argument 'pretrained'", "--weights"),
        ({"pad_typ": "same"}, "has no option 'pad_typ'", "Did you mean pad_type?"),
        ({"pad_type": "sam"}, "option 'pad_type' is 'sam'", "Did you mean same?"),
        ({"output_stride": "half"}, "option 'output_stride' is 'half', not a whole number", "argument of timm's"),
        ({"output_stride": 7}, "option 'output_stride' is 7", "8 | 16 | 32"),
        ({"stem_size": -1}, "timm cannot build test_efficientnet with stem_size=-1", "zoo info timm/"),
        ({"act_layer": "nothing"}, "timm cannot build test_efficientnet with act_layer=nothing", "zoo info timm/"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_with_advice(registry, options, message, advice):
    with pytest.raises(ConfigError, match=message) as caught:
        build(registry, **options)
    assert advice in caught.value.hint


def test_the_advice_names_the_arguments_if_the_network_does_not_run(registry):
    with pytest.raises(ConfigError) as caught:
        build(registry, "timm/test_vit", dynamic_img_size=True, class_token=False)
    assert "class_token=False" in str(caught.value)


def test_arguments_are_recorded_and_the_run_is_rebuilt_and_converted_with_them(tmp_path):
    run = finetune(
        NAME,
        data="hotdog-cartoon",
        data_options={"images": 10, "size": 40},
        weights=None,
        image_size=33,
        epochs=1,
        backbone_options={"pad_type": "same"},
        runs=tmp_path / "runs",
        pictures=False,
    )
    assert run.config["backbone_options"] == {"pad_type": "same"}
    predictor = load(run)
    assert isinstance(predictor.classifier.backbone.net.conv_stem, Conv2dSame)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 33, 33, 3), dtype=np.uint8)
    cached = load(run, engine="onnxruntime")
    np.testing.assert_allclose(cached.probabilities(list(pixels)), predictor.probabilities(list(pixels)), atol=1e-4)
    folder = run.export(tmp_path / "timm", to="timm")  # which compares the logits
    assert json.loads((folder / "config.json").read_text())["model_args"] == {"pad_type": "same"}
