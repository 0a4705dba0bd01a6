import pytest
import timm
import torch
from criteria import make_criterion
from random_weights import randomise_constants
from torch import nn

from zoo.errors import ConfigError, PluginError
from zoo.models.classifier import Classifier, freeze
from zoo.models.features import measure_stages
from zoo.models.fold_bn import fold_batch_norm
from zoo.models.frozen_split import find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.weights import load_backbone
from zoo.plugins.contracts import Head
from zoo.plugins.specs import BackboneRequest
from zoo_timm.backbone import TimmBackbone
from zoo_timm.family import resolve
from zoo_timm.options import TimmOptions

pytestmark = pytest.mark.usefixtures("one_thread")

# One small network per format of features and kind of output layer: name, (height, width), widths, grid.
NETWORKS = [
    ("test_resnet", (64, 96), 96, 96, (2, 3)),
    ("test_vit", (160, 160), 64, 64, (10, 10)),  # tokens after a class token
    ("gmlp_ti16_224", (224, 224), 128, 128, (14, 14)),  # tokens without one
    ("test_mambaout", (64, 64), 256, 64, (2, 2)),  # channels last, a hidden layer before the output
    ("mobilenetv3_small_050", (64, 64), 1024, 288, (2, 2)),  # a convolution between pooling and output
    ("efficientvit_m0", (224, 224), 192, 192, (4, 4)),  # a normalisation within the output
    ("resnetv2_18", (64, 64), 512, 512, (2, 2)),  # the output is a convolution
    ("pit_ti_224", (224, 224), 256, 256, (7, 7)),  # forward_features returns the class token only
]


def build(name, size, **options):
    request = BackboneRequest(pretrained=False, image_size=size, options=TimmOptions(**options))
    return resolve(name).build(request)


def original_network(name, **arguments):
    """Returns timm's own network with weights that reveal a wrong computation."""
    return randomise_constants(timm.create_model(name, **arguments))


class OverPooled(Head):
    def forward(self, features):
        return features.pooled


def assert_stages_cover_all_parameters(backbone):
    staged = [parameter for stage in backbone.stages() for parameter in stage.parameters]
    assert sorted(staged) == sorted(name for name, _ in backbone.named_parameters())
    assert len({stage.name for stage in backbone.stages()}) == len(backbone.stages())


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        ("test_resnet", (64, 96), ((48, 8, 12),)),
        ("test_vit", (160, 160), ((101, 64),)),
        ("test_mambaout", (64, 64), ((8, 8, 32),)),
        ("mobilenetv3_small_050", (64, 64), ((24, 4, 4),)),
        ("pit_ti_224", (224, 224), ((64, 27, 27), (1, 64))),  # map and class token take separate paths
    ],
)
def test_the_output_of_frozen_stages_can_be_cached(name, size, shapes):
    backbone = build(name, size)
    backbone.net.load_state_dict(original_network(name).state_dict(), strict=False)
    classifier = Classifier(backbone, OverPooled(make_criterion()))
    freeze(classifier, int(0.6 * len(backbone.stages())))
    precision = choose_precision("fp32", torch.device("cpu"))
    split = find_frozen_split(classifier, image_sizes=[size], precision=precision, freeze_norm_stats=False)
    assert split.shapes == shapes


@pytest.mark.parametrize(("name", "size", "pooled_width", "map_width", "grid"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_pooled_features_are_the_input_of_the_original_output_layer(name, size, pooled_width, map_width, grid):
    original = original_network(name)
    backbone = build(name, size)
    assert backbone.training
    report = load_backbone(backbone, original.state_dict(), source="the original")
    assert not report.missing
    assert not report.mismatched

    images = torch.randn(2, 3, *size)
    output = original.get_submodule(original.pretrained_cfg["classifier"])
    with torch.no_grad():
        features = backbone.eval()(images)
        expected = original(images)
        logits = output(features.pooled if isinstance(output, nn.Linear) else features.pooled[..., None, None])
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits.flatten(1), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert features.pooled.shape == (2, pooled_width) == (2, backbone.pooled_width)
    assert features.map.shape == (2, map_width, *grid) == (2, backbone.map_width, *grid)

    with torch.no_grad():
        _, (same_map,) = original.forward_intermediates(images, indices=1, norm=True)
    torch.testing.assert_close(features.map, same_map, rtol=1e-3, atol=1e-3 * same_map.abs().max().item())

    assert_stages_cover_all_parameters(backbone)
    assert backbone.stages()[0].name == "stem"


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        (
            "test_resnet",
            (64, 96),
            {
                "stem": (32, 32, 48),
                "layer1.0": (32, 16, 24),
                "layer2.0": (48, 8, 12),
                "layer3.0": (192, 4, 6),
                "layer4.0": (96, 2, 3),
            },
        ),
        ("test_vit", (128, 160), {f"blocks.{number}": (64, 8, 10) for number in range(6)}),
        (
            "test_mambaout",  # channels last
            (64, 96),
            {
                "stem": (16, 16, 24),
                "stages.0": (16, 16, 24),
                "stages.1": (32, 8, 12),
                "stages.2": (48, 4, 6),
                "stages.3": (64, 2, 3),
            },
        ),
        (
            "densenet121",  # whose stages share the module that contains them
            (64, 96),
            {
                "stem": (64, 32, 48),
                "features": (128, 8, 12),
                "features.2": (256, 4, 6),
                "features.3": (512, 2, 3),
                "features.denseblock4": (1024, 2, 3),
                "features.norm5": (1024, 2, 3),
            },
        ),
        ("pit_ti_224", (224, 224), {"patch_embed.conv": (64, 27, 27)}),  # the others return pairs
    ],
)
def test_stages_have_maps(name, size, shapes):
    backbone = build(name, size)
    assert dict(measure_stages(backbone, size)) == shapes
    assert [*shapes] == [stage.name for stage in backbone.stages() if stage.name in shapes]


