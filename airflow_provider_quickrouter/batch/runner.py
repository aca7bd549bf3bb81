"""Submitting the predictions of a batch on a worker, at the pace that the limits allow.

The intent of each create request is stored before it is sent, and the id after the response. If
the response is lost, in this process or in one that was killed, the prediction is looked for in the
API's list, see ``api.search``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    BatchFailed,
    InvalidRequestError,
    QuickRouterError,
    RateLimitError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request
from airflow_provider_quickrouter.batch.doubts import UncertainCreates, reconcile
from airflow_provider_quickrouter.batch.gathering import Gathering, crew
from airflow_provider_quickrouter.batch.lines import PRINT, State
from airflow_provider_quickrouter.batch.summary import REFUSED, UNCERTAIN, End
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.polling.rate_limit import Budget
from airflow_provider_quickrouter.submission.record import fingerprint, lost_by_an_earlier_try
from airflow_provider_quickrouter.submission.search import UncertainCreate
from airflow_provider_quickrouter.tasks import metrics

AT_ONCE = 12
"""Create requests on their way at the same time."""

SLACK = 0.5
"""Seconds of delay that later create requests catch up; limits allow a burst of about a second."""

TRIES = 3
"""How often the response to an item's create request may be lost before the batch stops."""


@dataclass(frozen=True)
class Plan:
    """What to submit, and how.

    :param request: makes the create request of an item.
    :param reference: the batch's version or model.
    :param wanted: False as soon as Airflow has killed the task.
    :param resubmit: submit again what stays uncertain.
    """

    request: Callable[[int], Request]
    reference: str
    creates_per_minute: float
    max_in_flight: int
    wanted: Callable[[], bool]
    resubmit: bool


