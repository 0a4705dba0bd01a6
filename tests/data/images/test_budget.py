"""Photos share a budget of pixels, in the order in which they come."""

import threading
import time

import pytest
from problem_images import encoded, scene

from zoo.data.images import decode as image
from zoo.data.images.budget import PixelBudget


def test_no_more_than_the_budget_is_taken_at_a_time():
    budget, lock, now, most = PixelBudget(10), threading.Lock(), 0, 0

    def work(pixels: int) -> None:
        nonlocal now, most
        for _ in range(50):
            with budget.taken(pixels):
                with lock:
                    now += min(pixels, 10)
                    most = max(most, now)
                time.sleep(0)
                with lock:
                    now -= min(pixels, 10)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (1, 3, 4, 7, 10, 99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert 1 < most <= 10


def test_who_needs_much_is_not_kept_waiting_by_those_who_need_little():
    budget, order = PixelBudget(10), []

    def take(name: str, pixels: int) -> threading.Thread:
        def work() -> None:
            with budget.taken(pixels):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        return thread

    with budget.taken(5):
        threads = [take("large", 10), take("small", 1)]
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["large", "small"]


def test_a_share_is_given_back_when_decoding_fails(monkeypatch):
    monkeypatch.setattr(image, "_budget", PixelBudget(60 * 40))
    broken = encoded(scene())[:-60]
    for _ in range(3):
        with pytest.raises(image.ImageError):
            image.decode(broken)
    assert image.decode(encoded(scene())).shape == (40, 60, 3)
