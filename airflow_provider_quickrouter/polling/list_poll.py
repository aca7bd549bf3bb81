"""When pages of the API's list replace many polls, and how far to read.

Replicate lists predictions, newest first, a hundred on a page; a gateway may not. The first list
poll shows it: without a list, or with a list that lacks our predictions, polls are sent one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from airflow_provider_quickrouter.api.errors import AuthenticationError, QuickRouterError

PAGE = 100  # predictions on a page of the list
FEWEST = 10  # polls that are due soon for which a page is requested at all
WORTH = 2  # polls that are due soon for each page that a list poll is expected to read

# Pages in a row with none of our predictions, after which the rest is assumed to be others'.
FRUITLESS = 5

AFTER_ERROR = 30.0  # seconds without a list poll after a transient error
AFTER_NOTHING = 600.0  # seconds without a list poll after one that found none of our predictions


@dataclass(eq=False)
class ListPoll:
    """The list poll of one connection: it reads the list from the newest prediction on."""

    active: bool = False
    cursor: str | None = None  # of the page to read next
    sent_at: float | None = None  # when the page in flight was requested; None: no page is in flight
    _missing: set[str] = field(default_factory=set)  # ids that were due soon and were not found yet
    _matched_none: bool = True
    _fruitless: int = 0
    _not_before: float = -math.inf

    def may_start(self, now: float) -> bool:
        """Return whether a list poll may start at ``now`` (epoch seconds)."""
        return not self.active and now >= self._not_before

    def start(self, wanted: set[str], listed: int) -> None:
        """Start if that saves requests.

        :param wanted: ids of the polls that are due soon and may be on the list.
        :param listed: how many polls may be on the list.
        """
        if len(wanted) >= max(FEWEST, WORTH * math.ceil(listed / PAGE)):
            self.active, self.cursor, self._missing = True, None, wanted
            self._matched_none, self._fruitless = True, 0

    def on_page(self, found: set[str], cursor: str | None, now: float) -> set[str]:
        """Handle a page. Return the ids that are not on the list, once enough of it was read.

        :param found: ids on the page that are polled here.
        :param cursor: of the next page; None: this is the last one.
        """
        self.sent_at, self.cursor = None, cursor
        self._missing -= found
        self._matched_none = self._matched_none and not found
        self._fruitless = 0 if found else self._fruitless + 1
        if cursor and self._missing and self._fruitless < FRUITLESS:
            return set()
        self.active = False
        if self._matched_none:
            self._not_before = now + AFTER_NOTHING
        return self._missing

    def on_error(self, error: QuickRouterError, now: float) -> None:
        """Handle a page that could not be read; without a list there are no more list polls."""
        self.active, self.sent_at = False, None
        # A refused key does not show whether there is a list: the key may be replaced.
        again = error.transient or isinstance(error, AuthenticationError)
        self._not_before = now + AFTER_ERROR if again else math.inf
