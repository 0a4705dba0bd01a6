import math
import signal

import pytest

from zoo.training.checkpointer import Checkpointer
from zoo.training.distributed.process_group import ProcessGroup
from zoo.utils.interrupts import Interrupts, Terminated


class Clock:
    """Tells the seconds that a test says; a save takes some."""

    def __init__(self, *, cost=0.5):
        self.now = 100.0
        self.cost = cost
        self.saves = []

    def __call__(self):
        return self.now

    def save(self):
        self.saves.append(self.now)
        self.now += self.cost


def saving(clock, *, every=None, interrupts=None, **more):
    return Checkpointer(clock.save, every=every, interrupts=interrupts or Interrupts(), clock=clock, **more)


def test_epochs_are_saved_and_long_ones_every_five_minutes():
    clock = Clock()
    kept = saving(clock)
    with kept.active():
        for now in (110, 399, 401, 402, 690, 702):
            clock.now = now
            kept.safe_point()
        kept.end_epoch()
        assert clock.saves == [401, 702]
        clock.now = 753
        kept.end_epoch()
    assert clock.saves == [401, 702, 753]


def test_saving_costs_less_than_one_per_cent_of_the_time():
    clock = Clock(cost=7.0)
    kept = saving(clock)
    with kept.active():
        while clock.now < 10_000:
            clock.now += 3
            kept.safe_point()
            kept.end_epoch()
    assert len(clock.saves) > 10
    assert 7.0 * (len(clock.saves) - 1) < 0.01 * 9_900


def test_what_the_user_says_is_done():
    clock = Clock(cost=30.0)
    kept = saving(clock, every=60)
    with kept.active():
        for now in (130, 161, 250, 251.5):
            clock.now = now
            kept.safe_point()
    assert clock.saves == [161, 251.5]
    often = saving(clock, every=0)
    with often.active():
        often.safe_point()
        often.safe_point()
    assert len(clock.saves) == 4


def test_outside_of_its_block_nothing_is_saved():
    clock = Clock()
    kept = saving(clock, every=0)
    kept.safe_point()
    assert clock.saves == []


def test_a_signal_is_followed_by_a_save_and_the_end():
    clock, interrupts = Clock(), Interrupts()
    kept = saving(clock, every=math.inf, interrupts=interrupts)
    with interrupts.handled(), pytest.raises(Terminated), kept.active():  # noqa: PT012 - all of it belongs together
        kept.safe_point()
        signal.raise_signal(signal.SIGTERM)
        assert clock.saves == []
        kept.end_epoch()
        assert len(clock.saves) == 1
        kept.exit_if_requested()


class Pair(ProcessGroup):
    """Two processes, of which this is one; the other says what a test made it say."""

    __slots__ = ()
    says = (0.0, 0.0, 0.0)
    talks = 0

    def all_reduce(self, *numbers):
        Pair.talks += 1
        return [one + other for one, other in zip(numbers, Pair.says, strict=True)]


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setattr(Pair, "says", (0.0, 0.0, 0.0))
    monkeypatch.setattr(Pair, "talks", 0)
    return lambda rank: Pair(rank=rank, count=2, local_rank=rank, local_count=2)


def test_processes_talk_about_once_a_second_and_now_and_then_when_steps_are_short(pair):
    for seconds, talks in ((0.1, 10), (2.0, 100), (0.001, 1)):
        clock, Pair.talks = Clock(), 0
        kept = saving(clock, processes=pair(0))
        with kept.active():
            for _ in range(100):
                clock.now += seconds
                kept.safe_point()
        assert talks <= Pair.talks <= 1.5 * talks + 4, seconds


def test_the_clock_of_the_first_process_decides(pair):
    clock = Clock()
    other = saving(clock, every=0, processes=pair(1))
    with other.active():
        Pair.says = (0.0, 0.0, 1.0)
        other.safe_point()
        assert clock.saves == []
        Pair.says = (0.0, 1.0, 1.0)
        other.safe_point()
    assert len(clock.saves) == 1


def test_a_signal_to_any_process_stops_all(pair):
    clock = Clock()
    kept = saving(clock, processes=pair(0))
    Pair.says = (1.0, 0.0, 0.0)
    with pytest.raises(KeyboardInterrupt), kept.active():
        kept.safe_point()
    assert len(clock.saves) == 1
