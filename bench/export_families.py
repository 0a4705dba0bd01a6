"""Exports one small network of every backbone family with every built-in head, and compares file and network.

Weights are random, and so are those that start at zero or all alike (layer scale, last batch normalisation): otherwise
whole branches would add nothing, and the comparison would say little. In a network that such weights make chaotic, so
that float32 says nothing at all, those that start at zero become small. Compared are logits at batch 1, 2 and 7 on the
CPU, on smooth random images; a difference is a share of the logits' standard deviation, as in `zoo export`.
Seconds are of processor time.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import _project
from _bench import make_parser, report
from zoo.plugins.calls import resolve_callable
from zoo.plugins.kinds import BACKBONE, HEAD

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.plugins.contracts import Backbone
    from zoo.plugins.registry import Registry

NAME = "export_families"
HEADS = ("linear", "mlp", "cosine", "attention")
TORCHVISION = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_32",
    "wide_resnet50_2",
]
TIMM = [
    "resnet18",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_atto",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "efficientnet_lite0",
    "tf_efficientnetv2_b0",
    "regnety_002",
    "mixer_s32_224",
    "levit_128s",
    "poolformer_s12",
    "edgenext_xx_small",
    "xcit_nano_12_p16_224",
    "coat_lite_tiny",
    "maxvit_rmlp_pico_rw_256",
    "beit_base_patch16_224",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
    "ghostnet_050",
    "mobilevit_xxs",
    "nfnet_f0",
    "repvgg_a0",
    "res2net50_26w_4s",
    "tiny_vit_5m_224",
]
BACKBONES = [*(f"torchvision/{name}" for name in TORCHVISION), *(f"timm/{name}" for name in TIMM)]
QUICK = ["torchvision/squeezenet1_1"]
BRANCHES = (1, 0.3, 0.1, 0.03)
CALM = 1e-3  # share of the features' standard deviation; for a millionth at the input
_CLASSES = 5


def build(name: str, registry: Registry) -> tuple[Backbone, tuple[int, int]]:
    """Returns a backbone with random weights, none of them idle, and its input size."""
    import torch

    from zoo.models.build import build_backbone

    offer = registry.find(BACKBONE, name)
    size = resolve_callable(offer.spec.card)().preprocess.size
    for branches in BRANCHES:
        torch.manual_seed(0)
        backbone = build_backbone(offer, pretrained=False, image_size=size, options=offer.spec.options())
        awaken(backbone, images(4, size), branches)
        if is_calm(backbone.eval(), images(7, size)):
            break
    return backbone, size


def is_calm(backbone: Backbone, batch: Tensor) -> bool:
    """Returns whether an input that is a millionth off gives all but the same features."""
    import torch

    with torch.no_grad():
        features, others = backbone(batch).pooled, backbone(batch * (1 + 1e-6)).pooled
    return bool((features - others).abs().max() < CALM * features.std())


def awaken(backbone: nn.Module, batch: Tensor, branches: float) -> None:
    """Gives every tensor of equal values random ones, and batch normalisations the statistics of a batch.

    Args:
        backbone: Is changed.
        batch: Images.
        branches: The largest weight where all were zero, at the end of a branch.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            first = float(parameter.flatten()[0])
            if parameter.numel() > 1 and bool((parameter == first).all()):
                if name.endswith("bias"):
                    parameter.normal_(0, 0.1)
                else:
                    parameter.uniform_(0.5, 1).mul_(1 if first else branches)
        norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
        backbone.train()(batch)


def images(count: int, size: tuple[int, int]) -> Tensor:
    """Returns normalised images of smooth noise, float32 ``(count, 3, *size)``."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(count)
    return F.interpolate(torch.randn(count, 3, 9, 9, generator=generator), size, mode="bicubic")


def export_one(backbone: Backbone, head: str, size: tuple[int, int], registry: Registry, opset: int) -> dict[str, Any]:
    """Exports a backbone with a head; returns its size, its seconds and its largest difference."""
    import numpy as np
    import torch

    from zoo.models.build import build_head
    from zoo.models.classifier import Classifier
    from zoo.plugins.losses import Criterion
    from zoo_export.graph.classifier import ExportableClassifier, to_onnx
    from zoo_export.runtime.session import open_session, run_session

    offer = registry.find(HEAD, head)
    made = build_head(
        offer, backbone, outputs=_CLASSES, dropout=0.2, criterion=Criterion(), options=offer.spec.options()
    )
    with torch.no_grad():
        for parameter in made.parameters():  # the attention's queries start at zero
            if bool((parameter == 0).all()):
                parameter.normal_(0, 0.5)
    module = ExportableClassifier(Classifier(backbone, made))
    began = time.process_time()
    content = to_onnx(module, size=size, opset=opset).SerializeToString()
    seconds = time.process_time() - began
    session = open_session(content, name=head, device="cpu")
    expected, got = [], []
    for count in (1, 2, 7):
        batch = images(count, size)
        with torch.no_grad():
            expected.append(module(batch)[1].numpy())
        got += run_session(session, ["logits"], {"tensor": batch.numpy()}, name=head)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True))
    return {
        "MB": len(content) / 1e6,
        "seconds": seconds,
        "difference": difference / float(np.concatenate(expected).std()),
    }


def measure(name: str, opset: int, registry: Registry) -> dict[str, Any]:
    """Returns the row of a backbone; what cannot be exported has its reason in place of a figure."""
    from zoo.errors import ZooError

    row: dict[str, Any] = {"backbone": name, "opset": opset, "MB": None, "seconds": None}
    try:
        backbone, size = build(name, registry)
    except ZooError as error:
        return {**row, **dict.fromkeys(HEADS, error.message)}
    for head in HEADS:
        try:
            figures = export_one(backbone, head, size, registry, opset)
        except ZooError as error:
            row[head] = error.message
            continue
        if row["MB"] is None:
            row["MB"], row["seconds"] = figures["MB"], figures["seconds"]
        row[head] = figures["difference"]
    return row


def main(args: list[str] | None = None) -> None:
    """Parses, exports, reports."""
    parser = make_parser(NAME, __doc__, repeats=1)
    parser.add_argument("names", nargs="*", help="backbones; by default one of every family")
    parser.add_argument("--opset", type=int, default=18, help="of the ONNX operators (18)")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    _project.require("onnx", "onnxscript", "onnxruntime")
    from zoo.plugins.registry import load_registry

    registry = load_registry()
    rows = []
    for name in arguments.names or (QUICK if arguments.quick else BACKBONES):
        rows.append(measure(name, arguments.opset, registry))
        print(*rows[-1].values(), file=sys.stderr, flush=True)
    report(
        NAME, arguments, rows, notes=["Columns of heads: largest difference of a logit, as a share of their spread."]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
