"""A clock that runs faster than real time, or jumps."""

from __future__ import annotations

import selectors
import threading
import time
from typing import Any

import pytest

# The functions of the real clock: Clock replaces those of the module, and so does blockbuster.
real_sleep = time.sleep


def real_time() -> float:
    """Return the seconds of a monotonic clock that ``Clock`` does not change."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Clock:
    """Run time ``speed`` times as fast for everything that sleeps or waits in this process.

    Timeouts of an asynchronous HTTP client run as fast. Timeouts of sockets do not.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, speed: float = 1.0) -> None:
        self._ahead = 0.0
        wall, monotonic, began = time.time(), real_time(), real_time()

        def passed() -> float:
            return (real_time() - began) * speed + self._ahead

        monkeypatch.setattr(time, "time", lambda: wall + passed())
        monkeypatch.setattr(time, "monotonic", lambda: monotonic + passed())
        monkeypatch.setattr(time, "sleep", lambda seconds: real_sleep(max(0.0, seconds) / speed))
        select, wait = selectors.DefaultSelector.select, threading.Condition.wait

        # An event loop waits in select(), threads wait in conditions.
        def fast_select(selector: Any, timeout: float | None = None) -> Any:
            return select(selector, timeout / speed if timeout and timeout > 0 else timeout)

        def fast_wait(condition: Any, timeout: float | None = None) -> bool:
            return wait(condition, timeout / speed if timeout else timeout)

        monkeypatch.setattr(selectors.DefaultSelector, "select", fast_select)
        monkeypatch.setattr(threading.Condition, "wait", fast_wait)

    def jump(self, seconds: float) -> None:
        """Move the clock ahead, as a process sees it that was stopped."""
        self._ahead += seconds
