"""What the poller of a connection sends next, for any number of polls.

Each poll has a time at which it is due. Due polls are sent one by one, as fast as the rate limit
allows, the one that was due first at first; so with more polls than the limit carries all are late
alike. Where the API has a list of predictions, a page of it replaces up to a hundred polls.

Nothing here sends, sleeps or reads a clock; times are epoch seconds of a clock that is never set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count

from airflow_provider_quickrouter.api.errors import ConnectionLostError, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.polling.list_sweep import Sweep, Sweeps
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit

SOON = 2.0  # seconds ahead in which polls that become due are counted for a sweep of the list
LOOK_AGAIN = 1.0  # seconds after which it is checked again whether a sweep pays: the longest pause
PAGE_TIMEOUT = 5.0  # seconds for which polls wait for a page; then they are sent one by one

# Seconds for which pages alone may replace the polls of a prediction: a list may be stale.
OWN_GET_EVERY = 60.0

OWN_GETS = 1 / 4  # share of the rate for these GETs: with very many polls they come later

# Seconds in which a wait is polled by itself also during a sweep, which may take as long.
YOUNG = 60.0

# Polls in flight for predictions whose last poll hung: they must not hold up the others.
HANGING_AT_ONCE = 4


@dataclass(eq=False, slots=True)
class Entry:
    """One poll in the schedule.

    :ivar log: is called with each step that has a message.
    :ivar settle: is called with the outcome, or with an unexpected exception.
    :ivar due: when to send the next GET; infinite while a response is awaited.
    :ivar slot: its place in the heap, at ``due`` or before; infinite if it is not there.
    :ivar polled_at: when its own GET was sent last, or else when it was added.
    :ivar listed: it may be on the API's list.
    :ivar alone: its next response must be to its own GET.
    :ivar in_flight: its own GET awaits a response.
    :ivar hung: its last GET ended without a response, after a while.
    """

    poll: Poll
    log: Callable[[Again], None]
    settle: Callable[[Outcome | BaseException], None]
    due: float = math.inf
    slot: float = math.inf
    polled_at: float = -math.inf
    listed: bool = True
    alone: bool = False
    in_flight: bool = False
    hung: bool = False
    request: Request = field(init=False)

    def __post_init__(self) -> None:
        self.request = get(self.poll.prediction_id)

    def is_young(self, now: float) -> bool:
        """Return whether the wait started a short while ago."""
        return now - self.poll.started_at < YOUNG


# Send this poll, request the next page of this sweep, or pause for so many seconds.
Step = Entry | Sweep | float


class Schedule:
    """The polls of one connection in one process."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self.rate_limit = rate_limit
        self.sweeps = Sweeps()
        self._entries: dict[str, list[Entry]] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._numbers = count()
        self._hanging = set[Entry]()
        self._waiting_to_hang: list[Entry] = []
        self._waiting_for_sweep: list[Entry] = []
        self._page_was_last = False
        self._sweep_checked_at = -math.inf

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over all polls."""
        for same in self._entries.values():
            yield from same

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._entries)

    def add(self, entry: Entry, now: float) -> None:
        """Add a poll; there may be others for the same prediction."""
        self._entries.setdefault(entry.poll.prediction_id, []).append(entry)
        entry.polled_at = now
        self._plan(entry, now + entry.poll.first_pause(now))

    def remove(self, entry: Entry) -> None:
        """Remove a poll; nothing happens if it is not there."""
        entry.due = math.inf
        self._hanging.discard(entry)
        same = self._entries.get(entry.poll.prediction_id, [])
        if entry in same:
            same.remove(entry)
        if not same:
            self._entries.pop(entry.poll.prediction_id, None)

    def next(self, now: float) -> Step:
        """Return what to do now."""
        step = self.rate_limit.pause(now) or self._next(now)
        if not isinstance(step, float):
            self.rate_limit.count(now)
        return step

    def _next(self, now: float) -> Step:
        sweep = self.sweeps.current
        if sweep and sweep.in_flight and now - sweep.sent_at >= PAGE_TIMEOUT:
            self.on_page_error(ConnectionLostError("no page in time"), now)
        sweep = self.sweeps.current or self._begin_sweep(now)
        if len(self._hanging) < HANGING_AT_ONCE:
            self._plan_again(self._waiting_to_hang)
        if not sweep:
            self._plan_again(self._waiting_for_sweep)
        wants_page = sweep is not None and not sweep.in_flight
        # Pages and polls take turns where the rate limit is reached: neither starves.
        take_page = wants_page and not self._page_was_last
        entry = None if take_page else self._pop_due(now, during_sweep=sweep is not None)
        self._page_was_last = entry is None
        if entry:
            entry.due, entry.in_flight, entry.polled_at = math.inf, True, now
            if entry.hung:
                self._hanging.add(entry)
            return entry
        if sweep and wants_page:
            sweep.in_flight, sweep.sent_at = True, now
            return sweep
        return min(LOOK_AGAIN, self._heap[0][0] - now) if self._heap else LOOK_AGAIN

    def _begin_sweep(self, now: float) -> Sweep | None:
        if now - self._sweep_checked_at < LOOK_AGAIN or not self.sweeps.may_begin(now):
            return None
        self._sweep_checked_at = now
        listed = [entry for entry in self if entry.listed]
        soon = [entry for entry in listed if entry.due <= now + SOON and not entry.alone]
        return self.sweeps.begin({entry.poll.prediction_id for entry in soon}, len(listed))

    def _pop_due(self, now: float, *, during_sweep: bool) -> Entry | None:
        while self._heap and self._heap[0][0] <= now:
            slot, _, entry = heappop(self._heap)
            if slot != entry.slot:
                continue  # it has been planned earlier since
            entry.slot = math.inf
            if entry.due > now:
                self._plan(entry, entry.due)
            elif entry.hung and len(self._hanging) >= HANGING_AT_ONCE:
                self._waiting_to_hang.append(entry)
            elif during_sweep and entry.listed and not entry.alone and not entry.is_young(now):
                self._waiting_for_sweep.append(entry)
            else:
                return entry
        return None

    def _plan_again(self, waiting: list[Entry]) -> None:
        for entry in waiting:
            if entry.due < math.inf:  # else it was removed
                self._plan(entry, entry.due)
        waiting.clear()

    def _plan(self, entry: Entry, due: float) -> None:
        entry.due = due
        # One that is planned later stays in its slot, and is moved when the slot is due.
        if due < entry.slot:
            entry.slot = due
            heappush(self._heap, (due, next(self._numbers), entry))

    def on_prediction(self, entry: Entry, prediction: Prediction, now: float) -> None:
        """Handle a good response."""
        before = entry.poll.last
        step = entry.poll.on_prediction(prediction, now)
        if isinstance(step, Again):
            # There may be thousands of polls: no logs are stored, and one object for each state.
            same = before and before.raw_status == prediction.raw_status
            entry.poll.last = before if same else replace(prediction, logs="", output=None)
        self.on_step(entry, step, now)

    def on_error(self, entry: Entry, error: QuickRouterError, now: float) -> None:
        """Handle an error."""
        self.on_step(entry, entry.poll.on_error(error, now), now)

    def on_step(self, entry: Entry, step: Again | Outcome, now: float) -> None:
        """Handle what a response or an error leads to."""
        entry.in_flight = entry.alone = False
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
        """Handle a page of the current sweep, and the cursor of the next one."""
        sweep = self.sweeps.current
        if sweep is None:
            return
        found = [(each, entry) for each in page for entry in self._entries.get(each.id, ())]
        for prediction, entry in found:
            sweep.found(prediction.id)
            self._on_listed(entry, prediction, now)
        self._check_list([entry for _, entry in found], now)
        if not sweep.goes_on(cursor):
            for prediction_id in self.sweeps.end(now):
                for entry in self._entries.get(prediction_id, ()):
                    entry.listed = False

    def _on_listed(self, entry: Entry, prediction: Prediction, now: float) -> None:
        if entry.in_flight or entry.alone:
            return
        # The list may hold less than a GET does, so it ends no wait.
        if entry.poll.would_end(prediction, now):
            self._send_alone(entry, now)
        else:
            self.on_prediction(entry, prediction, now)

    def _check_list(self, found: list[Entry], now: float) -> None:
        """Send the poll for which pages alone have stood for longest, if that is too long."""
        planned = (entry for entry in found if not (entry.in_flight or entry.alone))
        oldest = min(planned, key=lambda entry: entry.polled_at, default=None)
        patience = max(OWN_GET_EVERY, len(self._entries) * self.rate_limit.spacing(now) / OWN_GETS)
        if oldest and now - oldest.polled_at >= patience:
            self._send_alone(oldest, now)

    def on_page_error(self, error: QuickRouterError, now: float) -> None:
        """Handle a page that could not be read: polls are sent one by one."""
        self.sweeps.on_error(error, now)

    def _send_alone(self, entry: Entry, now: float) -> None:
        entry.alone = True
        self._plan(entry, now)
