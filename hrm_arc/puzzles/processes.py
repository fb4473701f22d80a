"""A pool of worker processes that end without a message: with the main process, at Ctrl-C, SIGTERM or SIGHUP."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def processes(count: int, prepare: Callable[[Any], None], data: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; submit to it under :func:`signals_held`, because a submission can start a process.

    Args:
        count: the number of processes.
        prepare: called in each process first, with ``data``.
        data: what every process needs. It is sent through a queue once the process runs, because a process whose
            start is interrupted while it unpickles data prints a traceback.
    """
    context = multiprocessing.get_context("spawn")
    # This starts multiprocessing's process that removes semaphores. It ignores SIGINT and SIGTERM, but not SIGHUP.
    with signals_held():
        queue: Any = context.SimpleQueue()

    def feed() -> None:
        with contextlib.suppress(OSError, ValueError):  # The pool has ended.
            for _ in range(count):
                queue.put(data)

    threading.Thread(target=feed, daemon=True).start()
    with ProcessPoolExecutor(count, context, _start, (prepare, queue)) as pool:
        yield pool


def _start(prepare: Callable[[Any], None], queue: Any) -> None:
    """Initialize a worker process. Ctrl-C reaches it too, and is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(queue.get())


def _end_with_parent() -> None:
    """End this process when the main process has ended, such as by SIGKILL; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back until the end of this block, also from processes that it starts.

    A process that starts would print a traceback: at Ctrl-C, and where its start is interrupted in the main process.
    A worker takes SIGTERM and SIGHUP again when it is initialized.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held: list[int] = []
    former = {number: signal.getsignal(number) for number in _ENDING}
    # The mask is for the new processes. In this process another thread may receive the signal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    for number, handler in former.items():
        if callable(handler):
            signal.signal(number, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        for number, handler in former.items():
            if callable(handler):
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if held:
            signal.raise_signal(held[0])
