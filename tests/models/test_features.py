import pytest
import torch
from torch import nn

from zoo.errors import ConfigError, PluginError
from zoo.models.features import measure_widths, token_grid, tokens_to_map
from zoo.plugins.contracts import StagedBackbone


@pytest.mark.parametrize(
    ("tokens", "image_size", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (140, (224, 160), (14, 10)),
        (28, (100, 60), (7, 4)),  # a network that pads to whole patches of 16
        (1, (16, 16), (1, 1)),
        (197, (224, 224), None),  # a class token too many
        (12, (224, 224), None),  # divisible, but no square
        (0, (224, 224), None),
    ],
)
def test_the_grid_of_tokens_has_the_aspect_ratio_of_the_image(tokens, image_size, grid):
    assert token_grid(tokens, image_size) == grid


def test_tokens_keep_their_positions():
    tokens = torch.arange(2 * 7 * 3).reshape(2, 7, 3)
    laid_out = tokens_to_map(tokens, prefix=1, image_size=(32, 48))
    assert laid_out.shape == (2, 3, 2, 3)
    assert torch.equal(laid_out[1, :, 1, 2], tokens[1, 1 + 5])
    with pytest.raises(PluginError, match="7 tokens do not form a grid for images of 32 x 48 pixels"):
        tokens_to_map(tokens, prefix=0, image_size=(32, 48))


def test_widths_are_measured_and_unsupported_sizes_are_named():
    backbone = StagedBackbone(
        {"stem": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "end": nn.Conv2d(4, 6, 1)}, width=6
    )
    assert measure_widths(backbone, (8, 12), owner="small", hint="") == (6, 6)
    assert backbone.training
    assert backbone.body["stem"][1].num_batches_tracked == 0
    with pytest.raises(ConfigError, match=r"small does not accept images of 2 x 2 pixels: .*Kernel size") as caught:
        measure_widths(backbone, (2, 2), owner="small", hint="Larger ones.")
    assert caught.value.hint == "Larger ones."
    backbone.forward = lambda images: (images, images)
    with pytest.raises(PluginError, match=r"not \(N, D\) and \(N, C, h, w\)"):
        measure_widths(backbone, (8, 8), owner="small", hint="")
