"""The shapes of features: tokens laid out as a map, and what a backbone gives for an image size. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.plugins.contracts import Backbone


def token_grid(tokens: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Returns the grid (height, width) on which `tokens` cells cover an image, or None where none fits.

    Cells are as good as square, so the grid has the image's aspect, up to the part of a cell that rounding takes.

    Args:
        tokens: How many tokens there are, prefix tokens (class, registers) left out.
        image_size: (height, width) of the image in pixels.
    """
    height, width = image_size
    rows = round((tokens * height / width) ** 0.5)
    if rows < 1 or tokens % rows:
        return None
    columns = tokens // rows
    return (rows, columns) if abs(rows * width / height - columns) < 1 else None


def tokens_to_map(tokens: Tensor, *, prefix: int, image_size: tuple[int, int]) -> Tensor:
    """Lays tokens ``(N, prefix + h * w, C)`` out as a map ``(N, C, h, w)``; prefix tokens are dropped.

    Raises:
        PluginError: The number of tokens fits no grid of the image's aspect.
    """
    n, length, channels = tokens.shape
    grid = token_grid(length - prefix, image_size)
    if grid is None:
        raise PluginError(
            f"{length - prefix} tokens cannot be laid out as a map of a {image_size[0]} x {image_size[1]} image."
        )
    return tokens[:, prefix:].transpose(1, 2).reshape(n, channels, *grid)


def measure(backbone: Backbone, image_size: tuple[int, int], *, owner: str, hint: str) -> tuple[int, int]:
    """Returns the widths (D of pooled, C of map) that a backbone gives, found by running one black image.

    One forward pass costs little beside what follows, and shows what no attribute tells for every network: that the
    image size works, and how wide the features really are.

    Args:
        backbone: Left in the mode it is in.
        image_size: (height, width) in pixels.
        owner: The network's name, for the message.
        hint: What to do where the image size does not work.

    Raises:
        ConfigError: The network cannot take images of this size.
        PluginError: The network's features are not of the shapes that the contract asks for.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            pooled, feature_map = backbone(torch.zeros(1, 3, *image_size))
    # Every library has its own way of refusing a size; what is wrong with a network would fail at every size.
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        raise wrong_size(owner, image_size, error, hint=hint) from error
    finally:
        backbone.train(training)
    if pooled.ndim != 2 or feature_map.ndim != 4 or 0 in feature_map.shape:
        raise PluginError(
            f"{owner} gives features of shapes {tuple(pooled.shape)} and {tuple(feature_map.shape)}, "
            "not (N, D) and (N, C, h, w)."
        )
    return pooled.shape[1], feature_map.shape[1]


def wrong_size(owner: str, image_size: tuple[int, int], error: Exception, *, hint: str) -> ConfigError:
    """Returns the error that says in one line why a network cannot take images of a size."""
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ConfigError(f"{owner} cannot take images of {image_size[0]} x {image_size[1]} pixels: {reason}.", hint=hint)
