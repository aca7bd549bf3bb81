"""``python -m benchmarks.curve``: how many requests many waits make, and how late they end.

A simulation of the provider's ``Schedule`` on a clock that only pauses and answers move, under the
default budget and the default ``poll_interval``. All waits are there from the beginning, have been
going on for ten minutes, and know nothing of their model; their predictions end evenly over
``--minutes``, in mixed order, and are just what the API's list holds, where there is one. An answer
takes ``--latency`` seconds. The columns, with the list and without it:

- ends: of predictions, a minute; each takes a request of its own, for what the list may lack;
- requests: a minute, from the beginning to the last end of a wait; peak: the most within 60 s;
- delay: seconds from a prediction's end to its wait's, median and 99 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.curve_figure import draw
from benchmarks.drawing import can_draw
from benchmarks.polled import World
from benchmarks.report import markdown, number
from benchmarks.waiting.plan import ends, percentile

WAITS = (10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000)
FIGURE = Path(__file__).resolve().parent.parent / "docs" / "figures" / "waits.svg"


class Point(NamedTuple):
    """Requests a minute, the most within any 60 s, and seconds of delay."""

    requests: float
    peak: int
    median: float
    late: float


class Row(NamedTuple):
    """So many waits, with the list and without it."""

    waits: int
    listed: Point
    unlisted: Point


def main() -> int:
    """Simulate, print and draw."""
    options = parser().parse_args()
    rows = [row_of(waits, options) for waits in options.waits]
    sys.stdout.write("\n".join(["", *table(rows, options.minutes), ""]))
    if can_draw():
        draw(rows, options.minutes, options.figure)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser("benchmarks.curve", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--waits", type=int, nargs="+", default=WAITS)
    made.add_argument("--minutes", type=float, default=20.0)
    made.add_argument("--latency", type=float, default=0.2, metavar="S")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--figure", type=Path, default=FIGURE, help="drawn if matplotlib is there")
    return made


def row_of(waits: int, options: argparse.Namespace) -> Row:
    """Simulate so many waits, with the list and without it."""
    moments = ends(waits, 60 * options.minutes)
    return Row(waits, *(point(moments, lists, options) for lists in (True, False)))


def point(moments: Sequence[float], lists: bool, options: argparse.Namespace) -> Point:
    """Simulate waits for predictions that end at these seconds."""
    world = World(moments, lists=lists, latency=options.latency, seed=options.seed)
    world.run()
    requests = 60 * len(world.requests) / world.seconds
    delays = [percentile(world.delays, share) for share in (50, 99)]
    return Point(requests, busiest(world.requests), *delays)


def busiest(instants: Sequence[float], seconds: float = 60.0) -> int:
    """Return the most of these instants, which rise, within any so many seconds."""
    first, most = 0, 0
    for place, at in enumerate(instants):
        while at - instants[first] >= seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


def table(rows: Sequence[Row], minutes: float) -> list[str]:
    """Return the lines of the table."""
    each = ("requests", "peak", "delay s", "99 %")
    head = ("waits", "ends", *(f"list: {name}" for name in each), *(f"none: {name}" for name in each))
    return markdown([head, *(cells(row, minutes) for row in rows)])


def cells(row: Row, minutes: float) -> tuple[str, ...]:
    """Return the cells of one row."""
    numbers = [
        text
        for point in (row.listed, row.unlisted)
        for text in (*map(number, point[:2]), *(number(delay, 1) for delay in point[2:]))
    ]
    return (number(row.waits), number(row.waits / minutes, 1), *numbers)


if __name__ == "__main__":
    sys.exit(main())
