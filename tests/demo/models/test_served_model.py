"""Tests of a model behind its queue: the heat map over the image."""

from __future__ import annotations

import numpy as np

from zoo_demo.models.served_model import overlay_heatmap


def test_the_overlay_is_unchanged_where_the_heatmap_is_high_and_dark_and_grey_where_it_is_low() -> None:
    image = np.full((20, 40, 3), (200, 100, 50), np.uint8)
    heatmap = np.zeros((2, 4), np.float32)
    heatmap[:, 2:] = 1

    overlay = overlay_heatmap(image, heatmap)

    assert (overlay.shape, overlay.dtype) == (image.shape, np.uint8)
    assert overlay[10, 39].tolist() == [200, 100, 50]
    red, green, blue = overlay[10, 0].tolist()
    assert red == green == blue < 50
    assert (np.diff(overlay[10, :, 0].astype(int)) >= 0).all()