class Submitting:
    """The create requests of one attempt.

    :param gathering: waits for what was accepted.
    :param hook: an open hook of its own.
    """

    def __init__(self, plan: Plan, gathering: Gathering, hook: Any) -> None:
        self._plan, self._gathering, self._hook = plan, gathering, hook
        self._lines, self._journal = gathering.lines, gathering.journal
        self._budget = Budget(plan.creates_per_minute, used=1.0, slack=SLACK)
        self._turn, self._ahead = asyncio.Lock(), asyncio.Semaphore(self._intents)
        self._sends = asyncio.Semaphore(AT_ONCE)
        self._news = asyncio.Event()
        self._again: deque[int] = deque()
        self._uncertain = UncertainCreates(hook, plan.reference, self._lines)
        self._lost: Counter[int] = Counter()
        self._submits: set[asyncio.Task[None]] = set()
        self._waits: set[asyncio.Task[None]] = set()
        self.stopped: QuickRouterError | None = None

    @property
    def _intents(self) -> int:
        """How many intents may be stored ahead of their requests: as few as the storage allows."""
        per_second = self._plan.creates_per_minute / 60.0
        return 1 + int(2 * self._journal.record.pause * per_second)

    async def run(self, *, then_wait: bool) -> None:
        """Submit all missing items; with ``then_wait``, wait until all are over."""
        async with crew() as group:
            for index in list(self._lines.those(State.RUNNING)):
                self._wait(group, index)
            for index in list(self._lines.those(State.SENDING)):
                self._add_uncertain(index)
            reconciling = group.create_task(self._reconcile_all(group))
            await self._submit_all(group)
            left = () if then_wait and self._plan.wanted() else self._waits
            for done in (reconciling, *left):
                done.cancel()

    async def _submit_all(self, group: asyncio.TaskGroup) -> None:
        missing = self._lines.those(State.MISSING)
        while self._goes_on:
            if self._full:
                await self._change()
            elif (index := self._next(missing)) is not None:
                submit = group.create_task(self._submit(group, index))
                self._keep(submit, self._submits)
            elif self._submits or self._uncertain:
                await self._change()
            else:
                return
        while self._submits:
            await self._change()
        if self._late and self._lines.count(State.MISSING):
            late = BatchFailed("the batch's timeout came before it was submitted")
            await self._journal.put({"stop": late.to_payload()})

    @property
    def _full(self) -> bool:
        """Whether there is no room for another item now."""
        submits = len(self._submits)
        busy = submits >= AT_ONCE + self._intents
        return busy or self._lines.count(State.RUNNING) + submits >= self._plan.max_in_flight

    @property
    def _goes_on(self) -> bool:
        return self.stopped is None and self._plan.wanted() and not self._late

    @property
    def _late(self) -> bool:
        return time.time() >= self._gathering.deadline

    def _next(self, missing: Iterator[int]) -> int | None:
        return self._again.popleft() if self._again else next(missing, None)

    async def _change(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _submit(self, group: asyncio.TaskGroup, index: int) -> None:
        try:
            await self._accept(index)
        except UncertainCreateError:
            self._lost[index] += 1
            self._add_uncertain(index)
        except InvalidRequestError as error:
            await self._gathering.ended(index, End.without(index, REFUSED, str(error)))
        except QuickRouterError as error:
            await self._stop(error, index)
        else:
            if self._lines.state(index) is State.RUNNING:
                self._wait(group, index)

    async def _accept(self, index: int) -> None:
        """Store an item's intent, send its create request, and store its id."""
        async with self._ahead:
            request = self._plan.request(index)
            intent = {"i": index, "f": fingerprint(request)[:PRINT], "at": time.time()}
            await self._journal.put(intent)
            await self._pace()
        if not self._goes_on:
            await self._journal.put({"i": index, "no": True})
            return
        async with self._sends:
            prediction = await self._send(request)
        await self._journal.put({"i": index, "id": prediction.id})
        await asyncio.to_thread(metrics.submitted, request.reference)

    async def _send(self, request: Request) -> Prediction:
        """Send a create request in a thread, which comes back here for its pauses."""
        from airflow_provider_quickrouter.hooks.create import create_with

        loop = asyncio.get_running_loop()

        def rest(error: APIError, pause: float) -> bool:
            return asyncio.run_coroutine_threadsafe(self._rest(error, pause), loop).result()

        create = partial(create_with, self._hook.send_once, request, rest, self._gathering.log)
        return await asyncio.wrap_future(threads.start(create))

    async def _rest(self, error: APIError, pause: float) -> bool:
        if isinstance(error, RateLimitError):
            self._budget.refused(time.time(), error.retry_after)
        await asyncio.sleep(pause)
        await self._pace()
        return self._goes_on

    async def _pace(self) -> None:
        async with self._turn:
            while pause := self._budget.pause(time.time()):  # noqa: ASYNC110  # it may grow
                await asyncio.sleep(pause)
            self._budget.spend(time.time())

    async def _stop(self, error: QuickRouterError, index: int) -> None:
        """Stop submitting: this error applies to every item."""
        self.stopped = self.stopped or error
        await self._journal.put({"i": index, "no": True}, {"stop": self.stopped.to_payload()})

    def _wait(self, group: asyncio.TaskGroup, index: int) -> None:
        self._keep(group.create_task(self._gathering.wait_for(index)), self._waits)

    def _keep(self, task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._news.set()

        tasks.add(task)
        task.add_done_callback(ended)

    def _add_uncertain(self, index: int) -> None:
        given = (self._plan.request(index).body or {})["input"]
        self._uncertain.add(UncertainCreate(index, given, self._lines.begun[index]))

    async def _reconcile_all(self, group: asyncio.TaskGroup) -> None:
        while True:
            search = await self._uncertain.search()
            # The list may show predictions whose responses are still on their way.
            if self._submits:
                await asyncio.wait(set(self._submits))
            result = reconcile(search)
            for index, prediction_id in result.found.items():
                await self._journal.put({"i": index, "id": prediction_id})
                self._wait(group, index)
            for index in result.lost:
                await self._submit_again(index)
            for index in result.unsure:
                await self._leave_uncertain(index)
            self._uncertain.remove(result)
            self._news.set()

    async def _submit_again(self, index: int) -> None:
        if self._lost[index] >= TRIES:
            lost = f"the responses to {TRIES} create requests were lost, and none was accepted"
            await self._stop(UpstreamError(lost), index)
            return
        await self._journal.put({"i": index, "no": True})
        self._again.append(index)

    async def _leave_uncertain(self, index: int) -> None:
        if self._plan.resubmit and self._lost[index] < TRIES:
            await self._submit_again(index)
            return
        since = self._lines.begun[index]
        error = lost_by_an_earlier_try(self._plan.request(index), since, time.time())
        await self._gathering.ended(index, End.without(index, UNCERTAIN, str(error)))
