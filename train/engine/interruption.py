"""Signals that end a run after the step that it is in, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Of schedulers before they kill (SIGTERM, SIGUSR1), of a terminal that closes (SIGHUP), and Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)


@dataclass
class Interruption:
    """What signals asked for so far.

    Attributes:
        has_begun: steps are being taken; before that there is nothing to save, and Ctrl-C ends the process at once
    """

    is_asked: bool = False
    has_begun: bool = False

    def on_signal(self, number: int, _: Any) -> None:
        """Asks for the end of the run. A second Ctrl-C does not wait for the step."""
        if number == signal.SIGINT and (self.is_asked or not self.has_begun):
            raise KeyboardInterrupt
        self.is_asked = True


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within the block, signals are noted instead of ending the process; afterwards they do what they did before.

    A signal that is ignored, as ``nohup`` does with SIGHUP, stays ignored. Outside of the main thread nothing is noted.
    """
    interruption = Interruption()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interruption.on_signal)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
