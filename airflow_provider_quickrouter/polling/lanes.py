"""A wait as the poller keeps it, and waits in the order in which they are due."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count

from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.polling.poll import Again, Watch

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
