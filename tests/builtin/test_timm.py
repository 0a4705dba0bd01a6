import json
import subprocess
import sys
import time
import urllib.request

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from zoo.errors import ConfigError, PluginError, WeightsError
from zoo.models.classifier import Classifier, freeze
from zoo.models.frozen_split import find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.weights import load_backbone
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import BackboneRequest
from zoo.preprocess import Preprocess
from zoo_timm import resolve, zoo_backbones
from zoo_timm.backbone import TimmBackbone
from zoo_timm.names import names
from zoo_timm.options import TimmOptions
from zoo_timm.pretrained import card

# One small network for each format of features and each kind of ending: name, (height, width), widths, grid.
NETWORKS = [
    ("test_resnet", (64, 96), 96, 96, (2, 3)),
    ("test_vit", (160, 160), 64, 64, (10, 10)),  # tokens behind a class token
    ("gmlp_ti16_224", (224, 224), 128, 128, (14, 14)),  # tokens without one
    ("test_mambaout", (64, 64), 256, 64, (2, 2)),  # channels last, a hidden layer before the output
    ("mobilenetv3_small_050", (64, 64), 1024, 288, (2, 2)),  # a convolution between pooling and output
    ("efficientvit_m0", (224, 224), 192, 192, (4, 4)),  # a normalisation within the output
    ("resnetv2_18", (64, 64), 512, 512, (2, 2)),  # the output is a convolution
    ("pit_ti_224", (224, 224), 256, 256, (7, 7)),  # forward_features gives the class token alone
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small networks are faster so, and by far where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def zoo_home(tmp_path_factory):
    """One cache of names for the module, outside the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub cache, and a proxy at which nobody listens."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # holds the proxies of its first use
    return tmp_path


def request(height, width, *, pretrained=False, **options):
    return BackboneRequest(pretrained=pretrained, image_size=(height, width), options=TimmOptions(**options))


def build(name, size, **options):
    spec = resolve(name)
    assert spec is not None
    return resolve_callable(spec.build)(request(*size, **options))


def original_network(name, **arguments):
    """timm's own network with no layer left at zeros or ones, where a wrong path would not show."""
    net = timm.create_model(name, **arguments)
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.numel() == 1 or tensor.std() == 0:
                tensor += 0.2 * torch.randn_like(tensor)
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def put_into_hub_cache(hub, repository, file, content):
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    (snapshot / file).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        ("test_resnet", (64, 96), ((48, 8, 12),)),
        ("test_vit", (160, 160), ((101, 64),)),
        ("test_mambaout", (64, 64), ((8, 8, 32),)),
        ("mobilenetv3_small_050", (64, 64), ((24, 4, 4),)),
        ("pit_ti_224", (224, 224), ((64, 27, 27), (1, 64))),  # the map and the class token go separate ways
    ],
)
def test_what_frozen_stages_give_can_be_kept(name, size, shapes):
    backbone = build(name, size)
    backbone.net.load_state_dict(original_network(name).state_dict(), strict=False)
    classifier = Classifier(backbone, nn.Identity())
    freeze(classifier, int(0.6 * len(backbone.stages())))
    precision = choose_precision("fp32", torch.device("cpu"))
    frontier = find_frozen_split(classifier, image_size=size, precision=precision, freeze_norm_stats=False)
    assert frontier.shapes == shapes


def assert_stages_cover(backbone):
    staged = [parameter for stage in backbone.stages() for parameter in stage.parameters]
    assert sorted(staged) == sorted(name for name, _ in backbone.named_parameters())
    assert len({stage.name for stage in backbone.stages()}) == len(backbone.stages())


