"""Submitting the predictions of a batch at the pace that the limits allow.

The intent of each create request is stored before it is sent, and the id after the response. If
the response is lost, in this process or in one that was killed, the prediction is looked for in the
API's list, see ``submission.reconcile``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    BatchFailed,
    FileUnavailable,
    InvalidInputError,
    InvalidRequestError,
    QuickRouterError,
    RateLimitError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request
from airflow_provider_quickrouter.batch.ledger import (
    NOT_SUBMITTED,
    PRINT,
    REFUSED,
    SUBMIT,
    UNCERTAIN,
    Entry,
    ItemResult,
    State,
)
from airflow_provider_quickrouter.batch.waits import Waits, task_group
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.submission import reconcile
from airflow_provider_quickrouter.submission.record import fingerprint, lost_by_earlier_attempt
from airflow_provider_quickrouter.tasks.reporting import count_submitted

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

AT_ONCE = 12  # create requests on their way at the same time

# Seconds of delay that later create requests catch up; limits allow a burst of about a second.
SLACK = 0.5

TRIES = 3  # how often the response to an item's create request may be lost before the batch stops


@dataclass(eq=False)
class Submitting:
    """The create requests of one attempt.

    :param waits: waits for what was accepted.
    :param hook: a hook of its own.
    :param request: returns the create request of an item, without the content of its files.
    :param read_request: returns it as it is sent. Blocks: it reads the files.
    :param wanted: False as soon as Airflow has killed the task.
    :param resubmit: submit again what stays uncertain.
    :param cost_limit: returns the most that an item's prediction costs; 0 if that is unknown.
    :param max_cost: the most that the predictions of all attempts may cost.
    """

    waits: Waits
    hook: QuickRouterHook
    log: Any
    request: Callable[[int], Request]
    read_request: Callable[[int], Request]
    creates_per_minute: float
    max_in_flight: int
    wanted: Callable[[], bool]
    resubmit: bool
    cost_limit: Callable[[int], Decimal]
    max_cost: Decimal

    def __post_init__(self) -> None:
        self._journal, self._ledger = self.waits.journal, self.waits.ledger
        self._rate_limit = RateLimit(self.creates_per_minute, used=1.0, slack=SLACK)
        # As few intents are stored ahead of their requests as the storage's pause allows: each of
        # them is uncertain after a crash.
        self._intents = 1 + int(2 * self._journal.record.pause * self.creates_per_minute / 60.0)
        self._ahead, self._sends = asyncio.Semaphore(self._intents), asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._again: deque[int] = deque()
        self._uncertain: dict[int, tuple[reconcile.UncertainCreate, float]] = {}
        self._lost: Counter[int] = Counter()
        self._submits: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._stopped: QuickRouterError | None = None

    async def run(self, *, then_wait: bool) -> None:
        """Submit all missing items; with ``then_wait``, wait until all are over."""
        async with task_group() as group:
            for index in list(self._ledger.those(State.RUNNING)):
                self._wait(group, index)
            for index in list(self._ledger.those(State.SENDING)):
                self._add_uncertain(index)
            reconciling = group.create_task(self._reconcile_all(group))
            await self._submit_all(group)
            reconciling.cancel()
            if not (then_wait and self.wanted()):
                for wait in self._waiting:
                    # The triggerer would start again to store the files of what has ended.
                    if not (self.wanted() and wait in self.waits.ending):
                        wait.cancel()

    async def _submit_all(self, group: asyncio.TaskGroup) -> None:
        missing, index = self._ledger.those(State.MISSING), None
        while self._goes_on:
            submits = len(self._submits)
            in_flight = self._ledger.count(State.RUNNING) + submits
            full = submits >= AT_ONCE + self._intents or in_flight >= self.max_in_flight
            if index is None and not full:
                index = self._again.popleft() if self._again else next(missing, None)
            if index is not None and not full and self._charge(index):
                self._start(group, self._submit(group, index), self._submits)
                index = None
            elif full or self._submits or self._uncertain or (index is not None and self._waiting):
                await self._change()  # what ends may have cost less than it might have
            else:
                break
        while self._submits:
            await self._change()
        if self._late and self._ledger.count(State.MISSING):
            await self._stop(BatchFailed("the batch's timeout came before it was submitted"))
        elif index is not None and self._goes_on:
            paid = f"max_cost={self.max_cost}: {float(self._ledger.cost)} was paid, and another may exceed it"
            await self._stop(BatchFailed(f"{paid}. Raise it, and clear the task"))

    def _charge(self, index: int) -> bool:
        """Count the most that an item costs; return False if ``max_cost`` leaves no room for it."""
        limit = self.cost_limit(index)
        if fits := self._ledger.cost + limit <= self.max_cost:
            self._ledger.charge(index, float(limit))  # at once, since its intent is stored later
        return fits

    @property
    def _goes_on(self) -> bool:
        return self._stopped is None and self.wanted() and not self._late

    @property
    def _late(self) -> bool:
        return time.time() >= self.waits.deadline

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wait(self, group: asyncio.TaskGroup, index: int) -> None:
        self._start(group, self.waits.wait_for(index), self._waiting)

    def _start(
        self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]
    ) -> None:
        def end(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._changed.set()

        task = group.create_task(work)
        tasks.add(task)
        task.add_done_callback(end)

    async def _submit(self, group: asyncio.TaskGroup, index: int) -> None:
        """Store an item's intent, send its create request, and store its id."""
        try:
            async with self._ahead:
                request = self.request(index)
                intent = {"i": index, "f": fingerprint(request)[:PRINT], "at": time.time()}
                await self._journal.put(intent | {"cost": float(self.cost_limit(index))})
                await self._pace()
            if not self._goes_on:
                await self._journal.put({"i": index, "no": True, "cost": 0})
                return
            async with self._sends:
                prediction = await self._send(index)
        except UncertainCreateError:
            self._lost[index] += 1
            self._add_uncertain(index)
        except (InvalidRequestError, InvalidInputError) as error:
            await self.waits.end(index, ItemResult.without_output(index, REFUSED, str(error)))
        except FileUnavailable as error:
            result = ItemResult.without_output(index, NOT_SUBMITTED, str(error), SUBMIT)
            await self.waits.end(index, result)
        except QuickRouterError as error:
            await self._stop(error, {"i": index, "no": True, "cost": 0})
        else:
            await self._journal.put({"i": index, "id": prediction.id})
            await asyncio.to_thread(count_submitted, request.reference)
            self._wait(group, index)

    async def _send(self, index: int) -> Prediction:
        """Send an item's create request in a thread, which comes back here for its pauses."""
        loop = asyncio.get_running_loop()

        def rest(error: APIError, pause: float) -> None:
            asyncio.run_coroutine_threadsafe(self._rest(error, pause), loop).result()

        def create() -> Prediction:
            return self.hook.send_create(self.read_request(index), lambda: self._goes_on, rest)

        return await asyncio.wrap_future(threads.start(create))

    async def _rest(self, error: APIError, pause: float) -> None:
        if isinstance(error, RateLimitError):
            self._rate_limit.on_refusal(time.time(), error.retry_after)
        await asyncio.sleep(pause)
        await self._pace()

    async def _pace(self) -> None:
        async with self._turn:
            while pause := self._rate_limit.pause(time.time()):  # noqa: ASYNC110  # it may grow
                await asyncio.sleep(pause)
            self._rate_limit.count(time.time())

    async def _stop(self, error: QuickRouterError, *entries: Entry) -> None:
        """Stop submitting: this error applies to every item."""
        self._stopped = self._stopped or error
        await self._journal.put(*entries, {"stop": self._stopped.to_payload()})

    def _add_uncertain(self, index: int) -> None:
        create = reconcile.UncertainCreate(index, self.request(index), self._ledger.started[index])
        self._uncertain[index] = create, time.time() + reconcile.LAG
        self._changed.set()

    async def _reconcile_all(self, group: asyncio.TaskGroup) -> None:
        """Look for lost create requests in the API's list, whenever there are any."""
        while True:
            search = await self._search()
            # The list may show predictions whose responses are still on their way.
            if self._submits:
                await asyncio.wait(set(self._submits))
            result = search.result()
            for create in search.creates:
                await self._reconcile(group, create, result)
                # Not before its next step, or the batch might end without it; nor later, or its
                # next create request might be forgotten.
                del self._uncertain[create.index]
            self._changed.set()

    async def _search(self) -> reconcile.Search:
        """Wait until the list must show some of the lost create requests; read it for these."""
        due = list[reconcile.UncertainCreate]()
        while not due:
            while not self._uncertain:
                await self._change()
            next_at = min(at for _, at in self._uncertain.values())
            await asyncio.sleep(max(0.0, next_at - time.time()))
            due = [create for create, at in self._uncertain.values() if at <= time.time()]
        started = {id: self._ledger.started[index] for index, id in enumerate(self._ledger.ids) if id}
        search = reconcile.Search(due, self._ledger.known, started)
        await asyncio.wrap_future(threads.start(partial(search.read_list, self.hook.exchange)))
        return search

    async def _reconcile(
        self, group: asyncio.TaskGroup, create: reconcile.UncertainCreate, result: reconcile.Result
    ) -> None:
        index = create.index
        if index in result.found:
            await self._journal.put({"i": index, "id": result.found[index]})
            self._wait(group, index)
        elif self._lost[index] < TRIES and (index in result.lost or self.resubmit):
            # What may have been accepted may cost something, too.
            await self._journal.put({"i": index, "no": True, "cost": 0 if index in result.lost else None})
            self._again.append(index)
        elif index in result.lost:
            lost = f"the responses to {TRIES} create requests were lost, and none was accepted"
            await self._stop(UpstreamError(lost), {"i": index, "no": True, "cost": 0})
        else:
            error = lost_by_earlier_attempt(create.request, create.started_at, time.time())
            await self.waits.end(index, ItemResult.without_output(index, UNCERTAIN, str(error)))
