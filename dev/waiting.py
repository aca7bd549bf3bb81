"""Waiting with a limit, and ending in good order when asked to."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    probe: Callable[[], Value | None],
    timeout: float,
    complaint: Callable[[], str],
    interval: float = 0.2,
) -> Value:
    """Call ``probe`` every ``interval`` seconds until it returns a true value, and return that.

    :raises TimeoutError: after ``timeout`` seconds, with what ``complaint`` says.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s: {complaint()}")
        time.sleep(interval)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Treat a signal like Ctrl-C, so that every ``with`` block is left in order."""
    raise KeyboardInterrupt(signal.Signals(signum).name)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt inside; without effect outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
