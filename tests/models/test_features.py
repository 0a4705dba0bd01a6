import pytest
import torch
from fakes import SmallBackbone
from torch import nn

from zoo.errors import ConfigError, PluginError
from zoo.models.features import measure_stages, measure_widths, random_features, token_grid, tokens_to_map
from zoo.plugins.contracts import Features, Stage, StagedBackbone


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
    backbone.forward = lambda images: Features(images, images)
    with pytest.raises(PluginError, match=r"not \(N, D\) and \(N, C, h, w\)"):
        measure_widths(backbone, (8, 8), owner="small", hint="")


class Tokens(nn.Module):
    """A stage that returns tokens ``(N, positions, C)``."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, images):
        return self.linear(images.flatten(2).transpose(1, 2))


class Mixed(StagedBackbone):
    """Stages whose outputs are tokens, a map, a single position, and a tuple."""

    def __init__(self):
        class Pair(nn.Conv2d):
            def forward(self, x):
                return super().forward(x), x

        super().__init__({"tokens": Tokens(), "map": nn.Conv2d(5, 6, 1), "point": nn.Conv2d(6, 7, 4)}, width=7)
        self.pair = Pair(7, 7, 1)

    def forward(self, images):
        tokens = self.body["tokens"](images).transpose(1, 2).unflatten(2, images.shape[2:])
        x, _ = self.pair(self.body["point"](self.body["map"](tokens)))
        return Features(x.mean(dim=(2, 3)), x)

    def stages(self):
        return (*super().stages(), Stage("pair", ("pair.weight", "pair.bias")))

    def stage_map(self, output, images):
        return tokens_to_map(output, prefix=0, image_size=images.shape[2:]) if output.ndim == 3 else output


def test_the_shapes_of_stages_are_measured_and_outputs_that_are_no_maps_left_out():
    backbone = Mixed()
    assert dict(measure_stages(backbone, (4, 4))) == {"tokens": (5, 4, 4), "map": (6, 4, 4)}
    assert dict(measure_stages(backbone, (6, 8))) == {"tokens": (5, 6, 8), "map": (6, 6, 8), "point": (7, 3, 5)}


def test_a_stage_whose_tokens_form_no_grid_is_left_out():
    class WithPrefix(Mixed):
        def stage_map(self, output, images):
            return tokens_to_map(output, prefix=1, image_size=images.shape[2:]) if output.ndim == 3 else output

    assert dict(measure_stages(WithPrefix(), (4, 4))) == {"map": (6, 4, 4)}


def test_measuring_stages_changes_neither_modes_nor_statistics_and_leaves_no_hooks():
    backbone = SmallBackbone()
    backbone.body["layer1"].eval()
    assert dict(measure_stages(backbone, (16, 24))) == {"stem": (8, 8, 12), "layer1": (8, 4, 6), "layer2": (12, 2, 3)}
    assert backbone.training
    assert backbone.body["stem"][1].num_batches_tracked == 0
    assert not any(module._forward_hooks for module in backbone.modules())


def test_random_features_have_the_widths_of_the_backbone_and_are_always_the_same():
    backbone, state = SmallBackbone(), torch.get_rng_state()
    features = random_features(backbone, [8, 5], images=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert (features.pooled.shape, features.map.shape) == ((4, 12), (4, 12, 3, 3))
    assert [stage.shape for stage in features.stages] == [(4, 8, 3, 3), (4, 5, 3, 3)]
    assert torch.equal(random_features(backbone, [8, 5], images=4).stages[1], features.stages[1])
