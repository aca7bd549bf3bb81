"""The two instruments in the client's process: a thread that reads clocks, and a watchdog."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TICK = 0.1
"""Seconds between two readings of the thread."""

NAP = 0.01
"""Seconds that the watchdog sleeps; what it oversleeps is the loop's lag."""

PAGE = os.sysconf("SC_PAGE_SIZE")
BUSY = 0.75
"""Share of a core."""

LATE = 0.05
STRETCH = 0.5
"""Seconds."""


class Reading(NamedTuple):
    """Epoch seconds, CPU seconds of the process, bytes of memory (RSS)."""

    at: float
    cpu: float
    memory: int


def reading() -> Reading:
    """Read all of it now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Reading(time.time(), time.process_time(), pages * PAGE)


class Meter(threading.Thread):
    """Reads in a thread, since a loop that is held up would read too late."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.readings = [reading()]

    def run(self) -> None:
        """Read for ever."""
        while True:
            time.sleep(TICK)
            self.readings.append(reading())

    def at(self, moment: float) -> Reading:
        """Return the first reading at or after an epoch second, waiting for it if need be."""
        while self.readings[-1].at < moment:
            time.sleep(TICK / 5)
        return self.readings[bisect_left(self.readings, moment, key=lambda read: read.at)]


class Watchdog:
    """Notes the loop's lag: when it wanted to wake (epoch seconds), and how late it was."""

    def __init__(self) -> None:
        self.lags: list[tuple[float, float]] = [(time.time(), 0.0)]

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            due = time.time() + NAP
            await asyncio.sleep(NAP)
            self.lags.append((due, max(0.0, time.time() - due)))

    def between(self, since: float, until: float) -> list[float]:
        """Return the lags of wakings that were due between two epoch seconds."""
        return [lag for due, lag in list(self.lags) if since <= due < until]


def idle_since(
    readings: Sequence[Reading], lags: Sequence[tuple[float, float]], since: float
) -> float | None:
    """Return when the process became idle after ``since``, or None: it has not yet.

    Idle is the beginning of the first half second in which it took less than three quarters of a
    core, threads included, and in which no waking of the loop was more than 50 ms late.
    """
    late = [(due, due + lag) for due, lag in lags if lag > LATE]
    awake = lags[-1][0] + lags[-1][1]
    seen = [read for read in readings if read.at >= since]
    for number, first in enumerate(seen):
        last = next((read for read in seen[number:] if read.at >= first.at + STRETCH), None)
        if last is None or last.at > awake:
            return None
        share = (last.cpu - first.cpu) / (last.at - first.at)
        if share < BUSY and not any(due < last.at and woke > first.at for due, woke in late):
            return first.at
    return None
