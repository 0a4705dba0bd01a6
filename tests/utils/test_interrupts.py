import signal

import pytest

from zoo.utils.interrupts import Interrupts, Terminated


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Restores Ctrl-C, which processes in the background ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_is_raised_at_once_or_at_the_end_of_a_deferring_block(number, error):
    interrupts, reached = Interrupts(), []
    with interrupts.handled():
        with pytest.raises(error):
            signal.raise_signal(number)
        interrupts.requested = None
        with pytest.raises(error), interrupts.deferred():  # noqa: PT012 - the end of the block raises it
            signal.raise_signal(number)
            reached.append(interrupts.requested)
    assert reached == [number]


def test_a_second_signal_ends_a_deferring_block_unless_repeats_are_deferred():
    for defer_repeats in (False, True):
        interrupts, reached = Interrupts(defer_repeats=defer_repeats), []
        with interrupts.handled(), pytest.raises(KeyboardInterrupt), interrupts.deferred():  # noqa: PT012
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            reached.append(True)
        assert bool(reached) is defer_repeats


def test_ignored_signals_stay_ignored_and_handlers_are_restored():
    mine = []
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
        signal.signal(signal.SIGTERM, lambda *received: mine.append(received))
        interrupts = Interrupts()
        with interrupts.handled():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Terminated):
                signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert len(mine) == 1
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
