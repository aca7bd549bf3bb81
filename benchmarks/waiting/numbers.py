"""What a run came to, as numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.waiting.meter import Reading
from benchmarks.waiting.plan import WARM_UP, Plan, ends, percentile

EARLY = 0.001
"""Seconds by which two processes may read a clock apart."""


class Noticed(NamedTuple):
    """An event: its epoch second, and its payload."""

    at: float
    payload: Any


class Window(NamedTuple):
    """Readings: two before the waits were made, and those at both ends of the window.

    Between ``alone`` and ``before`` nothing ran but the instruments.
    ``started``: epoch second at which the process was idle, None if it never was.
    """

    alone: Reading
    before: Reading
    started: float | None
    first: Reading
    last: Reading

    @property
    def cpu(self) -> float:
        """CPU seconds in the window without those of the instruments."""
        return self.last.cpu - self.first.cpu - self.instruments * (self.last.at - self.first.at)

    @property
    def instruments(self) -> float:
        """Share of a core that the instruments take."""
        return (self.before.cpu - self.alone.cpu) / (self.before.at - self.alone.at)


def numbers(
    plan: Plan,
    window: Window,
    lags: Sequence[float],
    noticed: Mapping[int, Noticed],
    good: Callable[[Any], bool],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the numbers of one run; seconds, milliseconds and kilobytes as the names say."""
    late = delays(plan, window.first.at, noticed, good)
    grown = max(window.first.memory, window.last.memory) - window.before.memory
    return {
        "start_s": window.started and window.started - window.before.at,
        "cpu_ms": 1000 * window.cpu / counts["polls"] if counts["polls"] else None,
        "cpu_share": window.cpu / (window.last.at - window.first.at),
        "instruments": window.instruments,
        "median_s": percentile(late, 50) if late else None,
        "late_s": percentile(late, 99) if late else None,
        "connections": counts["connections"],
        "lag_ms": 1000 * percentile(lags, 99) if lags else None,
        "memory_kb": grown / 1024 / plan.waits,
        "polls": counts["polls"],
        "requests": counts["requests"] - min(len(WARM_UP), counts["requests"]),
        "refused": counts["refused"],
        "lost": plan.waits - len(late),
    }


def delays(
    plan: Plan, begin: float, noticed: Mapping[int, Noticed], good: Callable[[Any], bool]
) -> list[float]:
    """Return the delay of each wait that was noticed, as a success and not before its end."""
    found = []
    for number, after in enumerate(ends(plan.waits, plan.seconds)):
        event = noticed.get(number)
        if event and event.at >= begin + after - EARLY and good(event.payload):
            found.append(event.at - begin - after)
    return found
