import signal

import pytest

from zoo.utils.interrupts import Interrupts, Terminated


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Tests that are started in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_is_raised_at_once_or_at_the_end_of_a_block_that_holds_it_back(number, error):
    interrupts, reached = Interrupts(), []
    with interrupts.handled():
        with pytest.raises(error):
            signal.raise_signal(number)
        interrupts.requested = None
        with pytest.raises(error), interrupts.deferred():  # noqa: PT012 - it is raised by the end of the block
            signal.raise_signal(number)
            reached.append(interrupts.requested)
    assert reached == [number]


def test_a_second_signal_ends_what_is_held_back_but_for_those_who_are_patient():
    for patient in (False, True):
        interrupts, reached = Interrupts(patient=patient), []
        with interrupts.handled(), pytest.raises(KeyboardInterrupt), interrupts.deferred():  # noqa: PT012
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            reached.append(True)
        assert bool(reached) is patient


def test_what_was_ignored_stays_ignored_and_handlers_come_back():
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