@pytest.mark.parametrize(("name", "size", "pooled_width", "map_width", "grid"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_a_backbone_gives_what_the_original_output_layer_is_given(name, size, pooled_width, map_width, grid):
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

    assert_stages_cover(backbone)
    assert backbone.stages()[0].name == "stem"


def test_a_distilled_network_gives_the_mean_of_its_two_tokens():
    original = original_network("deit_tiny_distilled_patch16_224", img_size=32, depth=1)
    images = torch.randn(2, 3, 32, 32)
    backbone = TimmBackbone(original).eval()
    features = backbone(images)
    tokens = original.forward_features(images)
    torch.testing.assert_close(features.pooled, tokens[:, :2].mean(dim=1))
    torch.testing.assert_close(features.map.flatten(2).transpose(1, 2), tokens[:, 2:])
    assert not any("head" in name for name, _ in backbone.named_parameters())
    assert_stages_cover(backbone)


def test_stages_follow_timms_grouping():
    stages = build("resnet18", (32, 32)).stages()
    assert [stage.name for stage in stages] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert all(name.startswith("net.layer2.") for name in stages[2].parameters)
    vit = TimmBackbone(timm.create_model("test_vit")).stages()
    assert vit[0].parameters[0] == "net.cls_token"
    assert [stage.name for stage in vit[1:3]] == ["blocks.0", "blocks.1"]


def test_a_network_that_timm_does_not_group_has_a_stage_for_each_child():
    class Plain(nn.Module):
        pretrained_cfg = {"classifier": "fc"}  # noqa: RUF012
        num_classes = 2

        def __init__(self):
            super().__init__()
            self.stem, self.body, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    stages = TimmBackbone(Plain()).stages()
    assert [(stage.name, len(stage.parameters)) for stage in stages] == [("stem", 2), ("body", 2)]


def test_features_that_are_no_map_are_refused():
    class Branches(nn.Module):
        pretrained_cfg = {"classifier": None}  # noqa: RUF012
        num_classes = 0

        def forward_features(self, x):
            return [x, x]

    with pytest.raises(PluginError, match="Branches gives list, not one tensor"):
        TimmBackbone(Branches())(torch.zeros(1, 3, 8, 8))
    wrong = timm.create_model("test_mambaout")
    wrong.output_fmt = None
    with pytest.raises(PluginError, match="its 64 channels are not where they should be"):
        TimmBackbone(wrong)(torch.zeros(1, 3, 96, 64))


def test_a_vision_transformer_is_built_for_the_image_size():
    original = original_network("test_vit")  # 160 px: a grid of 10 x 10
    backbone = build("test_vit", (64, 96))
    report = load_backbone(backbone, original.state_dict(), source="160 px")
    assert not report.mismatched
    assert backbone.net.pos_embed.shape == (1, 1 + 4 * 6, 64)
    assert backbone.eval()(torch.zeros(1, 3, 64, 96)).map.shape == (1, 64, 4, 6)


def test_position_embeddings_of_a_run_at_another_size_are_resized():
    small, large = build("test_vit", (64, 64)), build("test_vit", (96, 96))
    report = load_backbone(large, {f"backbone.{k}": v for k, v in small.state_dict().items()}, source="a run")
    assert not report.mismatched
    assert not report.missing
    assert torch.equal(large.net.cls_token, small.net.cls_token)
    assert not large.net.pos_embed[:, 1:].eq(0).any()


def test_an_image_size_that_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="halonet26t cannot take images of 64 x 64 pixels") as caught:
        build("halonet26t", (64, 64))
    assert caught.value.hint.endswith("--image-size 256.")


def test_stochastic_depth_is_an_option():
    backbone = build("test_vit", (160, 160), drop_path=0.3)
    assert backbone.net.blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)
    with pytest.raises(ConfigError, match="has no stochastic depth: option 'drop_path'"):
        build("vgg11", (32, 32), drop_path=0.3)


def test_the_family_knows_names_with_and_without_tags():
    (family,) = zoo_backbones()
    known = family.names()
    assert {"resnet50d", "resnet18", "resnet18.a1_in1k"} < set(known)
    assert len(known) == len(set(known)) > 1300
    assert family.resolve("resnet18.nobody") is None
    assert family.resolve("resnet18.a1_in1k").options is TimmOptions


