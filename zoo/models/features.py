"""The shapes of features: tokens reshaped to a map, and the widths of a backbone's features. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.plugins.contracts import Backbone


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


def image_size_error(owner: str, image_size: tuple[int, int], error: Exception, *, hint: str) -> ConfigError:
    """Returns the error that says, in one line, why a network does not accept images of a size.

    Args:
        owner: Name of the network.
        image_size: (height, width) in pixels.
        error: The exception that the network raised.
        hint: What to do.
    """
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    size = f"{image_size[0]} x {image_size[1]} pixels"
    return ConfigError(f"{owner} does not accept images of {size}: {reason}.", hint=hint)
