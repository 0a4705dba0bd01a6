import math
import signal

import pytest

from zoo.training.checkpointer import Checkpointer
from zoo.training.distributed.process_group import ProcessGroup
from zoo.utils.interrupts import Interrupts, Terminated


class FakeClock:
    """A clock that a test sets; every save takes `cost` seconds."""

    def __init__(self, *, cost=0.5):
        self.now = 100.0
        self.cost = cost
        self.saves = []

    def __call__(self):
        return self.now

    def save(self):
        self.saves.append(self.now)
        self.now += self.cost


def make_checkpointer(clock, *, every=None, interrupts=None, **options):
    return Checkpointer(clock.save, every=every, interrupts=interrupts or Interrupts(), clock=clock, **options)


def test_it_saves_after_every_epoch_and_every_five_minutes_in_long_ones():
    clock = FakeClock()
    checkpointer = make_checkpointer(clock)
    with checkpointer.active():
        for now in (110, 399, 401, 402, 690, 702):
            clock.now = now
            checkpointer.safe_point()
        checkpointer.end_epoch()
        assert clock.saves == [401, 702]
        clock.now = 753
        checkpointer.end_epoch()
    assert clock.saves == [401, 702, 753]


def test_saving_takes_less_than_one_per_cent_of_the_time():
    clock = FakeClock(cost=7.0)
    checkpointer = make_checkpointer(clock)
    with checkpointer.active():
        while clock.now < 10_000:
            clock.now += 3
            checkpointer.safe_point()
            checkpointer.end_epoch()
    assert len(clock.saves) > 10
    assert 7.0 * (len(clock.saves) - 1) < 0.01 * 9_900


def test_a_given_interval_is_kept():
    clock = FakeClock(cost=30.0)
    checkpointer = make_checkpointer(clock, every=60)
    with checkpointer.active():
        for now in (130, 161, 250, 251.5):
            clock.now = now
            checkpointer.safe_point()
    assert clock.saves == [161, 251.5]
    checkpointer = make_checkpointer(clock, every=0)
    with checkpointer.active():
        checkpointer.safe_point()
        checkpointer.safe_point()
    assert len(clock.saves) == 4


def test_outside_its_block_it_saves_nothing():
    clock = FakeClock()
    make_checkpointer(clock, every=0).safe_point()
    assert clock.saves == []


def test_at_a_signal_it_saves_and_stops():
    clock, interrupts = FakeClock(), Interrupts()
    checkpointer = make_checkpointer(clock, every=math.inf, interrupts=interrupts)
    with interrupts.handled(), pytest.raises(Terminated), checkpointer.active():  # noqa: PT012 - one scenario
        checkpointer.safe_point()
        signal.raise_signal(signal.SIGTERM)
        assert clock.saves == []
        checkpointer.end_epoch()
        assert len(clock.saves) == 1
        checkpointer.exit_if_requested()


class FakeGroup(ProcessGroup):
    """One of two processes; a test sets the numbers of the other one."""

    __slots__ = ()
    others = (0.0, 0.0, 0.0)
    exchanges = 0

    def all_reduce(self, *numbers):
        FakeGroup.exchanges += 1
        return [one + other for one, other in zip(numbers, FakeGroup.others, strict=True)]


@pytest.fixture
def make_group(monkeypatch):
    monkeypatch.setattr(FakeGroup, "others", (0.0, 0.0, 0.0))
    monkeypatch.setattr(FakeGroup, "exchanges", 0)
    return lambda rank: FakeGroup(rank=rank, count=2, local_rank=rank, local_count=2)


@pytest.mark.parametrize(("seconds", "exchanges"), [(0.1, 10), (2.0, 100), (0.001, 1)])
def test_processes_exchange_about_once_a_second(make_group, seconds, exchanges):
    clock = FakeClock()
    checkpointer = make_checkpointer(clock, processes=make_group(0))
    with checkpointer.active():
        for _ in range(100):
            clock.now += seconds
            checkpointer.safe_point()
    assert exchanges <= FakeGroup.exchanges <= 1.5 * exchanges + 4


def test_the_clock_of_the_main_process_decides(make_group):
    clock = FakeClock()
    checkpointer = make_checkpointer(clock, every=0, processes=make_group(1))
    with checkpointer.active():
        FakeGroup.others = (0.0, 0.0, 1.0)
        checkpointer.safe_point()
        assert clock.saves == []
        FakeGroup.others = (0.0, 1.0, 1.0)
        checkpointer.safe_point()
    assert len(clock.saves) == 1


def test_a_signal_to_any_process_stops_all(make_group):
    clock = FakeClock()
    checkpointer = make_checkpointer(clock, processes=make_group(0))
    FakeGroup.others = (1.0, 0.0, 0.0)
    with pytest.raises(KeyboardInterrupt), checkpointer.active():
        checkpointer.safe_point()
    assert len(clock.saves) == 1
