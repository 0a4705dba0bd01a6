"""Tests of a model behind its queue: photos that are read late, unreadable ones, the heat map over the image."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
from redness import Redness, make_png

from zoo.errors import ImageError
from zoo_demo.models import served_model
from zoo_demo.models.served_model import ServedModel, overlay_heatmap


def test_few_photos_of_a_call_are_read_at_a_time_and_none_in_the_event_loop() -> None:
    model, lock = ServedModel("redness", Redness()), threading.Lock()
    now, most = 0, 0

    def read() -> bytes:
        nonlocal now, most
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.005)
        with lock:
            now -= 1
        return make_png()

    result = asyncio.run(model.predict([(str(number), read) for number in range(32)]))

    assert [outcome.label for outcome in result.outcomes if not isinstance(outcome, ImageError)] == ["red"] * 32
    assert most <= served_model._DECODES_PER_CALL
    model.batcher.close()


def test_the_error_of_a_photo_does_not_hold_the_photo() -> None:
    """A traceback refers to every variable on the way, and so to the bytes."""
    model = ServedModel("redness", Redness())

    def fail() -> bytes:
        raise ImageError("b: damaged.", hint="Create it again.") from OSError("broken")

    outcomes = asyncio.run(model.predict([("a", b"nonsense"), ("b", fail)])).outcomes

    for outcome, message in zip(outcomes, ("a: it is not an image", "b: damaged."), strict=True):
        assert isinstance(outcome, ImageError)
        assert outcome.message.startswith(message)
        assert (outcome.__traceback__, outcome.__cause__) == (None, None)
    model.batcher.close()


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
