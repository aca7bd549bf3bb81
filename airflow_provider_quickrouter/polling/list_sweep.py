"""When pages of the API's list answer many waits, and how far to read.

Replicate lists predictions, newest first, a hundred a page; a gateway may not. That is found out
by the first sweep, and if there is no list, or ours are not on it, waits are asked one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_provider_quickrouter.api.errors import AuthenticationError, QuickRouterError

PAGE = 100
"""Predictions on a page of the list."""

FEWEST = 10
"""Waits about to be due for which a page is read at all."""

WORTH = 2
"""Waits about to be due for each page that a sweep is expected to read."""

FRUITLESS = 5
"""Pages in a row without any of the waits, after which the rest is taken to be others'."""

AFTER_TROUBLE = 30.0
"""Seconds without a sweep after one that met passing trouble."""

AFTER_NOTHING = 600.0
"""Seconds without a sweep after one that found none of the waits."""


@dataclass(eq=False)
class Sweep:
    """One reading of the list, from the newest prediction on.

    :ivar wanted: ids that were about to be due and have not been found yet.
    :ivar in_vain: none of the waits was found yet.
    :ivar asking: a page is on its way, since ``asked_at``.
    """

    wanted: set[str]
    cursor: str | None = None
    asking: bool = False
    asked_at: float = -math.inf
    in_vain: bool = True
    _fruitless: int = 0

    def found(self, prediction_id: str) -> None:
        """Count a wait that is on the page."""
        self.in_vain, self._fruitless = False, -1
        self.wanted.discard(prediction_id)

    def goes_on(self, cursor: str | None) -> bool:
        """Take in the end of a page, and tell whether the next one is worth reading."""
        self.asking, self.cursor = False, cursor
        self._fruitless += 1
        return bool(cursor and self.wanted and self._fruitless < FRUITLESS)


@dataclass
class Sweeps:
    """All sweeps of one connection: the one that is on, and when the next one may be."""

    current: Sweep | None = None
    _not_before: float = field(default=-math.inf)

    def may_begin(self, now: float) -> bool:
        """Whether a sweep could begin at ``now`` (epoch seconds), if it pays."""
        return self.current is None and now >= self._not_before

    def begin(self, soon: Iterable[str], listed: int) -> Sweep | None:
        """Begin a sweep if it pays.

        :param soon: ids of the waits that are about to be due and may be on the list.
        :param listed: how many waits may be on the list.
        """
        wanted, pages = set(soon), math.ceil(listed / PAGE)
        if len(wanted) >= max(FEWEST, WORTH * pages):
            self.current = Sweep(wanted)
        return self.current

    def end(self, now: float) -> set[str]:
        """End the current sweep; return the ids that are not on the list."""
        sweep, self.current = self.current, None
        if sweep is None:
            return set()
        if sweep.in_vain:
            self._not_before = now + AFTER_NOTHING
        return sweep.wanted

    def failed(self, error: QuickRouterError, now: float) -> None:
        """Take in that a page could not be read; without a list there are no more sweeps.

        A refused key tells nothing about the list: another one may take its place.
        """
        self.current = None
        passing = error.transient or isinstance(error, AuthenticationError)
        self._not_before = now + AFTER_TROUBLE if passing else math.inf

    def set_back(self, seconds: float) -> None:
        """Move all instants with a clock that was set back."""
        self._not_before -= seconds
        if self.current:
            self.current.asked_at -= seconds
