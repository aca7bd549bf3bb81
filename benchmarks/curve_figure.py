"""The figure of ``benchmarks.curve``: requests and delay against waits, with a list and without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_quickrouter.polling.rate_limit import DEFAULT_PER_MINUTE
from benchmarks.drawing import GRID, INK, OURS, THEIRS, figure, plain_numbers

WAITS = (10, 100, 1_000, 10_000)
REQUESTS = (10, 30, 100, 300, 1_000, 3_000)
SECONDS = (1, 3, 10, 30, 100, 300, 1_000)


BOX = {"facecolor": "white", "edgecolor": "none", "framealpha": 1.0}
"""Of a legend: lines behind it do not shine through."""


class Point(Protocol):
    """Requests a minute, and seconds of delay: median and 99 %."""

    @property
    def requests(self) -> float:
        """Mean."""

    @property
    def median(self) -> float:
        """Seconds."""

    @property
    def late(self) -> float:
        """Seconds, 99 %."""


class Row(Protocol):
    """So many waits, with the list and without it."""

    @property
    def waits(self) -> int:
        """Number."""

    @property
    def listed(self) -> Point:
        """With the list."""

    @property
    def unlisted(self) -> Point:
        """Without it."""


Lines = Sequence[tuple[str, str, str, list[float]]]
"""Name, colour and style of each line, and its values."""


def draw(rows: Sequence[Row], minutes: float, path: Path) -> None:
    """Draw both panels to a file."""
    waits = [row.waits for row in rows]
    with figure(2, (10.5, 4.4), path) as (left, right):
        frame(left, "requests a minute", REQUESTS)
        left.axhline(DEFAULT_PER_MINUTE, color=THEIRS, linewidth=0.8, linestyle=":")
        left.annotate("the default budget", (10, 1.1 * DEFAULT_PER_MINUTE), fontsize=8, color=THEIRS)
        frame(right, "seconds from a prediction's end until it is noticed", SECONDS)
        for axes in (left, right):
            axes.set_xlabel(f"waits, whose predictions end within {minutes:g} minutes (log)")
        curves(left, waits, requests(rows))
        curves(right, waits, delays(rows))


def requests(rows: Sequence[Row]) -> Lines:
    """Return the lines of the left panel."""
    return [
        ("the API has a list", OURS, "-", [row.listed.requests for row in rows]),
        ("it has none", INK, "-", [row.unlisted.requests for row in rows]),
    ]


def delays(rows: Sequence[Row]) -> Lines:
    """Return the lines of the right panel."""
    return [
        ("list, median", OURS, "-", [row.listed.median for row in rows]),
        ("list, 99 %", OURS, "--", [row.listed.late for row in rows]),
        ("no list, median", INK, "-", [row.unlisted.median for row in rows]),
        ("no list, 99 %", INK, "--", [row.unlisted.late for row in rows]),
    ]


def frame(axes: Any, title: str, ticks: Sequence[float]) -> None:
    """Draw the axes of one panel."""
    axes.set(title=f"{title} (log)", xscale="log", yscale="log")
    plain_numbers(axes.xaxis, WAITS)
    plain_numbers(axes.yaxis, ticks)
    axes.set_ylim(ticks[0], ticks[-1])
    axes.grid(color=GRID, linewidth=0.7)


def curves(axes: Any, waits: Sequence[int], lines: Lines) -> None:
    """Draw lines, and what they are."""
    for name, colour, style, values in lines:
        axes.plot(waits, values, style, marker="o", markersize=3.5, color=colour, label=name)
    axes.legend(loc="upper left" if len(lines) > 2 else "lower right", fontsize=8, **BOX)
