import pytest
import torch
import torchvision
from criteria import make_criterion
from random_weights import randomise_constants

from zoo.errors import ConfigError, WeightsError
from zoo.models.classifier import Classifier, freeze
from zoo.models.features import measure_stages
from zoo.models.frozen_split import find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.weights import load_backbone
from zoo.plugins.contracts import Head
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import BackboneRequest
from zoo_torchvision import zoo_backbones
from zoo_torchvision.backbone import VisionTransformerBackbone
from zoo_torchvision.names import family_of
from zoo_torchvision.structure import STRUCTURES

pytestmark = pytest.mark.usefixtures("one_thread")

SPECS = {spec.name: spec for spec in zoo_backbones()}

# One network per structure: name, image size, widths of the pooled features and of the map.
NETWORKS = [
    ("alexnet", 64, 4096, 256),
    ("convnext_tiny", 64, 768, 768),
    ("densenet121", 64, 1024, 1024),
    ("efficientnet_b0", 64, 1280, 1280),
    ("googlenet", 64, 1024, 1024),
    ("inception_v3", 80, 2048, 2048),
    ("maxvit_t", 224, 512, 512),
    ("mnasnet0_5", 64, 1280, 1280),
    ("mobilenet_v2", 64, 1280, 1280),
    ("mobilenet_v3_small", 64, 1024, 576),
    ("regnet_x_400mf", 64, 400, 400),
    ("resnet18", 64, 512, 512),
    ("shufflenet_v2_x0_5", 64, 1024, 1024),
    ("squeezenet1_1", 64, 512, 512),
    ("swin_t", 64, 768, 768),
    ("vit_b_32", 64, 768, 768),
]
LARGE = {"alexnet", "convnext_tiny", "densenet121", "inception_v3", "maxvit_t", "swin_t", "vit_b_32"}  # a second each


def request(size, *, width=None):
    return BackboneRequest(pretrained=False, image_size=(size, width or size), options=NoOptions())


def original_network(name, size):
    """Returns torchvision's own network with weights that reveal a wrong computation."""
    sizes = {"vit_b_32": {"image_size": size}, "maxvit_t": {"input_size": (size, size)}}
    inception = {"transform_input": True, "init_weights": False}  # as its pretrained weights require
    arguments = sizes.get(name, inception if name in ("googlenet", "inception_v3") else {})
    return randomise_constants(torchvision.models.get_model(name, weights=None, **arguments))


class OverPooled(Head):
    def forward(self, features):
        return features.pooled


def small_vision_transformer(size):
    net = torchvision.models.VisionTransformer(
        image_size=size, patch_size=32, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=32
    )
    return VisionTransformerBackbone(net)


@pytest.mark.parametrize(
    ("name", "size", "pooled_width", "map_width"),
    [pytest.param(*each, id=each[0], marks=[pytest.mark.slow] if each[0] in LARGE else []) for each in NETWORKS],
)
def test_pooled_features_are_the_input_of_the_original_output_layer(name, size, pooled_width, map_width):
    original = original_network(name, size)
    backbone = SPECS[name].build(request(size))
    assert backbone.training
    report = load_backbone(backbone, original.state_dict(), source="the original")
    assert not report.missing
    assert not report.mismatched

    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = backbone.eval()(images)
        expected = original(images)
        if name == "squeezenet1_1":
            logits = original.classifier(features.map).flatten(1)
            assert torch.equal(features.pooled, features.map.mean((2, 3)))
        else:
            output = "heads.head" if name == "vit_b_32" else STRUCTURES[family_of(name)].output
            logits = original.get_submodule(output)(features.pooled)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())

    assert features.pooled.shape == (2, pooled_width) == (2, backbone.pooled_width)
    assert features.map.shape[:2] == (2, map_width) == (2, backbone.map_width)
    assert features.map.shape[2] == features.map.shape[3]

    staged = [parameter for stage in backbone.stages() for parameter in stage.parameters]
    assert sorted(staged) == sorted(parameter for parameter, _ in backbone.named_parameters())
    assert backbone.stages()[0].name == "stem"
    assert len({stage.name for stage in backbone.stages()}) >= 5


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("densenet121", (512, 8, 8)),
        ("mobilenet_v3_small", (48, 4, 4)),
        ("resnet18", (128, 8, 8)),
        ("swin_t", (8, 8, 192)),
        ("vit", (10, 24)),
    ],
)
def test_the_output_of_frozen_stages_can_be_cached(name, shape):
    size = 96 if name == "vit" else 64
    backbone = small_vision_transformer(size) if name == "vit" else SPECS[name].build(request(size))
    classifier = Classifier(backbone, OverPooled(make_criterion()))
    freeze(classifier, int(0.6 * len(backbone.stages())))
    precision = choose_precision("fp32", torch.device("cpu"))
    split = find_frozen_split(classifier, image_sizes=[(size, size)], precision=precision, freeze_norm_stats=False)
    assert split.shapes == (shape,)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", {"stem": (64, 32, 48), "layer1": (64, 16, 24), "layer4": (512, 2, 3)}),
        ("densenet121", {"features.denseblock1": (256, 16, 24), "features.denseblock4": (1024, 2, 3)}),
        ("mobilenet_v3_small", {"features.3": (24, 8, 12), "features.12": (576, 2, 3)}),
        ("convnext_tiny", {"features.1": (96, 16, 24), "features.7": (768, 2, 3)}),  # followed by a normalisation
        ("swin_t", {"features.1": (96, 16, 24), "features.7": (768, 2, 3)}),  # channels last
    ],
)
def test_stages_have_maps(name, stages):
    backbone = SPECS[name].build(request(64, width=96)).eval()
    shapes = measure_stages(backbone, (64, 96))
    assert {stage: shapes[stage] for stage in stages} == stages
    backbone.tapped_stages = tuple(stages)
    with torch.no_grad():
        features = backbone.extract(torch.randn(2, 3, 64, 96))
    assert [tuple(stage.shape) for stage in features.stages] == [(2, *shape) for shape in stages.values()]
    if name in ("mobilenet_v3_small", "swin_t"):  # whose last stage returns the map
        torch.testing.assert_close(features.stages[1], features.map)


