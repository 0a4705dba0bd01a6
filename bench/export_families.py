"""Exports one small network of every backbone family with every built-in head, and compares file and network.

All weights are random, including those that normally start at zero or at a constant (layer scale, the last batch
normalisation): otherwise whole branches would add nothing, and the comparison would prove little. If that makes a
network chaotic, so that float32 rounding dominates, the weights that normally start at zero are scaled down. The
comparison covers the logits of batches of 1, 2 and 7 smooth random images on the CPU. A difference is a share of the
standard deviation of the logits, as in `zoo export`. Seconds are processor time.
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
BRANCH_SCALES = (1, 0.3, 0.1, 0.03)
MAX_CHANGE = 1e-3  # of the features, as a share of their standard deviation, for a change of the input by 1e-6
_CLASSES = 5


def build_random(name: str, registry: Registry) -> tuple[Backbone, tuple[int, int]]:
    """Returns a backbone in which every weight is random and every branch active, and its input size."""
    import torch

    from zoo.models.build import build_backbone

    offer = registry.find(BACKBONE, name)
    size = resolve_callable(offer.spec.card)().preprocess.size
    for scale in BRANCH_SCALES:
        torch.manual_seed(0)
        backbone = build_backbone(offer, pretrained=False, image_size=size, options=offer.spec.options())
        randomise(backbone, draw_images(4, size), scale)
        if is_stable(backbone.eval(), draw_images(7, size)):
            break
    return backbone, size


def is_stable(backbone: Backbone, batch: Tensor) -> bool:
    """Returns whether a relative change of the input by 1e-6 hardly changes the features."""
    import torch

    with torch.no_grad():
        features, changed = backbone(batch).pooled, backbone(batch * (1 + 1e-6)).pooled
    return bool((features - changed).abs().max() < MAX_CHANGE * features.std())


def randomise(backbone: nn.Module, batch: Tensor, scale: float) -> None:
    """Randomises every tensor of equal values, and gives batch normalisations the statistics of a batch.

    Args:
        backbone: The module to modify.
        batch: Images.
        scale: The largest weight in place of zeros, which are at the end of a branch.
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
                    parameter.uniform_(0.5, 1).mul_(1 if first else scale)
        norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
        backbone.train()(batch)


def draw_images(count: int, size: tuple[int, int]) -> Tensor:
    """Returns normalised images of smooth noise, float32 ``(count, 3, *size)``."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(count)
    return F.interpolate(torch.randn(count, 3, 9, 9, generator=generator), size, mode="bicubic")


def export_one(backbone: Backbone, head: str, size: tuple[int, int], registry: Registry, opset: int) -> dict[str, Any]:
    """Exports a backbone with a head; returns the size, the duration and the largest difference."""
    import numpy as np
    import torch

    from zoo.models.build import build_head
    from zoo.models.classifier import Classifier
    from zoo.plugins.criterion import Criterion
    from zoo_export.graph.classifier import ExportableClassifier, to_onnx
    from zoo_export.runtime.session import open_session, run_session

    offer = registry.find(HEAD, head)
    module = build_head(
        offer,
        backbone,
        image_size=size,
        outputs=_CLASSES,
        dropout=0.2,
        criterion=Criterion(name="none", function=None),
        options=offer.spec.options(),
    )
    with torch.no_grad():
        for parameter in module.parameters():  # the attention's queries start at zero
            if bool((parameter == 0).all()):
                parameter.normal_(0, 0.5)
    classifier = ExportableClassifier(Classifier(backbone, module), size)
    start = time.process_time()
    content = to_onnx(classifier, size=size, opset=opset).SerializeToString()
    seconds = time.process_time() - start
    session = open_session(content, name=head, device="cpu")
    expected, actual = [], []
    for count in (1, 2, 7):
        batch = draw_images(count, size)
        with torch.no_grad():
            expected.append(classifier(batch)[1].numpy())
        actual += run_session(session, ["logits"], {"tensor": batch.numpy()}, name=head)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, actual, strict=True))
    return {
        "MB": len(content) / 1e6,
        "seconds": seconds,
        "difference": difference / float(np.concatenate(expected).std()),
    }


def measure(name: str, opset: int, registry: Registry) -> dict[str, Any]:
    """Returns the row of a backbone; a failed export has an error message in place of a figure."""
    from zoo.errors import ZooError

    row: dict[str, Any] = {"backbone": name, "opset": opset, "MB": None, "seconds": None}
    try:
        backbone, size = build_random(name, registry)
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
    """Parses the options, exports the networks and reports."""
    parser = make_parser(NAME, __doc__, repeats=1)
    parser.add_argument("names", nargs="*", help="backbones (default: one of every family)")
    parser.add_argument("--opset", type=int, default=18, help="version of the ONNX operators (18)")
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
        NAME,
        arguments,
        rows,
        notes=["Columns of heads: largest difference of a logit, as a share of their standard deviation."],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
