import subprocess
import sys
import urllib.request

import pytest
import torch
import torchvision
from torch import nn

from zoo.errors import ConfigError, WeightsError
from zoo.models.classifier import Classifier, freeze
from zoo.models.frozen_split import find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.weights import load_backbone
from zoo.plugins.calls import resolve_callable
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import BackboneRequest
from zoo.preprocess import Preprocess
from zoo_torchvision import zoo_backbones
from zoo_torchvision.anatomy import ANATOMIES
from zoo_torchvision.backbone import VisionTransformerBackbone
from zoo_torchvision.names import FAMILIES, family_of

SPECS = {spec.name: spec for spec in zoo_backbones()}

# One network for each way of taking apart: name, image size, widths of the pooled features and of the map.
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


def request(size, *, width=None, pretrained=False):
    return BackboneRequest(pretrained=pretrained, image_size=(size, width or size), options=NoOptions())


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small networks are faster so, and by far where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty torch cache, and a proxy at which nobody listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # holds the proxies of its first use
    return tmp_path


def original_network(name, size):
    """torchvision's own network with no layer left at zeros or ones, where a wrong path would not show."""
    sizes = {"vit_b_32": {"image_size": size}, "maxvit_t": {"input_size": (size, size)}}
    inception = {"transform_input": True, "init_weights": False}  # what its pretrained weights ask for
    net = torchvision.models.get_model(
        name, weights=None, **sizes.get(name, inception if name in ("googlenet", "inception_v3") else {})
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.numel() == 1 or tensor.std() == 0:
                tensor += 0.2 * torch.randn_like(tensor)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def test_the_table_of_names_is_torchvisions_own_list():
    assert sorted(SPECS) == torchvision.models.list_models(module=torchvision.models)
    assert {family.key for family in FAMILIES} == {*ANATOMIES, "vit"}


def test_offering_the_networks_imports_no_torch():
    code = "import sys, zoo_torchvision as z; assert len(z.zoo_backbones()) == 80; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize(("name", "size", "pooled_width", "map_width"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_a_backbone_gives_what_the_original_output_layer_is_given(name, size, pooled_width, map_width):
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
            output = "heads.head" if name == "vit_b_32" else ANATOMIES[family_of(name)].output
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


def small_vision_transformer(size):
    net = torchvision.models.VisionTransformer(
        image_size=size, patch_size=32, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=32
    )
    return VisionTransformerBackbone(net)


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
def test_what_frozen_stages_give_can_be_kept(name, shape):
    size = 96 if name == "vit" else 64
    backbone = small_vision_transformer(size) if name == "vit" else SPECS[name].build(request(size))
    classifier = Classifier(backbone, nn.Identity())
    freeze(classifier, int(0.6 * len(backbone.stages())))
    precision = choose_precision("fp32", torch.device("cpu"))
    frontier = find_frozen_split(classifier, image_size=(size, size), precision=precision, freeze_norm_stats=False)
    assert frontier.shapes == (shape,)


def test_the_map_of_a_vision_transformer_lies_as_the_image_does():
    backbone = small_vision_transformer(96).eval()
    image = torch.zeros(1, 3, 96, 96)
    changed = image.clone()
    changed[:, :, :32, 64:] = 1  # the patch in row 0, column 2
    patches = [backbone.net.conv_proj(i) for i in (image, changed)]
    moved = (patches[1] - patches[0]).abs().sum(1)[0]
    assert moved.nonzero().tolist() == [[0, 2]]
    # Only that token enters the encoder changed, so it must be the one that changes most.
    difference = (backbone(changed).map - backbone(image).map).norm(dim=1)[0]
    assert divmod(int(difference.argmax()), 3) == (0, 2)


def test_stages_have_the_names_of_the_field():
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


def test_a_convolutional_network_takes_images_that_are_not_square():
    backbone = SPECS["resnet18"].build(request(64, width=96))
    assert backbone.eval()(torch.zeros(1, 3, 64, 96)).map.shape == (1, 512, 2, 3)


def test_position_embeddings_are_resized_to_the_image_size():
    at_64, at_96 = (small_vision_transformer(size) for size in (64, 96))
    # Under torchvision's names and under our own.
    for state in (at_64.net.state_dict(), at_64.state_dict()):
        report = load_backbone(at_96, state, source="64 px")
        assert not report.mismatched
        assert not report.missing
    assert at_96.net.encoder.pos_embedding.shape == (1, 10, 24)
    # The class token's embedding stays, and so do the corners, which both grids have.
    old, new = at_64.net.encoder.pos_embedding, at_96.net.encoder.pos_embedding
    torch.testing.assert_close(new[:, [0, 1, 3, 7, 9]], old[:, [0, 1, 2, 3, 4]])


def test_position_embeddings_of_another_kind_are_an_error_of_the_file():
    backbone = small_vision_transformer(64)
    with pytest.raises(WeightsError, match=r"odd\.pth does not fit this backbone"):
        load_backbone(backbone, {"encoder.pos_embedding": torch.zeros(2, 7, 24)}, source="odd.pth")


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("vit_b_32", request(100), "vit_b_32 takes square images whose side is a multiple of 32 pixels, not 100 x 100"),
        ("vit_b_16", request(224, width=160), "not 224 x 160"),
        ("maxvit_t", request(128), "maxvit_t cannot take images of 128 x 128 pixels"),
        ("inception_v3", request(64), "inception_v3 cannot take images of 64 x 64 pixels"),
        ("vgg11", request(24), "vgg11 cannot take images of 24 x 24 pixels"),
    ],
)
def test_an_image_size_that_cannot_work_is_refused(name, asked, message):
    with pytest.raises(ConfigError, match=message) as caught:
        SPECS[name].build(asked)
    assert "--image-size" in caught.value.hint


