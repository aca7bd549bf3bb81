"""The figure of ``benchmarks.schedules``: delay against requests, a panel for each distribution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from benchmarks.drawing import GRID, OURS, SAME, figure, merged, plain_numbers, scatter

TITLES = {
    "warm": "warm: runs around 4 s",
    "mixture": "the same, 20 % booted from cold",
    "published": "as published: all models together",
}

TICKS = {
    "warm": (1, 1.5, 2, 3, 4, 5, 7, 12),
    "mixture": (4, 5, 7, 10, 15, 20),
    "published": (10, 15, 20, 30, 50, 70, 100, 200),
}


SECONDS = {
    "warm": (0.8, 0.9, 1, 1.2, 1.5, 2, 3),
    "mixture": (0.8, 0.9, 1, 1.2, 1.5, 2, 3),
    "published": (0.8, 1, 1.5, 2, 3, 4, 5),
}

OWN = ("plain", *(f"learned after {count}" for count in (0, 5, 10, 30)))
"""Schedules of the provider."""


class Point(Protocol):
    """Seconds of delay, and requests a prediction."""

    @property
    def delay(self) -> float:
        """Mean seconds."""

    @property
    def requests(self) -> float:
        """Mean number."""


def draw(table: Mapping[str, Mapping[str, Point]], path: Path) -> None:
    """Draw delay against requests to a file."""
    points = {name: merged(points_of(schedules)) for name, schedules in table.items()}
    with figure(len(table), (12.5, 4.6), path) as panels:
        together = list(zip(panels, points.values(), strict=True))
        for axes, name in zip(panels, table, strict=True):
            frame(axes, name, points[name])
        scatter(together, OWN)
        panels[0].set_ylabel("mean delay, s (log)")


def points_of(schedules: Mapping[str, Point]) -> dict[str, tuple[float, float]]:
    """Return a place for each schedule: requests, seconds."""
    return {name: (found.requests, found.delay) for name, found in schedules.items()}


def frame(axes: Any, name: str, points: Mapping[str, tuple[float, float]]) -> None:
    """Draw the axes of one distribution, and the way of the provider's schedule as it learns."""
    axes.set(title=TITLES[name], xlabel="requests a prediction (log)", xscale="log", yscale="log")
    for axis, ticks in ((axes.xaxis, TICKS[name]), (axes.yaxis, SECONDS[name])):
        plain_numbers(axis, ticks)
    axes.set(xlim=TICKS[name][:: len(TICKS[name]) - 1], ylim=SECONDS[name][:: len(SECONDS[name]) - 1])
    axes.grid(color=GRID, linewidth=0.7)
    own = [points[key] for key in points if set(key.split(SAME)) & set(OWN)]
    axes.plot(*zip(*own, strict=True), color=OURS, linewidth=1, alpha=0.4)
