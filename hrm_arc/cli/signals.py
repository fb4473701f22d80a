"""Signals that end the work: Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal or SSH session sends."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

# A closed session sends SIGHUP twice (its shell and its terminal), and timeout(1) sends SIGTERM twice.
SAME_REQUEST_SECONDS = 0.5
# A program in front of this one may forward the Ctrl-C that a terminal sends to both; nobody presses it twice so fast.
FORWARDED_SECONDS = 0.1


def ending_signals() -> list[signal.Signals]:
    """The signals that end the work, but those that are ignored: SIGHUP under nohup, SIGINT in a script's jobs."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    known = [signal.SIGINT, signal.SIGTERM, *([] if hangup is None else [hangup])]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP, in distinction from Ctrl-C."""


class Request:
    """Distinguishes a request to end from its repetition by a machine, and from an impatient second one."""

    def __init__(self) -> None:
        self._first: float | None = None

    def is_new(self, number: int) -> bool:
        """Whether a signal is a request of its own: the first one, a second Ctrl-C, or a later SIGTERM."""
        if self._first is None:
            self._first = time.monotonic()
            return True
        passed = time.monotonic() - self._first
        if number == signal.SIGINT:
            return passed > FORWARDED_SECONDS
        return number == signal.SIGTERM and passed > SAME_REQUEST_SECONDS


def ending(stop: Callable[[], None], is_stopping: Callable[[], bool]) -> Callable[[int, FrameType | None], None]:
    """A signal handler for :func:`handling`: the first request ends the work in order, a second one at once.

    Args:
        stop: asks the work to end, and says so.
        is_stopping: whether it was asked to.
    """
    request = Request()

    def handle(number: int, frame: FrameType | None) -> None:
        if not request.is_new(number):
            return
        if is_stopping():
            raise KeyboardInterrupt
        stop()

    return handle


def interrupt_on_signals() -> None:
    """SIGTERM and SIGHUP raise a KeyboardInterrupt, as Ctrl-C does."""
    request = Request()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if request.is_new(number):
            raise TerminatedError

    for number in ending_signals():
        # A job in the background ignores Ctrl-C; it stays so.
        if number != signal.SIGINT:
            signal.signal(number, interrupt)


def end_at_once() -> None:
    """From now on Ctrl-C and SIGTERM end the process without a message: nothing is left to be saved."""
    for number in ending_signals():
        ends = number in (signal.SIGINT, signal.SIGTERM)
        signal.signal(number, signal.SIG_DFL if ends else signal.SIG_IGN)


@contextlib.contextmanager
def handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call a function at every ending signal."""
    former = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def killing() -> Iterator[None]:
    """SIGTERM and SIGHUP kill this process: no Python handler could be called while it is inside a library."""
    numbers = [number for number in ending_signals() if number != signal.SIGINT]
    former = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
