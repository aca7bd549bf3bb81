"""What the poller of a connection sends next, for any number of polls.

Each poll has a time at which it is due. Due polls are sent one by one, as fast as the rate limit
allows. The poll that was due first is sent first, so with more polls than the limit allows all are
equally late. Where the API has a list of predictions, a page of it replaces up to a hundred polls.

Nothing here sends, sleeps or reads a clock; times are epoch seconds of a clock that is never set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

from airflow_provider_quickrouter.api.errors import ConnectionLostError, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.polling.list_poll import ListPoll
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit

SOON = 2.0  # seconds: a list poll counts the polls that become due within this time
# Seconds between two checks whether a list poll saves requests, or whether a hanging poll may be sent:
# the longest pause.
CHECK_EVERY = 1.0
PAGE_TIMEOUT = 5.0  # seconds for which polls wait for a page; then they are sent one by one

# Seconds for which pages alone may replace the GETs of a poll: a list may be out of date.
OWN_GET_EVERY = 60.0

OWN_GETS = 1 / 4  # share of the rate for these GETs: with very many polls they come later

# Seconds in which a new wait is polled by itself also during a list poll, which may take as long.
YOUNG = 60.0

# Polls in flight for predictions whose last poll hung: they must not delay the others.
HANGING_AT_ONCE = 4


@dataclass(eq=False, slots=True)
class Entry:
    """One poll in the schedule.

    ``log`` is called with each step that has a message, ``settle`` with the outcome or with an
    unexpected exception.
    """

    poll: Poll
    log: Callable[[Again], None]
    settle: Callable[[Outcome | BaseException], None]
    due: float = math.inf  # when to send the next GET; infinite while a GET is in flight
    slot: float = math.inf  # its place in the heap, at ``due`` or before; infinite if it has none
    polled_at: float = -math.inf  # when its last GET was sent, or when it was added
    listed: bool = True  # it may be on the API's list
    alone: bool = False  # only the response to its own GET counts next
    hung: bool = False  # its last GET ended without a response, after a while


# Send this poll, request the next page of the list, or pause for so many seconds.
Step = Entry | ListPoll | float


class Schedule:
    """The polls of one connection in one process."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self.rate_limit = rate_limit
        self.list_poll = ListPoll()
        self._entries: dict[str, list[Entry]] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._numbers = count()
        self._hanging = set[Entry]()
        self._waiting_for_page: list[Entry] = []
        self._page_was_last = False
        self._list_checked_at = -math.inf

    def __iter__(self) -> Iterator[Entry]:
        for same in self._entries.values():
            yield from same

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry, now: float) -> None:
        """Add a poll; there may be others for the same prediction."""
        self._entries.setdefault(entry.poll.prediction_id, []).append(entry)
        entry.polled_at = now
        self._plan(entry, now + entry.poll.first_pause(now))

    def remove(self, entry: Entry) -> None:
        """Remove a poll; do nothing if it was removed before."""
        entry.due = math.inf
        self._hanging.discard(entry)
        prediction_id = entry.poll.prediction_id
        others = [each for each in self._entries.pop(prediction_id, ()) if each is not entry]
        if others:
            self._entries[prediction_id] = others

    def next(self, now: float) -> Step:
        """Return what to do now."""
        if pause := self.rate_limit.pause(now):
            return pause
        self._update_list_poll(now)
        if not self.list_poll.active:
            for waiting in self._waiting_for_page:
                self._plan(waiting, waiting.due)
            self._waiting_for_page.clear()
        wants_page = self.list_poll.active and self.list_poll.sent_at is None
        # Pages and polls take turns where the rate limit is reached: both make progress.
        entry = None if wants_page and not self._page_was_last else self._pop_due(now)
        self._page_was_last = entry is None
        if not entry and not wants_page:
            return min(CHECK_EVERY, self._heap[0][0] - now) if self._heap else CHECK_EVERY
        self.rate_limit.count(now)
        if not entry:
            self.list_poll.sent_at = now
            return self.list_poll
        entry.due, entry.polled_at = math.inf, now
        if entry.hung:
            self._hanging.add(entry)
        return entry

    def _update_list_poll(self, now: float) -> None:
        """End a list poll whose page takes too long; start one if that saves requests."""
        sent_at = self.list_poll.sent_at
        if sent_at is not None and now - sent_at >= PAGE_TIMEOUT:
            self.list_poll.on_error(ConnectionLostError("no page in time"), now)
        if now - self._list_checked_at >= CHECK_EVERY and self.list_poll.may_start(now):
            self._list_checked_at = now
            listed = [entry for entry in self if entry.listed]
            soon = [entry for entry in listed if entry.due <= now + SOON and not entry.alone]
            self.list_poll.start({entry.poll.prediction_id for entry in soon}, len(listed))

    def _pop_due(self, now: float) -> Entry | None:
        while self._heap and self._heap[0][0] <= now:
            slot, _, entry = heappop(self._heap)
            if slot != entry.slot:
                continue  # an earlier slot has replaced this one
            entry.slot = math.inf
            replaced_by_page = self.list_poll.active and entry.listed and not entry.alone
            if entry.due > now:
                self._plan(entry, entry.due)
            elif entry.hung and len(self._hanging) >= HANGING_AT_ONCE:
                self._plan(entry, now + CHECK_EVERY)
            elif replaced_by_page and now - entry.poll.started_at >= YOUNG:
                self._waiting_for_page.append(entry)
            else:
                return entry
        return None

    def _plan(self, entry: Entry, due: float) -> None:
        entry.due = due
        # An entry that is planned later stays in its slot until the slot comes. Pages plan entries
        # again and again, and a new slot each time would fill the heap.
        if due < entry.slot:
            entry.slot = due
            heappush(self._heap, (due, next(self._numbers), entry))

    def on_prediction(self, entry: Entry, prediction: Prediction, now: float) -> None:
        """Handle a good response."""
        before = entry.poll.last
        step = entry.poll.on_prediction(prediction, now)
        if isinstance(step, Again):
            # There may be thousands of polls: store no logs, and one object for each state.
            same = before and before.raw_status == prediction.raw_status
            entry.poll.last = before if same else replace(prediction, logs="", output=None)
        self.on_step(entry, step, now)

    def on_error(self, entry: Entry, error: QuickRouterError, now: float) -> None:
        """Handle an error."""
        self.on_step(entry, entry.poll.on_error(error, now), now)

    def on_step(self, entry: Entry, step: Again | Outcome, now: float) -> None:
        """Handle what a response or an error leads to."""
        entry.alone = False
        self._hanging.discard(entry)
        if entry not in self._entries.get(entry.poll.prediction_id, ()):
            return
        if isinstance(step, Outcome):
            self.remove(entry)
            entry.settle(step)
            return
        self._plan(entry, now + step.after)
        try:
            if step.line:
                entry.log(step)
        except Exception as error:  # noqa: BLE001  # a failing logger must not affect other polls
            entry.settle(error)

    def on_page(self, page: Iterable[Prediction], cursor: str | None, now: float) -> None:
        """Handle a page of the list.

        :param cursor: of the next page; None: this is the last one.
        """
        if not self.list_poll.active:
            return  # the page came too late
        found = [(each, entry) for each in page for entry in self._entries.get(each.id, ())]
        for prediction, entry in found:
            if entry.alone or entry.due == math.inf:
                continue
            # The list may be older than a GET's response, so it ends no wait.
            if entry.poll.would_end(prediction, now):
                self._send_alone(entry, now)
            else:
                self.on_prediction(entry, prediction, now)
        self._verify_oldest([entry for _, entry in found], now)
        for prediction_id in self.list_poll.on_page({each.id for each, _ in found}, cursor, now):
            for entry in self._entries.get(prediction_id, ()):
                entry.listed = False

    def _verify_oldest(self, found: list[Entry], now: float) -> None:
        """Send the poll that pages alone have replaced for longest, if that is too long."""
        planned = [entry for entry in found if not entry.alone and entry.due < math.inf]
        oldest = min(planned, key=lambda entry: entry.polled_at, default=None)
        patience = max(OWN_GET_EVERY, len(self._entries) * self.rate_limit.spacing(now) / OWN_GETS)
        if oldest and now - oldest.polled_at >= patience:
            self._send_alone(oldest, now)

    def _send_alone(self, entry: Entry, now: float) -> None:
        entry.alone = True
        self._plan(entry, now)
