"""Submitting the predictions of a batch on a worker, at the pace that the limits allow.

Each create has its intent stored before, and its id after it. A create whose answer is lost, in
this process or in one that was killed, is looked for in the API's list, see ``api.search``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_quickrouter import metrics
from airflow_provider_quickrouter.api.attempt import fingerprint, lost_by_an_earlier_try
from airflow_provider_quickrouter.api.batch import REFUSED, UNCERTAIN, End
from airflow_provider_quickrouter.api.budget import Budget
from airflow_provider_quickrouter.api.errors import (
    APIError,
    BatchFailed,
    InvalidRequestError,
    QuickRouterError,
    RateLimitError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.lines import PRINT, State
from airflow_provider_quickrouter.api.polling import resend_after
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request
from airflow_provider_quickrouter.api.search import Doubt
from airflow_provider_quickrouter.operators.doubts import Doubts, judge
from airflow_provider_quickrouter.triggers.gathering import Gathering, crew

AT_ONCE = 12
"""Creates on their way at the same time; as many as the session has connections."""

SLACK = 0.5
"""Seconds by which a late create is made up for; limits allow a burst of about a second."""

TRIES = 3
"""How often the answer to a line's create may be lost before nothing more is submitted."""


@dataclass(frozen=True)
class Plan:
    """What is to be submitted, and how.

    :param request: makes the create of a line.
    :param reference: the batch's version or model.
    :param wanted: False as soon as Airflow has killed the task.
    :param resubmit: what stays uncertain is submitted again.
    """

    request: Callable[[int], Request]
    reference: str
    creates_per_minute: float
    max_in_flight: int
    wanted: Callable[[], bool]
    resubmit: bool


class Submitting:
    """The creates of one try.

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
        self._doubts = Doubts(hook, plan.reference, self._lines.known())
        self._lost: Counter[int] = Counter()
        self._submits: set[asyncio.Task[None]] = set()
        self._waits: set[asyncio.Task[None]] = set()
        self.stopped: QuickRouterError | None = None

    @property
    def _intents(self) -> int:
        """How many intents may stand before their creates are sent: as few as the storage lets."""
        per_second = self._plan.creates_per_minute / 60.0
        return 1 + int(2 * self._journal.record.pause * per_second)

    async def run(self, *, then_wait: bool) -> None:
        """Submit all that is missing; ``then_wait`` also waits until all are over."""
        async with crew() as group:
            for index in list(self._lines.those(State.RUNNING)):
                self._wait(group, index)
            for index in list(self._lines.those(State.SENDING)):
                self._doubt(index)
            settling = group.create_task(self._settle_doubts(group))
            await self._submit_all(group)
            left = () if then_wait and self._plan.wanted() else self._waits
            for done in (settling, *left):
                done.cancel()

    async def _submit_all(self, group: asyncio.TaskGroup) -> None:
        missing = self._lines.those(State.MISSING)
        while self._goes_on:
            if self._full:
                await self._change()
            elif (index := self._next(missing)) is not None:
                submit = group.create_task(self._submit(group, index))
                self._keep(submit, self._submits)
            elif self._submits or self._doubts:
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
        """Whether there is no room for another line now."""
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
            self._doubt(index)
        except InvalidRequestError as error:
            await self._gathering.ended(index, End.without(index, REFUSED, str(error)))
        except QuickRouterError as error:
            await self._stop(error, index)
        else:
            if self._lines.state(index) is State.RUNNING:
                self._wait(group, index)

    async def _accept(self, index: int) -> None:
        """Send a line's create, with its intent before and its id after it."""
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
        from airflow_provider_quickrouter.hooks.creating import create_once

        attempt, waited = 1, 0.0
        while True:
            try:
                return await create_once(self._hook, request)
            except APIError as error:
                pause = resend_after(error, attempt, waited)
                if isinstance(error, RateLimitError):
                    self._budget.refused(time.time(), error.retry_after)
                if pause is None or not self._goes_on:
                    raise
                self._gathering.log.warning("Not accepted, again in %.0f s: %s", pause, error)
            attempt, waited = attempt + 1, waited + pause
            await asyncio.sleep(pause)
            await self._pace()

    async def _pace(self) -> None:
        async with self._turn:
            while pause := self._budget.pause(time.time()):  # noqa: ASYNC110  # it may grow
                await asyncio.sleep(pause)
            self._budget.spend(time.time())

    async def _stop(self, error: QuickRouterError, index: int) -> None:
        """Submit no more: what was said to this line would be said to the next one as well."""
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

    def _doubt(self, index: int) -> None:
        given = (self._plan.request(index).body or {})["input"]
        self._doubts.add(Doubt(index, given, self._lines.begun[index]))

    async def _settle_doubts(self, group: asyncio.TaskGroup) -> None:
        while True:
            search = await self._doubts.search()
            if self._submits:  # what they are answered with is no lost one
                await asyncio.wait(set(self._submits))
            verdict = judge(search)
            for index, prediction_id in verdict.found.items():
                await self._journal.put({"i": index, "id": prediction_id})
                self._wait(group, index)
            for index in verdict.lost:
                await self._submit_again(index)
            for index in verdict.unsure:
                await self._leave_uncertain(index)
            self._doubts.forget(verdict)
            self._news.set()

    async def _submit_again(self, index: int) -> None:
        if self._lost[index] >= TRIES:
            await self._stop(UpstreamError(f"{TRIES} creates were lost, none accepted"), index)
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
