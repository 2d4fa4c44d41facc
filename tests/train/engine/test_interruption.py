"""Signals that end a run after its step."""

import os
import signal
import threading

import pytest

from syntaxdiff.train.engine.interruption import SIGNALS, interruptible


@pytest.fixture(autouse=True)
def handlers() -> None:
    """SIGINT as a terminal has it, where the suite was started with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_noted_and_handlers_come_back(number: signal.Signals) -> None:
    """Within the block a signal asks for the end; after it, it does what it did before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with interruptible() as interruption:
        interruption.has_begun = True
        asked = [interruption.is_asked]
        os.kill(os.getpid(), number)
        asked += [interruption.is_asked]
    assert asked == [False, True]
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_ctrl_c_before_the_first_step_and_twice_ends_at_once() -> None:
    """There is nothing to save before the first step; and a second Ctrl-C does not wait for the step."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGINT)
    with interruptible() as interruption:
        interruption.has_begun = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_nohup_ignores_stays_ignored() -> None:
    """A signal that was ignored when the run began does not end it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.is_asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_nothing_is_noted() -> None:
    """Python allows handlers in the main thread alone; a training in another one runs without."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
