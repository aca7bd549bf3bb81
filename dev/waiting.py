"""Waiting with a timeout, and ending cleanly after a signal."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    probe: Callable[[], Value | None], timeout: float, complaint: Callable[[], str], interval: float = 0.2
) -> Value:
    """Call ``probe`` every ``interval`` seconds until it returns a true value, and return that.

    :raises TimeoutError: after ``timeout`` seconds, with the message of ``complaint``.
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


@contextmanager
def ending_in_order(say: Callable[[str], None]) -> Iterator[None]:
    """Leave a command that is stopped or fails inside with one line, and no stack trace.

    :raises SystemExit: 130 after Ctrl-C or SIGTERM, 1 after a RuntimeError or an OSError.
    """
    try:
        with sigterm_interrupts():
            yield
    except KeyboardInterrupt:
        say("interrupted; every process has ended")
        raise SystemExit(130) from None
    except (RuntimeError, OSError) as error:
        say(f"failed: {error}")
        raise SystemExit(1) from None
