"""Submitting the predictions of a batch on a worker, at the pace that the limits allow.

The intent of each create request is stored before it is sent, and the id after the response. If
the response is lost, in this process or in one that was killed, the prediction is looked for in the
API's list, see ``submission.search``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    BatchFailed,
    ConnectionLostError,
    InvalidRequestError,
    QuickRouterError,
    RateLimitError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request
from airflow_provider_quickrouter.batch.journal import Journal
from airflow_provider_quickrouter.batch.ledger import (
    PRINT,
    REFUSED,
    UNCERTAIN,
    End,
    Lines,
    Pulse,
    State,
    Tally,
)
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.polling.history import Timeline
from airflow_provider_quickrouter.polling.poll import Poll
from airflow_provider_quickrouter.polling.poller import HISTORIES, Poller
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.submission.cancel import (
    CANCELS_AT_ONCE,
    cancel_in_thread,
    may_run_on,
    not_canceled,
)
from airflow_provider_quickrouter.submission.reconcile import UncertainCreates, reconcile
from airflow_provider_quickrouter.submission.record import fingerprint, lost_by_an_earlier_try
from airflow_provider_quickrouter.submission.search import UncertainCreate
from airflow_provider_quickrouter.tasks.reporting import count_end, count_submitted

LAST_CANCELS = 45.0
"""Seconds after the deadline in which the rest may be canceled."""


@asynccontextmanager
async def crew() -> AsyncIterator[asyncio.TaskGroup]:
    """Do what a ``TaskGroup`` does; the first error comes out of it as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None


@dataclass
class Gathering:
    """The waits of one batch.

    :param deadline: of the whole batch, epoch seconds.
    :param log: is told every ten seconds how far it is.
    :param leaves_rest: what could not be canceled at the deadline counts as running still, so that
        a worker tries again.
    """

    journal: Journal
    poller: Poller
    deadline: float
    log: Any
    leaves_rest: bool = False

    def __post_init__(self) -> None:
        self._began = time.time()
        self.tally: Tally = self.lines.ended()
        self._pulse = Pulse(time.time(), self.tally.done)
        self._cancels = asyncio.Semaphore(CANCELS_AT_ONCE)

    @property
    def lines(self) -> Lines:
        """What is known of each line."""
        return self.journal.lines

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell how far it is, also while nothing ends."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(self._pulse.every)
                self.say()

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()

    async def all_running(self) -> None:
        """Wait for all that were submitted and are not over."""
        async with crew() as group:
            for index in list(self.lines.those(State.RUNNING)):
                group.create_task(self.wait_for(index))

    async def wait_for(self, index: int) -> None:
        """Wait for one, and store how it ended."""
        outcome = await self.poller.wait_for(self._poll(index))
        if outcome.timed_out:
            outcome = await self._stopped(outcome)
            if self.leaves_rest and may_run_on(outcome.stopped):
                return
        await asyncio.to_thread(count_end, outcome, time.time())
        await self.ended(index, End.of(index, outcome))

    async def ended(self, index: int, end: End) -> None:
        """Store how a line ended."""
        await self.journal.put({"i": index, "end": end.line, "retry": end.retry})
        self.tally.add(end.outcome, end.retry)
        self.say()

    def say(self) -> None:
        """Tell how far it is, if it is time to."""
        in_flight = self.lines.count(State.RUNNING)
        if line := self._pulse.line(self.tally, in_flight, time.time()):
            self.log.info(line)

    def _poll(self, index: int) -> Poll:
        began = self.lines.begun[index]
        timeline = Timeline(HISTORIES, began)
        return Poll(str(self.lines.ids[index]), began, self.deadline, timeline=timeline)

    async def _stopped(self, outcome: Outcome) -> Outcome:
        """Cancel what did not end in time, and see how it ended: maybe well by now."""
        prediction_id = outcome.prediction_id
        stopped = replace(outcome, stopped=not_canceled(ConnectionLostError("no response in time")))
        # Where nothing ran this at the deadline, the cancels begin only now.
        until = max(self.deadline, self._began) + LAST_CANCELS
        with suppress(TimeoutError, QuickRouterError):
            async with asyncio.timeout(max(0.0, until - time.time())):
                hook = await self.poller.connected()
                async with self._cancels:
                    told = await cancel_in_thread(hook, prediction_id)
                stopped = replace(outcome, stopped=told)
                return stopped.seen_again(await hook.aget_prediction(prediction_id), time.time())
        return stopped


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
        self._rate_limit = RateLimit(plan.creates_per_minute, used=1.0, slack=SLACK)
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
        await asyncio.to_thread(count_submitted, request.reference)

    async def _send(self, request: Request) -> Prediction:
        """Send a create request in a thread, which comes back here for its pauses."""
        from airflow_provider_quickrouter.hooks.quickrouter import create_with

        loop = asyncio.get_running_loop()

        def rest(error: APIError, pause: float) -> bool:
            return asyncio.run_coroutine_threadsafe(self._rest(error, pause), loop).result()

        create = partial(create_with, self._hook.send_once, request, rest, self._gathering.log)
        return await asyncio.wrap_future(threads.start(create))

    async def _rest(self, error: APIError, pause: float) -> bool:
        if isinstance(error, RateLimitError):
            self._rate_limit.on_refusal(time.time(), error.retry_after)
        await asyncio.sleep(pause)
        await self._pace()
        return self._goes_on

    async def _pace(self) -> None:
        async with self._turn:
            while pause := self._rate_limit.pause(time.time()):  # noqa: ASYNC110  # it may grow
                await asyncio.sleep(pause)
            self._rate_limit.count(time.time())

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
