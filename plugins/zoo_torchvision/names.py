"""The names of torchvision's classification networks by family, which need no import of torchvision."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """Networks with the same structure.

    Attributes:
        key: The name of their module in torchvision.
        paper: Their name, and the paper that introduced them.
        names: As in ``torchvision.models.list_models``.
    """

    key: str
    paper: str
    names: tuple[str, ...]


FAMILIES = (
    Family("alexnet", "AlexNet (Krizhevsky 2014)", ("alexnet",)),
    Family(
        "convnext",
        "ConvNeXt (Liu et al. 2022)",
        ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    ),
    Family(
        "densenet",
        "DenseNet (Huang et al. 2017)",
        ("densenet121", "densenet161", "densenet169", "densenet201"),
    ),
    Family(
        "efficientnet",
        "EfficientNet (Tan and Le 2019)",
        tuple(f"efficientnet_b{n}" for n in range(8)),
    ),
    Family(
        "efficientnet",
        "EfficientNetV2 (Tan and Le 2021)",
        ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    ),
    Family("googlenet", "GoogLeNet (Szegedy et al. 2015)", ("googlenet",)),
    Family("inception", "Inception v3 (Szegedy et al. 2016)", ("inception_v3",)),
    Family("maxvit", "MaxViT (Tu et al. 2022)", ("maxvit_t",)),
    Family(
        "mnasnet",
        "MnasNet (Tan et al. 2019)",
        ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    ),
    Family("mobilenetv2", "MobileNetV2 (Sandler et al. 2018)", ("mobilenet_v2",)),
    Family(
        "mobilenetv3",
        "MobileNetV3 (Howard et al. 2019)",
        ("mobilenet_v3_small", "mobilenet_v3_large"),
    ),
    Family(
        "regnet",
        "RegNetX (Radosavovic et al. 2020)",
        tuple(f"regnet_x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
    ),
    Family(
        "regnet",
        "RegNetY (Radosavovic et al. 2020)",
        tuple(f"regnet_y_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf")),
    ),
    Family(
        "resnet",
        "ResNet (He et al. 2016)",
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    ),
    Family(
        "resnet",
        "ResNeXt (Xie et al. 2017)",
        ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    ),
    Family(
        "resnet",
        "Wide ResNet (Zagoruyko and Komodakis 2016)",
        ("wide_resnet50_2", "wide_resnet101_2"),
    ),
    Family(
        "shufflenet",
        "ShuffleNetV2 (Ma et al. 2018)",
        ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    ),
    Family("squeezenet", "SqueezeNet (Iandola et al. 2016)", ("squeezenet1_0", "squeezenet1_1")),
    Family("swin", "Swin Transformer (Liu et al. 2021)", ("swin_t", "swin_s", "swin_b")),
    Family("swin", "Swin Transformer V2 (Liu et al. 2022)", ("swin_v2_t", "swin_v2_s", "swin_v2_b")),
    Family(
        "vgg",
        "VGG (Simonyan and Zisserman 2015)",
        tuple(f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")),
    ),
    Family(
        "vit",
        "Vision Transformer (Dosovitskiy et al. 2021)",
        ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
    ),
)


def family_of(name: str) -> str:
    """Returns the key of the family of a network."""
    return next(family.key for family in FAMILIES if name in family.names)
