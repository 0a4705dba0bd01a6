"""The heat map over its photo."""

from __future__ import annotations

import numpy as np

from zoo_demo.overlay import lay_over


def test_the_photo_is_as_it_was_where_the_network_looked_and_dark_and_grey_elsewhere() -> None:
    photo = np.full((20, 40, 3), (200, 100, 50), np.uint8)
    heatmap = np.zeros((2, 4), np.float32)
    heatmap[:, 2:] = 1

    seen = lay_over(photo, heatmap)

    assert (seen.shape, seen.dtype) == (photo.shape, np.uint8)
    assert seen[10, 39].tolist() == [200, 100, 50]
    red, green, blue = seen[10, 0].tolist()
    assert red == green == blue < 50
    assert (np.diff(seen[10, :, 0].astype(int)) >= 0).all()
