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
from heapq import heappop, heappush
from itertools import count

from airflow_provider_quickrouter.api.budget import Budget
from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.polling import Again, Watch
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.api.sweep import Sweep, Sweeps

YOUNG = 60.0
"""Seconds of waiting in which a wait is one of the young."""

SOON = 2.0
"""Seconds ahead in which waits that become due are counted for a sweep."""

LOOK_AGAIN = 1.0
"""Seconds after which it is looked again whether a sweep pays: the longest pause."""


@dataclass(eq=False, slots=True)
class Wait:
    """One registered wait.

    :ivar tell: called with each line for the log.
    :ivar settle: called with the outcome, or with what went wrong in this program.
    :ivar due: when to ask; infinite while it is being asked.
    :ivar listed: it may be on the API's list.
    """

    watch: Watch
    tell: Callable[[str], None]
    settle: Callable[[Outcome | BaseException], None]
    due: float = math.inf
    listed: bool = True
    request: Request = field(init=False)

    def __post_init__(self) -> None:
        self.request = get(self.watch.prediction_id)

    def young(self, now: float) -> bool:
        """Whether it has begun a short while ago."""
        return now - self.watch.started_at < YOUNG


Step = Wait | Sweep | float
"""Ask for this one, ask for the next page of this sweep, or pause for so many seconds."""


class Agenda:
    """The waits of one connection in one process."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.sweeps = Sweeps()
        self._waits: dict[str, list[Wait]] = {}
        self._young, self._old, self._unlisted = _Lane(), _Lane(), _Lane()
        self._over: deque[Wait] = deque()
        self._look_at = -math.inf

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
        self._plan(wait, wait.watch.start(now).after, now)

    def leave(self, wait: Wait) -> None:
        """Forget a wait, settled or not."""
        wait.due = math.inf
        same = self._waits.get(wait.watch.prediction_id, [])
        if wait in same:
            same.remove(wait)
        if not same:
            self._waits.pop(wait.watch.prediction_id, None)

    def next(self, now: float) -> Step:
        """Say what to do now."""
        pause = self.budget.pause(now)
        step = pause or self._next(now)
        if not isinstance(step, float):
            self.budget.spend(now)
        return step

    def saw(self, wait: Wait, prediction: Prediction, now: float) -> None:
        """Take in a good answer. Of what goes on no logs are kept: there may be many waits."""
        before = wait.watch.last
        step = wait.watch.saw(prediction, now)
        if isinstance(step, Again):
            same = before and before.status is prediction.status
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
        if step.line:
            wait.tell(step.line)
        self._plan(wait, step.after, now)

    def read(self, page: Iterable[Prediction], cursor: str | None, now: float) -> None:
        """Take in a page of the current sweep, and the cursor of the next one."""
        sweep = self.sweeps.current
        if sweep is None:
            return
        for prediction in page:
            for wait in tuple(self._waits.get(prediction.id, ())):
                sweep.found(prediction.id)
                self._seen(wait, prediction, now)
        if not sweep.goes_on(cursor):
            self._unlist(self.sweeps.end(now), now)

    def unread(self, error: QuickRouterError, now: float) -> None:
        """Take in that a page could not be read: waits are asked one by one."""
        self.sweeps.failed(error, now)

    def _seen(self, wait: Wait, prediction: Prediction, now: float) -> None:
        """Take in an entry of the list; of what is over it may hold less than a GET does."""
        if wait.due == math.inf:
            return
        if prediction.status.terminal:
            wait.due = math.inf
            self._over.append(wait)
        else:
            self.saw(wait, prediction, now)

    def _unlist(self, prediction_ids: set[str], now: float) -> None:
        for prediction_id in prediction_ids:
            for wait in self._waits.get(prediction_id, ()):
                wait.listed = False
                if wait.due < math.inf:
                    self._plan(wait, wait.due - now, now)

    def _next(self, now: float) -> Step:
        while self._over:
            if self._here(wait := self._over.popleft()):
                return wait
        sweep = self.sweeps.current or self._new_sweep(now)
        if sweep and not sweep.asking:
            sweep.asking = True
            return sweep
        lanes = [self._unlisted] if sweep else [self._young, self._old, self._unlisted]
        return self._first(lanes, now)

    def _first(self, lanes: list[_Lane], now: float) -> Wait | float:
        """Return a due wait of the lane that was served longest ago, or the pause until one is."""
        for lane in sorted(lanes, key=lambda lane: lane.served):
            if wait := lane.pop(now):
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
        listed_lane = self._young if wait.young(now) else self._old
        (listed_lane if wait.listed else self._unlisted).push(wait)

    def _here(self, wait: Wait) -> bool:
        return wait in self._waits.get(wait.watch.prediction_id, ())


class _Lane:
    """Waits in the order in which they are due.

    An entry whose instant is no longer that of its wait is out of date, and passed over.
    """

    _numbers = count()

    def __init__(self) -> None:
        self.served = 0
        self._heap: list[tuple[float, int, Wait]] = []

    @property
    def next_due(self) -> float:
        """When the first one is due, if it is still on: infinite for none."""
        return self._heap[0][0] if self._heap else math.inf

    def push(self, wait: Wait) -> None:
        heappush(self._heap, (wait.due, next(self._numbers), wait))

    def pop(self, now: float) -> Wait | None:
        """Return the first one if it is due; it is being asked from now on."""
        while self._heap and self._heap[0][0] <= now:
            due, _, wait = heappop(self._heap)
            if wait.due == due:
                wait.due, self.served = math.inf, next(self._numbers)
                return wait
        return None