def test_names_are_kept_for_this_version_of_timm_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    known = names()
    cache = tmp_path / "timm-names.json"
    assert json.loads(cache.read_text()) == {"timm": timm.__version__, "names": known}
    assert [file.name for file in tmp_path.iterdir()] == ["timm-names.json"]
    for stale in ('{"timm": "0.1", "names": ["old"]}', "{half a f", "[]"):
        cache.write_text(stale)
        assert names() == known


def test_a_home_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    assert "resnet18" in names()


def test_names_in_the_cache_are_resolved_without_importing_timm():
    names()
    code = (
        "import sys, zoo_timm; print(zoo_timm.resolve('resnet18').name, 'timm' in sys.modules, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["resnet18", "False", "False"]


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("resnet18.a1_in1k", Preprocess(size=(224, 224), resize=235, interpolation="bicubic")),
        ("resnet18.tv_in1k", Preprocess(size=(224, 224), resize=256, interpolation="bilinear")),
        (
            "vit_base_patch16_siglip_224.webli",
            Preprocess(
                size=(224, 224),
                resize=248,
                interpolation="bicubic",
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
        ),
    ],
)
def test_cards_say_what_the_weights_were_trained_with(name, preprocess):
    assert resolve(name).card().preprocess == preprocess


def test_cards_name_the_weights_and_their_licence():
    weights = resolve("resnet18").card().weights  # without a tag: timm's default weights
    assert weights.name == "a1_in1k"
    assert weights.source.endswith("/timm/resnet18.a1_in1k")
    assert weights.licence == "apache-2.0"
    assert resolve("nest_small").card().weights is None
    assert resolve("convnextv2_huge.fcmae_ft_in22k_in1k_384").card().preprocess.resize_mode == "squash"


def test_every_name_has_a_card():
    for name in names():
        preprocess = card(name).preprocess
        assert preprocess.resize >= min(preprocess.size)
        assert len(preprocess.mean) == len(preprocess.std) == 3


def test_pretrained_weights_that_cannot_be_had_are_reported_at_once(hub, monkeypatch):
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"weights of test_resnet cannot be downloaded from") as caught:
        resolve("test_resnet").build(request(64, 64, pretrained=True))
    assert "--weights FILE" in caught.value.hint
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        resolve("test_resnet").build(request(64, 64, pretrained=True))
    assert time.monotonic() - started < 5


def test_a_network_without_pretrained_weights_says_so():
    with pytest.raises(WeightsError, match="timm has no pretrained weights for nest_small"):
        resolve("nest_small").build(request(224, 224, pretrained=True))


def test_cached_pretrained_weights_load_without_network_at_any_size(hub):
    original = original_network("test_vit")
    content = safetensors.torch.save(original.state_dict())
    put_into_hub_cache(hub, "timm/test_vit.r160_in1k", "model.safetensors", content)
    backbone = resolve("test_vit").build(request(64, 64, pretrained=True))
    assert torch.equal(backbone.net.blocks[0].attn.qkv.weight, original.blocks[0].attn.qkv.weight)
    assert backbone.net.pos_embed.shape[1] == 1 + 4 * 4


def test_cached_weights_that_are_damaged_or_foreign_are_errors(hub):
    put_into_hub_cache(hub, "timm/test_resnet.r160_in1k", "model.safetensors", b"\x40" + bytes(7) + b"{")
    put_into_hub_cache(
        hub, "timm/test_vit.r160_in1k", "model.safetensors", safetensors.torch.save({"a": torch.zeros(1)})
    )
    for name, size in (("test_resnet", 64), ("test_vit", 160)):
        with pytest.raises(WeightsError, match=f"weights of {name} cannot be loaded"):
            resolve(name).build(request(size, size, pretrained=True))


def test_a_pickle_in_the_hub_cache_runs_no_code(hub):
    put_into_hub_cache(hub, "timm/test_resnet.r160_in1k", "pytorch_model.bin", b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin"):
        resolve("test_resnet").build(request(64, 64, pretrained=True))
