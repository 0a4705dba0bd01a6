import os
import signal

import pytest

from zoo.errors import ZooError
from zoo.utils.interrupts import Interrupts, Terminated

needs_hangup = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP")
TERMINATED = [(signal.SIGTERM, Terminated), pytest.param("SIGHUP", Terminated, marks=needs_hangup)]


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Restores Ctrl-C, which processes in the background ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), *TERMINATED])
def test_a_signal_is_raised_at_once_or_at_the_end_of_a_deferring_block(number, error):
    number = getattr(signal, number) if isinstance(number, str) else number
    interrupts, reached = Interrupts(), []
    with interrupts.handled():
        with pytest.raises(error) as caught:
            signal.raise_signal(number)
        assert getattr(caught.value, "number", signal.SIGINT) == number
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


@needs_hangup
def test_a_second_hangup_changes_nothing_as_terminal_and_shell_send_one_each():
    interrupts, reached = Interrupts(), []
    with interrupts.handled():
        with pytest.raises(Terminated), interrupts.deferred():  # noqa: PT012 - the end of the block raises it
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            reached.append(True)
        signal.raise_signal(signal.SIGHUP)  # while the work is cleaned up
    assert reached


@needs_hangup
def test_an_outer_block_ignores_it_too():
    outer, inner = Interrupts(), Interrupts()
    with outer.handled():
        with pytest.raises(Terminated), inner.handled():
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@needs_hangup
def test_an_ignored_hangup_stays_ignored_as_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().handled():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error", [ZooError("The disk is full."), BrokenPipeError()])
def test_errors_are_deferred_like_signals_and_raised_at_once_elsewhere(error):
    interrupts, calls = Interrupts(), []

    def report(event):
        calls.append(event)
        raise error

    deferring = interrupts.defer_errors(report)
    with pytest.raises(type(error)):
        deferring("before")
    assert not interrupts.pending
    with pytest.raises(type(error)), interrupts.deferred():  # noqa: PT012 - the end of the block raises it
        deferring("first")
        deferring("second")
        assert interrupts.pending
    assert calls == ["before", "first"]


def test_a_signal_is_raised_rather_than_an_error_that_it_may_have_caused():
    interrupts = Interrupts()
    with interrupts.handled(), pytest.raises(Terminated), interrupts.deferred():  # noqa: PT012
        interrupts.error = OSError("Input/output error")
        signal.raise_signal(signal.SIGTERM)