@pytest.mark.parametrize(
    ("name", "size", "stages"),
    [
        ("test_resnet", (64, 96), {"layer1.0": "layer1", "layer3.0": "layer3", "layer4.0": "layer4"}),
        ("test_vit", (128, 160), {"blocks.1": "blocks.1", "blocks.5": "blocks.5"}),
        ("test_mambaout", (64, 96), {"stages.0": "stages.0", "stages.2": "stages.2"}),
        ("mobilenetv3_small_050", (64, 96), {"blocks.1": "blocks.1", "blocks.5": "blocks.5"}),
    ],
)
def test_the_maps_of_stages_are_those_that_timm_returns(name, size, stages):
    arguments = {"img_size": size} if name == "test_vit" else {}
    original, images = original_network(name, **arguments), torch.randn(2, 3, *size)
    backbone = build(name, size).eval()
    load_backbone(backbone, original.state_dict(), source="the original")
    backbone.tapped_stages = tuple(stages)
    places = [info["module"] for info in original.feature_info]
    with torch.no_grad():
        features, plain = backbone.extract(images), backbone(images)
        maps = original.forward_intermediates(
            images, indices=[places.index(place) for place in stages.values()], norm=False, intermediates_only=True
        )
        folded = fold_batch_norm(backbone, image_size=size, precision=choose_precision("fp32", torch.device("cpu")))
        folded_maps = folded.extract(images).stages
    assert torch.equal(features.pooled, plain.pooled)
    assert plain.stages == ()
    for ours, again, theirs in zip(features.stages, folded_maps, maps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())
        torch.testing.assert_close(again, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())


def test_a_distilled_network_averages_its_two_tokens():
    original = original_network("deit_tiny_distilled_patch16_224", img_size=32, depth=1)
    images = torch.randn(2, 3, 32, 32)
    backbone = TimmBackbone(original).eval()
    features = backbone(images)
    tokens = original.forward_features(images)
    torch.testing.assert_close(features.pooled, tokens[:, :2].mean(dim=1))
    torch.testing.assert_close(features.map.flatten(2).transpose(1, 2), tokens[:, 2:])
    assert not any("head" in name for name, _ in backbone.named_parameters())
    assert_stages_cover_all_parameters(backbone)


def test_stages_follow_timms_grouping():
    stages = build("resnet18", (32, 32)).stages()
    assert [stage.name for stage in stages] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert all(name.startswith("net.layer2.") for name in stages[2].parameters)
    vit = TimmBackbone(timm.create_model("test_vit")).stages()
    assert vit[0].parameters[0] == "net.cls_token"
    assert [stage.name for stage in vit[1:3]] == ["blocks.0", "blocks.1"]


def test_without_timms_grouping_each_child_is_a_stage():
    class Plain(nn.Module):
        pretrained_cfg = {"classifier": "fc"}  # noqa: RUF012
        num_classes = 2

        def __init__(self):
            super().__init__()
            self.stem, self.body, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    stages = TimmBackbone(Plain()).stages()
    assert [(stage.name, len(stage.parameters)) for stage in stages] == [("stem", 2), ("body", 2)]


def test_features_without_spatial_layout_are_an_error():
    class Branches(nn.Module):
        pretrained_cfg = {"classifier": None}  # noqa: RUF012
        num_classes = 0

        def forward_features(self, x):
            return [x, x]

    with pytest.raises(PluginError, match="Branches returns list, not one tensor"):
        TimmBackbone(Branches())(torch.zeros(1, 3, 8, 8))
    wrong = timm.create_model("test_mambaout")
    wrong.output_fmt = None
    with pytest.raises(PluginError, match="its 64 channels are in an unexpected place"):
        TimmBackbone(wrong)(torch.zeros(1, 3, 96, 64))


def test_a_vision_transformer_is_built_for_the_image_size():
    original = original_network("test_vit")  # 160 px: a grid of 10 x 10
    backbone = build("test_vit", (64, 96))
    report = load_backbone(backbone, original.state_dict(), source="160 px")
    assert not report.mismatched
    assert backbone.net.pos_embed.shape == (1, 1 + 4 * 6, 64)
    assert backbone.eval()(torch.zeros(1, 3, 64, 96)).map.shape == (1, 64, 4, 6)


def test_position_embeddings_are_resized_to_the_image_size():
    small, large = build("test_vit", (64, 64)), build("test_vit", (96, 96))
    report = load_backbone(large, {f"backbone.{k}": v for k, v in small.state_dict().items()}, source="a run")
    assert not report.mismatched
    assert not report.missing
    assert torch.equal(large.net.cls_token, small.net.cls_token)
    assert not large.net.pos_embed[:, 1:].eq(0).any()


def test_an_unsupported_image_size_is_an_error():
    with pytest.raises(ConfigError, match="halonet26t does not accept images of 64 x 64 pixels") as caught:
        build("halonet26t", (64, 64))
    assert caught.value.hint.endswith("--image-size 256.")


def test_stochastic_depth_is_an_option():
    backbone = build("test_vit", (160, 160), drop_path=0.3)
    assert backbone.net.blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)
    with pytest.raises(ConfigError, match="has no stochastic depth: option 'drop_path'"):
        build("vgg11", (32, 32), drop_path=0.3)
