"""When pages of the API's list replace many polls, and how far to read.

Replicate lists predictions, newest first, a hundred on a page; a gateway may not. The first sweep
shows it: without a list, or with a list that lacks our predictions, polls are sent one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_provider_quickrouter.api.errors import AuthenticationError, QuickRouterError

PAGE = 100  # predictions on a page of the list
FEWEST = 10  # polls that are due soon for which a page is requested at all
WORTH = 2  # polls that are due soon for each page that a sweep is expected to read

# Pages in a row without any of the predictions, after which the rest is assumed to be others'.
FRUITLESS = 5

AFTER_ERROR = 30.0  # seconds without a sweep after a transient error
AFTER_NOTHING = 600.0  # seconds without a sweep after one that found none of the predictions


@dataclass(eq=False)
class Sweep:
    """One reading of the list, from the newest prediction on.

    :ivar wanted: ids that were due soon and have not been found yet.
    :ivar in_flight: a page was requested, at ``sent_at``.
    """

    wanted: set[str]
    cursor: str | None = None
    in_flight: bool = False
    sent_at: float = -math.inf
    matched_none: bool = True
    _fruitless: int = 0

    def found(self, prediction_id: str) -> None:
        """Count a prediction that is on the page."""
        self.matched_none, self._fruitless = False, -1
        self.wanted.discard(prediction_id)

    def goes_on(self, cursor: str | None) -> bool:
        """Return, at the end of a page, whether the next one is worth reading."""
        self.in_flight, self.cursor = False, cursor
        self._fruitless += 1
        return bool(cursor and self.wanted and self._fruitless < FRUITLESS)


@dataclass
class Sweeps:
    """The list polls of one connection: the current one, and when the next one may start."""

    current: Sweep | None = None
    _not_before: float = -math.inf

    def may_begin(self, now: float) -> bool:
        """Return whether a list poll may start at ``now`` (epoch seconds)."""
        return self.current is None and now >= self._not_before

    def begin(self, wanted: set[str], listed: int) -> Sweep | None:
        """Start a list poll if it saves requests.

        :param wanted: ids of the polls that are due soon and may be on the list.
        :param listed: how many polls may be on the list.
        """
        if len(wanted) >= max(FEWEST, WORTH * math.ceil(listed / PAGE)):
            self.current = Sweep(wanted)
        return self.current

    def end(self, now: float) -> set[str]:
        """End the current sweep; return the ids that are not on the list."""
        sweep, self.current = self.current, None
        if sweep is None:
            return set()
        if sweep.matched_none:
            self._not_before = now + AFTER_NOTHING
        return sweep.wanted

    def on_error(self, error: QuickRouterError, now: float) -> None:
        """Handle a page that could not be read; without a list there are no more list polls."""
        self.current = None
        # A refused key does not show whether there is a list: the key may be replaced.
        again = error.transient or isinstance(error, AuthenticationError)
        self._not_before = now + AFTER_ERROR if again else math.inf
