"""The shapes of features: tokens reshaped to a map, and the widths of a backbone's features. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.errors import ConfigError, PluginError
from zoo.plugins.contracts import Features
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from zoo.plugins.contracts import Backbone

_MAX_ASPECT_ERROR = 3  # columns: convolutions without padding cut off as many rows as columns


def token_grid(tokens: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Returns the grid (rows, columns) of the tokens of an image, or None if no grid fits.

    Tokens are square, so the grid has the aspect ratio of the image, up to rounding.

    Args:
        tokens: Number of tokens, without prefix tokens (class, registers).
        image_size: (height, width) in pixels.
    """
    height, width = image_size
    rows = round((tokens * height / width) ** 0.5)
    if rows < 1 or tokens % rows:
        return None
    columns = tokens // rows
    return (rows, columns) if abs(rows * width / height - columns) < 1 else None


def tokens_to_map(tokens: Tensor, *, prefix: int, image_size: tuple[int, int]) -> Tensor:
    """Reshapes tokens ``(N, prefix + h * w, C)`` to a map ``(N, C, h, w)``, without the prefix tokens.

    Args:
        tokens: The output of a transformer.
        prefix: Number of prefix tokens (class, registers).
        image_size: (height, width) in pixels.

    Raises:
        PluginError: The number of tokens fits no grid with the aspect ratio of the image.
    """
    n, length, channels = tokens.shape
    grid = token_grid(length - prefix, image_size)
    if grid is None:
        raise PluginError(
            f"{length - prefix} tokens do not form a grid for images of {image_size[0]} x {image_size[1]} pixels."
        )
    return tokens[:, prefix:].transpose(1, 2).reshape(n, channels, *grid)


def measure_widths(backbone: Backbone, image_size: tuple[int, int], *, owner: str, hint: str) -> tuple[int, int]:
    """Returns the widths of a backbone's features (D of pooled, C of map), measured with one black image.

    A forward pass is cheap compared to what follows, and no attribute of all networks shows whether an image size works
    and how wide the features really are.

    Args:
        backbone: The network; its mode does not change.
        image_size: (height, width) in pixels.
        owner: Name of the network, for messages.
        hint: What to do if the image size does not work.

    Raises:
        ConfigError: The network does not accept images of this size.
        PluginError: The features do not have the shapes that the contract requires.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            pooled, feature_map, _ = backbone(torch.zeros(1, 3, *image_size))
    # Each library refuses a size with an exception of its own; a broken network would fail at every size.
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        raise image_size_error(owner, image_size, error, hint=hint) from error
    finally:
        backbone.train(training)
    if pooled.ndim != 2 or feature_map.ndim != 4 or 0 in feature_map.shape:
        raise PluginError(
            f"The features of {owner} have the shapes {tuple(pooled.shape)} and {tuple(feature_map.shape)}, "
            "not (N, D) and (N, C, h, w)."
        )
    return pooled.shape[1], feature_map.shape[1]


@torch.no_grad()
def measure_stages(backbone: Backbone, image_size: tuple[int, int]) -> Mapping[str, tuple[int, int, int]]:
    """Returns the shapes (C, h, w) of the maps of a backbone's stages, from input to output, by the name of the stage.

    They are measured with one black image. Stages whose output is no map are left out.

    Args:
        backbone: The network; its mode does not change.
        image_size: (height, width) in pixels.
    """
    images = torch.zeros(1, 3, *image_size, device=next(backbone.parameters()).device)
    outputs: dict[str, object] = {}
    training, modules = backbone.training, backbone.stage_modules()
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(name, output))
        for name, module in modules.items()
    ]
    try:
        backbone.eval()(images)
    finally:
        backbone.train(training)
        for hook in hooks:
            hook.remove()
    shapes = {}
    for name in modules:
        stage_map = _try_map(backbone, outputs.get(name), images)
        if stage_map is not None:
            shapes[name] = (stage_map.shape[1], stage_map.shape[2], stage_map.shape[3])
    return shapes


def random_features(backbone: Backbone, widths: Iterable[int], *, images: int = 2) -> Features:
    """Returns normally distributed features, on the CPU, always the same; every map has 3 x 3 positions.

    Args:
        backbone: Has the widths of pooled features and map.
        widths: The widths of the maps of the stages that a head reads.
        images: Number of images.
    """
    generator = torch.Generator().manual_seed(0)  # leaves the global generator as it is
    pooled = torch.randn(images, backbone.pooled_width, generator=generator)
    maps = [torch.randn(images, width, 3, 3, generator=generator) for width in (backbone.map_width, *widths)]
    return Features(pooled, maps[0], tuple(maps[1:]))


def _try_map(backbone: Backbone, output: object, images: Tensor) -> Tensor | None:
    if not isinstance(output, torch.Tensor):
        return None
    try:
        stage_map = backbone.stage_map(output, images)
    except PluginError:
        return None
    return stage_map if stage_map.ndim == 4 and _has_aspect(stage_map, images) else None


def _has_aspect(stage_map: Tensor, images: Tensor) -> bool:
    """Returns whether a map has positions in the aspect ratio of the images, as it has not if its axes are swapped."""
    rows, columns = stage_map.shape[2:]
    return min(rows, columns) > 1 and abs(rows * images.shape[3] / images.shape[2] - columns) < _MAX_ASPECT_ERROR


def image_size_error(owner: str, image_size: tuple[int, int], error: Exception, *, hint: str) -> ConfigError:
    """Returns the error that says, in one line, why a network does not accept images of a size.

    Args:
        owner: Name of the network.
        image_size: (height, width) in pixels.
        error: The exception that the network raised.
        hint: What to do.
    """
    size = f"{image_size[0]} x {image_size[1]} pixels"
    return ConfigError(f"{owner} does not accept images of {size}: {first_line(error)}.", hint=hint)
