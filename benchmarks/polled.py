"""Many waits of one connection on a clock that only pauses and answers move.

Who asks is the provider's own ``Schedule``, in a loop like that of its poller: as many questions at
once, and each answer takes a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

from airflow_provider_quickrouter.api.errors import NotFoundError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.polling.list_poll import PAGE, ListPoll
from airflow_provider_quickrouter.polling.poll import Poll
from airflow_provider_quickrouter.polling.poller import AT_ONCE, SHORTEST_REST
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.polling.schedule import Entry, Schedule

BEGIN = 1_000_000_000.0
"""When the waits are taken up, epoch seconds."""

AGE = 600.0
"""Seconds for which they have been going on by then: the pauses grow no more."""


class World:
    """Waits for predictions that end after so many seconds each; the first one is the oldest.

    :param lists: whether the API has a list of predictions; it holds just these.
    :param latency: seconds from a question to its answer; the API looks at half of them.
    :ivar requests: when each was sent, in seconds since the beginning.
    :ivar delays: seconds from the end of each prediction to its wait's, as they ended.
    """

    def __init__(self, ends: Sequence[float], *, lists: bool, latency: float, seed: int) -> None:
        self.ends = {f"p{number}": BEGIN + end for number, end in enumerate(ends)}
        self.newest = list(reversed(self.ends))
        self.lists, self.latency = lists, latency
        self.requests: list[float] = []
        self.delays: list[float] = []
        self._random = Random(seed)  # noqa: S311
        self._now = BEGIN
        self._schedule = Schedule(RateLimit(slack=SHORTEST_REST))
        self._answers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._now - BEGIN

    def run(self) -> None:
        """Let all waits end."""
        for prediction_id in self.ends:
            self._enter(prediction_id)
        while self._schedule:
            step = self._schedule.next(self._now)
            if isinstance(step, float):
                self._pass(self._now + max(step, SHORTEST_REST))
            else:
                self._ask(step)

    def _enter(self, prediction_id: str) -> None:
        watch = Poll(prediction_id, BEGIN - AGE, jitter=self._random.random)
        wait = Entry(watch, lambda line: None, partial(self._settled, prediction_id))
        self._schedule.add(wait, self._now)

    def _settled(self, prediction_id: str, end: Outcome | BaseException) -> None:
        if not isinstance(end, Outcome) or end.reason is not Reason.SUCCEEDED:
            raise RuntimeError(f"{prediction_id} ended as {end}")
        self.delays.append(self._now - self.ends[prediction_id])

    def _ask(self, step: Entry | ListPoll) -> None:
        """Send a question as soon as fewer than ``AT_ONCE`` are on their way."""
        while len(self._answers) >= AT_ONCE:
            self._pass(self._answers[0][0])
        self.requests.append(self.seconds)
        answer: Callable[[], None] = partial(self._answer, step, self._now + self.latency / 2)
        heappush(self._answers, (self._now + self.latency, next(self._numbers), answer))

    def _answer(self, step: Entry | ListPoll, looked_at: float) -> None:
        if isinstance(step, ListPoll):
            self._page(step, looked_at)
            return
        seen = self._state(step.poll.prediction_id, looked_at)
        self._schedule.on_prediction(step, seen, self._now)

    def _pass(self, until: float) -> None:
        """Let time pass until then, but not beyond the next answer, which is taken in."""
        if not self._answers or self._answers[0][0] > until:
            self._now = until
            return
        self._now, _, answer = heappop(self._answers)
        answer()

    def _page(self, list_poll: ListPoll, looked_at: float) -> None:
        if not self.lists:
            self._schedule.list_poll.on_error(NotFoundError("Invalid URL"), self._now)
            return
        place = int(list_poll.cursor or 0)
        found = [self._state(each, looked_at) for each in self.newest[place : place + PAGE]]
        older = str(place + PAGE) if place + PAGE < len(self.newest) else None
        self._schedule.on_page(found, older, self._now)

    def _state(self, prediction_id: str, at: float) -> Prediction:
        if at >= self.ends[prediction_id]:
            return Prediction(id=prediction_id, status=PredictionStatus.SUCCEEDED, output=["url"])
        return Prediction(id=prediction_id, status=PredictionStatus.PROCESSING)
