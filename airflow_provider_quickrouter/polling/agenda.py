"""What the poller of a connection does next, for any number of waits: one answer for its loop.

Each wait has an instant at which it is due. Due waits are asked one by one, as fast as the
budget allows; many of them by pages of the API's list, where it has one, a hundred at a time.
With more waits than the budget carries all are late alike: the one that was due first is next,
and waits of the last minute have every other turn, so that neither they nor the old ones starve.

Nothing here sends, sleeps or reads a clock; instants are epoch seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import count

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.polling.list_sweep import Sweep, Sweeps
from airflow_provider_quickrouter.polling.poll import Again, Watch
from airflow_provider_quickrouter.polling.rate_limit import Budget

YOUNG = 60.0
"""Seconds of waiting in which a wait is one of the young."""

SPARE = 1_000
"""Entries of a lane that may be out of date beside as many as are not."""


@dataclass(eq=False, slots=True)
class Wait:
    """One registered wait.

    :ivar log: called with each step that has a line for the log.
    :ivar settle: called with the outcome, or with what went wrong in this program.
    :ivar due: when to ask; infinite while it is being asked.
    :ivar asked_at: when it was last asked for by itself, or else entered.
    :ivar listed: it may be on the API's list.
    :ivar hangs: its last poll ended without a response, after a while.
    """

    watch: Watch
    log: Callable[[Again], None]
    settle: Callable[[Outcome | BaseException], None]
    due: float = math.inf
    asked_at: float = -math.inf
    listed: bool = True
    hangs: bool = False
    request: Request = field(init=False)

    def __post_init__(self) -> None:
        self.request = get(self.watch.prediction_id)

    def young(self, now: float) -> bool:
        """Whether it has begun a short while ago."""
        return now - self.watch.started_at < YOUNG


class Lane:
    """Waits in the order in which they are due.

    An entry whose instant is no longer that of its wait is out of date, and passed over. Pages
    make many of them; at times all are dropped, so that memory is that of the waits.
    """

    _numbers = count()

    def __init__(self) -> None:
        self.served = 0
        self._heap: list[tuple[float, int, Wait]] = []
        self._full = SPARE

    @property
    def next_due(self) -> float:
        """When the first one is due, if it is still on: infinite for none."""
        return self._heap[0][0] if self._heap else math.inf

    def push(self, wait: Wait) -> None:
        """Take up a wait, or its new instant."""
        heappush(self._heap, (wait.due, next(self._numbers), wait))
        if len(self._heap) > self._full:
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].due]
            heapify(self._heap)
            self._full = 2 * len(self._heap) + SPARE

    def pop(self, now: float) -> Wait | None:
        """Return the first one if it is due; it is being asked from now on."""
        while self._heap and self._heap[0][0] <= now:
            due, _, wait = heappop(self._heap)
            if wait.due == due:
                wait.due, self.served = math.inf, next(self._numbers)
                return wait
        return None


SOON = 2.0
"""Seconds ahead in which waits that become due are counted for a sweep."""

LOOK_AGAIN = 1.0
"""Seconds after which it is looked again whether a sweep pays: the longest pause."""

PATIENCE = 5.0
"""Seconds for which listed waits rely on a page that is on its way; then they are asked too."""

DOUBT = 60.0
"""Seconds for which the list alone is believed that a wait goes on: it may be out of date, or
brought up to date only by questions for the one."""

DOUBTS = 1 / 4
"""Share of the rate that may go into such doubts: with very many waits they come later."""

HANGING_AT_ONCE = 4
"""Polls on their way for predictions whose last poll hung: they must not hold up the others."""

SET_BACK = 1.0
"""Seconds by which a clock that goes back was set by somebody."""


Step = Wait | Sweep | float
"""Ask for this one, ask for the next page of this sweep, or pause for so many seconds."""


class Agenda:
    """The waits of one connection in one process."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.sweeps = Sweeps()
        self._waits: dict[str, list[Wait]] = {}
        self._young, self._old, self._unlisted = Lane(), Lane(), Lane()
        self._hanging, self._hanging_polls = Lane(), set[Wait]()
        self._over: deque[Wait] = deque()
        self._paged = False
        self._look_at = -math.inf
        self._now = -math.inf

    def __iter__(self) -> Iterator[Wait]:
        """All waits."""
        for same in self._waits.values():
            yield from same

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._waits)

    def enter(self, wait: Wait, now: float) -> None:
        """Take up a wait; others may be for the same prediction."""
        self._waits.setdefault(wait.watch.prediction_id, []).append(wait)
        wait.asked_at = now
        self._plan(wait, wait.watch.start(now).after, now)

    def leave(self, wait: Wait) -> None:
        """Forget a wait, settled or not."""
        wait.due = math.inf
        self._hanging_polls.discard(wait)
        same = self._waits.get(wait.watch.prediction_id, [])
        if wait in same:
            same.remove(wait)
        if not same:
            self._waits.pop(wait.watch.prediction_id, None)

    def next(self, now: float) -> Step:
        """Say what to do now."""
        if now < self._now - SET_BACK:
            self._set_back(self._now - now)
        self._now = now
        step = self.budget.pause(now) or self._next(now)
        if not isinstance(step, float):
            self.budget.spend(now)
            step.asked_at = now
        return step

    def saw(self, wait: Wait, prediction: Prediction, now: float) -> None:
        """Take in a good answer. Of what goes on no logs are kept: there may be many waits."""
        before = wait.watch.last
        step = wait.watch.saw(prediction, now)
        if isinstance(step, Again):
            same = before and before.raw_status == prediction.raw_status
            wait.watch.last = before if same else replace(prediction, logs="", output=None)
        self.answered(wait, step, now)

    def still(self, wait: Wait, seen: Prediction, percent: int | None, now: float) -> None:
        """Take in a good answer that says no more than that of ``seen``."""
        self.answered(wait, wait.watch.still(seen, percent, now), now)

    def answered(self, wait: Wait, step: Again | Outcome, now: float) -> None:
        """Take in what the wait's watch made of an answer or of an error."""
        if not self._here(wait):
            return
        if isinstance(step, Outcome):
            self.leave(wait)
            wait.settle(step)
            return
        self._plan(wait, step.after, now)
        self._log(wait, step)

    def read(self, page: Iterable[Prediction], cursor: str | None, now: float) -> None:
        """Take in a page of the current sweep, and the cursor of the next one."""
        sweep = self.sweeps.current
        if sweep is None:
            return
        found = [(wait, each) for each in page for wait in self._waits.get(each.id, ())]
        for wait, prediction in found:
            sweep.found(prediction.id)
            self._seen(wait, prediction, now)
        self._doubt((wait for wait, _ in found), now)
        if not sweep.goes_on(cursor):
            self._unlist(self.sweeps.end(now), now)

    def unread(self, error: QuickRouterError, now: float) -> None:
        """Take in that a page could not be read: waits are asked one by one."""
        self.sweeps.failed(error, now)

    def _seen(self, wait: Wait, prediction: Prediction, now: float) -> None:
        """Take in an entry of the list, which ends no wait: it may say less than a GET does."""
        if wait.due == math.inf:
            return
        if wait.watch.would_end(prediction, now):
            self._ask_itself(wait)
        else:
            self.saw(wait, prediction, now)

    def _doubt(self, found: Iterable[Wait], now: float) -> None:
        """Ask, of a page's waits, for the one that was not asked for itself for longest."""
        planned = (wait for wait in found if wait.due < math.inf)
        wait = min(planned, key=lambda wait: wait.asked_at, default=None)
        patience = max(DOUBT, len(self._waits) * self.budget.spacing(now) / DOUBTS)
        if wait and now - wait.asked_at >= patience:
            self._ask_itself(wait)

    def _ask_itself(self, wait: Wait) -> None:
        wait.due = math.inf
        self._over.append(wait)

    def _unlist(self, prediction_ids: set[str], now: float) -> None:
        for prediction_id in prediction_ids:
            for wait in self._waits.get(prediction_id, ()):
                wait.listed = False
                if wait.due < math.inf:
                    self._plan(wait, wait.due - now, now)

    def _next(self, now: float) -> Step:
        """Let pages, and questions for what a page shows as over, take turns; then the lanes."""
        sweep = self.sweeps.current or self._new_sweep(now)
        itself = self._next_itself() if self._paged or not sweep or sweep.asking else None
        self._paged = itself is None
        if itself:
            return itself
        if sweep and not sweep.asking:
            sweep.asking = True
            return sweep
        lanes = [self._young, self._unlisted]
        if not sweep or now - sweep.asked_at >= PATIENCE:
            lanes.append(self._old)
        if len(self._hanging_polls) < HANGING_AT_ONCE:
            lanes.append(self._hanging)
        return self._first(lanes, now)

    def _next_itself(self) -> Wait | None:
        while self._over:
            if self._here(wait := self._over.popleft()):
                return wait
        return None

    def _first(self, lanes: list[Lane], now: float) -> Wait | float:
        """Return a due wait of the lane that was served longest ago, or the pause until one is."""
        for lane in sorted(lanes, key=lambda lane: lane.served):
            if wait := lane.pop(now):
                if lane is self._hanging:
                    self._hanging_polls.add(wait)
                return wait
        return min(LOOK_AGAIN, *(lane.next_due - now for lane in lanes))

    def _new_sweep(self, now: float) -> Sweep | None:
        if now < self._look_at or not self.sweeps.may_begin(now):
            return None
        self._look_at = now + LOOK_AGAIN
        listed = [wait for wait in self if wait.listed]
        soon = [wait.watch.prediction_id for wait in listed if wait.due <= now + SOON]
        return self.sweeps.begin(soon, len(listed))

    def _plan(self, wait: Wait, after: float, now: float) -> None:
        wait.due = now + after
        self._hanging_polls.discard(wait)
        if wait.hangs:
            self._hanging.push(wait)
            return
        listed_lane = self._young if wait.young(now) else self._old
        (listed_lane if wait.listed else self._unlisted).push(wait)

    def _set_back(self, seconds: float) -> None:
        """Move all instants with a clock that was set back, or nothing would be due for long."""
        self.budget.set_back(seconds)
        self.sweeps.set_back(seconds)
        self._look_at -= seconds
        for wait in self:
            wait.asked_at -= seconds
            if wait.due < math.inf:
                self._plan(wait, wait.due - self._now, self._now - seconds)

    @staticmethod
    def _log(wait: Wait, step: Again) -> None:
        """Log a line; a failing logger must not affect other waits."""
        try:
            if step.line:
                wait.log(step)
        except Exception as error:  # noqa: BLE001  # whatever it is, the wait gets it
            wait.settle(error)

    def _here(self, wait: Wait) -> bool:
        return wait in self._waits.get(wait.watch.prediction_id, ())