def test_cards_say_what_the_weights_were_trained_with():
    card = SPECS["resnet18"].card()
    assert card.preprocess == Preprocess(size=(224, 224), resize=256)
    assert card.weights.name == "IMAGENET1K_V1"
    assert card.weights.accuracy == pytest.approx(69.758)
    assert card.weights.source.startswith("https://download.pytorch.org/models/resnet18-")
    swin = SPECS["swin_v2_t"].card().preprocess
    assert (swin.size, swin.resize, swin.interpolation) == ((256, 256), 260, "bicubic")
    assert "LICENSE" in SPECS["vit_h_14"].card().weights.licence


def test_every_network_has_a_card():
    for spec in SPECS.values():
        card = resolve_callable(spec.card)()
        assert card.preprocess.resize >= card.preprocess.size[0]
        assert card.weights.accuracy > 50


def test_pretrained_weights_that_cannot_be_had_are_never_replaced(offline):
    message = r"weights of resnet18 cannot be downloaded from download\.pytorch\.org"
    with pytest.raises(WeightsError, match=message) as e:
        SPECS["resnet18"].build(request(32, pretrained=True))
    assert "--weights FILE" in e.value.hint


def test_pretrained_weights_come_from_torchs_cache(offline):
    original = original_network("googlenet", 64)
    cached = offline / "hub/checkpoints/googlenet-1378be20.pth"
    cached.parent.mkdir(parents=True)
    torch.save(original.state_dict(), cached)  # with the auxiliary outputs, as the real file has them
    backbone = SPECS["googlenet"].build(request(64, pretrained=True))
    assert torch.equal(backbone.net.conv1.conv.weight, original.conv1.conv.weight)
    assert not any("aux" in name for name in backbone.state_dict())


def test_a_truncated_download_is_an_error_that_names_the_file(offline):
    cached = offline / "hub/checkpoints/resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"PK\x03\x04 no more came")
    with pytest.raises(WeightsError, match="weights of resnet18 are not usable") as caught:
        SPECS["resnet18"].build(request(32, pretrained=True))
    assert str(cached) in caught.value.hint


def test_files_of_before_torch_0_4_name_densenets_layers_otherwise():
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