def test_a_vision_transformer_has_maps_without_the_class_token():
    backbone = small_vision_transformer(96).eval()
    shapes = measure_stages(backbone, (96, 96))
    assert dict(shapes) == dict.fromkeys(("encoder_layer_0", "encoder_layer_1", "norm"), (24, 3, 3))
    backbone.tapped_stages = ("encoder_layer_1", "norm")
    features = backbone.extract(torch.randn(2, 3, 96, 96))
    before, after = features.stages
    torch.testing.assert_close(backbone.net.encoder.ln(before.movedim(1, 3)).movedim(3, 1), features.map)
    assert torch.equal(after, features.map)


def test_the_map_of_a_vision_transformer_has_the_orientation_of_the_image():
    backbone = small_vision_transformer(96).eval()
    image = torch.zeros(1, 3, 96, 96)
    changed = image.clone()
    changed[:, :, :32, 64:] = 1  # the patch in row 0, column 2
    patches = [backbone.net.conv_proj(i) for i in (image, changed)]
    differences = (patches[1] - patches[0]).abs().sum(1)[0]
    assert differences.nonzero().tolist() == [[0, 2]]
    # The input of the encoder differs in this token only, so its output must differ most.
    difference = (backbone(changed).map - backbone(image).map).norm(dim=1)[0]
    assert divmod(int(difference.argmax()), 3) == (0, 2)


def test_stages_have_torchvisions_names():
    stages = SPECS["resnet18"].build(request(32)).stages()
    assert [stage.name for stage in stages] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert stages[0].parameters == ("net.conv1.weight", "net.bn1.weight", "net.bn1.bias")
    vit = small_vision_transformer(32).stages()
    assert vit[0].parameters == (
        "net.class_token",
        "net.conv_proj.weight",
        "net.conv_proj.bias",
        "net.encoder.pos_embedding",
    )
    assert [stage.name for stage in vit] == ["stem", "encoder_layer_0", "encoder_layer_1", "norm"]


def test_a_convolutional_network_accepts_images_that_are_not_square():
    backbone = SPECS["resnet18"].build(request(64, width=96))
    assert backbone.eval()(torch.zeros(1, 3, 64, 96)).map.shape == (1, 512, 2, 3)


def test_position_embeddings_are_resized_to_the_image_size():
    at_64, at_96 = (small_vision_transformer(size) for size in (64, 96))
    # With torchvision's names and with our own.
    for state in (at_64.net.state_dict(), at_64.state_dict()):
        report = load_backbone(at_96, state, source="64 px")
        assert not report.mismatched
        assert not report.missing
    assert at_96.net.encoder.pos_embedding.shape == (1, 10, 24)
    # The embeddings of the class token and of the corners, which both grids have, stay.
    old, new = at_64.net.encoder.pos_embedding, at_96.net.encoder.pos_embedding
    torch.testing.assert_close(new[:, [0, 1, 3, 7, 9]], old[:, [0, 1, 2, 3, 4]])


def test_position_embeddings_of_another_shape_are_an_error():
    backbone = small_vision_transformer(64)
    with pytest.raises(WeightsError, match=r"odd\.pth does not fit this backbone"):
        load_backbone(backbone, {"encoder.pos_embedding": torch.zeros(2, 7, 24)}, source="odd.pth")


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit_b_32", request(100), "vit_b_32 takes square images whose side is a multiple of 32 pixels, not 100 x 100"),
        ("vit_b_16", request(224, width=160), "not 224 x 160"),
        ("maxvit_t", request(128), "maxvit_t does not accept images of 128 x 128 pixels"),
        ("inception_v3", request(64), "inception_v3 does not accept images of 64 x 64 pixels"),
        ("vgg11", request(24), "vgg11 does not accept images of 24 x 24 pixels"),
    ],
)
def test_an_unsupported_image_size_is_an_error(name, size, message):
    with pytest.raises(ConfigError, match=message) as caught:
        SPECS[name].build(size)
    assert "--image-size" in caught.value.hint


def test_old_names_of_densenets_layers_are_converted():
    backbone = SPECS["densenet121"].build(request(32))
    old = {"features.denseblock1.denselayer1.norm.1.weight": torch.zeros(64), "classifier.weight": torch.zeros(1)}
    assert set(backbone.adapt_state_dict(old)) == {
        "net.features.denseblock1.denselayer1.norm1.weight",
        "classifier.weight",
    }


def test_a_vision_transformer_can_be_exported_with_any_batch_size():
    backbone = small_vision_transformer(64).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(backbone, (torch.randn(2, 3, 64, 64),), dynamic_shapes={"images": {0: batch}})
    images = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(program.module()(images)[0], backbone(images).pooled)
