"""One poller for each connection in an event loop, shared by all triggers that wait there.

It holds one session with few connections and sends what its :class:`Schedule` returns. It starts
with the first trigger and ends with the last one; only the histories of models remain.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.errors import (
    AuthenticationError,
    ConnectionLostError,
    QuickRouterError,
    RateLimitError,
)
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, check_id, get, page, read_page
from airflow_provider_quickrouter.polling.history import Histories
from airflow_provider_quickrouter.polling.list_poll import ListPoll
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.polling.schedule import Entry, Schedule

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook, Reader, Value


FRESH = 60.0  # seconds after which a new wait reads the connection's settings again

# Seconds for which a refused key, or a connection that cannot be read, is not read again: thousands
# of waits may need it.
SHORTEST_REFRESH = 5.0

AT_ONCE = 12  # requests in flight at the same time, apart from slow ones

# Seconds after which a request in flight is slow: a gateway may hold the responses for some
# predictions, and the other polls must not wait for these.
SLOW_AFTER = 1.0

# Seconds: polls that become due within this time are sent in a row. That takes half the CPU time of
# single polls: caches are warm then, and the event loop wakes less often.
SHORTEST_REST = 0.1

LAST_POLL = 5.0  # seconds that a poll at, or after, a wait's deadline may still take

# The durations of models that this process has seen, through any connection.
HISTORIES = Histories()

_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(quickrouter_conn_id: str) -> AsyncIterator[Poller]:
    """Yield the poller of a connection in this event loop; the last user closes it."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.setdefault(quickrouter_conn_id, Poller(quickrouter_conn_id))
    poller.users += 1
    try:
        # The polls meet the same error, and decide whether it ends their wait.
        with suppress(QuickRouterError):
            await poller.connected(FRESH)
        yield poller
    finally:
        poller.users -= 1
        if not poller.users:
            del pollers[quickrouter_conn_id]
            await poller.close()


async def new_hook(poller: Poller | None, quickrouter_conn_id: str) -> QuickRouterHook:
    """Return a hook with its own session; it shares the settings of the poller's hook."""
    if poller and poller.hook:
        return poller.hook.sibling()
    return await sync_to_async(make_hook)(quickrouter_conn_id)


def make_hook(quickrouter_conn_id: str) -> QuickRouterHook:
    """Make a hook. Blocks: importing the HTTP clients takes half a second."""
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    return QuickRouterHook(quickrouter_conn_id)


class Poller:
    """Send the polls of all waits of one connection; ``users`` counts the triggers that share it."""

    def __init__(self, quickrouter_conn_id: str) -> None:
        self.users = 0
        self.schedule = Schedule(RateLimit(slack=SHORTEST_REST))
        # The open hook; another one once the connection has changed; None before it was read.
        self.hook: QuickRouterHook | None = None
        self._conn_id = quickrouter_conn_id
        self._reading = asyncio.Lock()
        self._read_at = self._failed_at = -math.inf
        self._error: QuickRouterError | None = None
        self._refused: QuickRouterHook | None = None
        self._changed = asyncio.Event()
        self._resting_until = math.inf
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._requests: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        # Epoch seconds that run on evenly when the machine's clock is set.
        self._offset = time.time() - time.monotonic()

    async def wait_for(self, poll: Poll, log: Any = None) -> Outcome:
        """Wait for the end of a prediction.

        :param log: gets messages, in the context of the caller; None logs nothing.
        """
        check_id(poll.prediction_id)
        end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        context = copy_context()

        def log_step(step: Again) -> None:
            if log is not None:
                context.run(step.log_to, log)

        def settle(result: Outcome | BaseException) -> None:
            if not end.done():
                end.set_result(result) if isinstance(result, Outcome) else end.set_exception(result)

        entry = Entry(poll, log_step, settle)
        self.schedule.add(entry, self._now())
        self._changed.set()
        if self._loop is None or self._loop.done():
            # In a context of its own: the first trigger's would send all lines into its log.
            self._loop = asyncio.create_task(self._run(), context=Context())
        left = None if poll.deadline is None else max(0.0, poll.deadline - self._now()) + LAST_POLL
        try:
            async with asyncio.timeout(left):
                return await end
        except TimeoutError:
            poll.error = poll.error or ConnectionLostError("no response before the deadline")
            return poll.timed_out()
        finally:
            self.schedule.remove(entry)

    async def connected(self, max_age: float = math.inf) -> QuickRouterHook:
        """Return the open hook, with settings that were read at most ``max_age`` seconds ago.

        :raises QuickRouterError: the connection cannot be read, or cannot be used.
        """
        async with self._reading:
            if self.hook and time.monotonic() - self._read_at <= max_age:
                return self.hook
            if self._error and time.monotonic() - self._failed_at <= SHORTEST_REFRESH:
                raise self._error
            try:
                self.hook = await self._read_connection(self.hook)
            except QuickRouterError as error:
                self._error, self._failed_at = error, time.monotonic()
                raise
            self._read_at, self._error = time.monotonic(), None
            return self.hook

    async def _read_connection(self, old: QuickRouterHook | None) -> QuickRouterHook:
        """Return the open hook if its settings are still those of the connection, else a new one."""
        hook = await sync_to_async(make_hook)(self._conn_id)
        settings = await hook.aload()
        if old and settings == old.settings:
            return old
        await hook.__aenter__()
        self.schedule.rate_limit.per_minute = settings.requests_per_minute
        if old:
            await old.__aexit__()
        return hook

    async def close(self) -> None:
        """End the requests that no trigger waits for any more, and the session."""
        tasks = [*self._requests, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # Airflow may cancel a trigger once more
            if self.hook:
                await self.hook.__aexit__()

    def _now(self) -> float:
        return self._offset + time.monotonic()

    async def _run(self) -> None:
        try:
            while self.schedule:
                self._changed.clear()
                step = self.schedule.next(self._now())
                if isinstance(step, float):
                    await self._rest(max(step, SHORTEST_REST))
                else:
                    await self._slots.acquire()
                    self._send(step)
        except Exception as error:  # noqa: BLE001  # no wait may hang because of a bug here
            for entry in list(self.schedule):
                entry.settle(error)

    async def _rest(self, seconds: float) -> None:
        self._resting_until = self._now() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _send(self, step: Entry | ListPoll) -> None:
        """Send a poll, or request a page, in a task; free its slot when it is over or slow."""
        loop = asyncio.get_running_loop()
        slow = loop.call_later(SLOW_AFTER, self._slots.release)

        def done(task: asyncio.Task[None]) -> None:
            self._requests.discard(task)
            if loop.time() < slow.when():  # else its slot is free by now
                slow.cancel()
                self._slots.release()
            if isinstance(step, ListPoll) or step.due < self._resting_until:
                self._changed.set()

        send = self._poll(step) if isinstance(step, Entry) else self._get_page(step)
        task = asyncio.create_task(send)
        self._requests.add(task)
        task.add_done_callback(done)

    async def _poll(self, entry: Entry) -> None:
        sent_at = time.monotonic()
        try:
            prediction = await self._get(entry.poll.prediction_id)
        except QuickRouterError as error:
            slow = time.monotonic() - sent_at >= SLOW_AFTER
            entry.hung = slow and isinstance(error, ConnectionLostError)
            self.schedule.on_error(entry, error, self._now())
        except Exception as error:  # noqa: BLE001  # its wait must not hang because of a bug
            entry.settle(error)
        else:
            entry.hung = False
            self.schedule.on_prediction(entry, prediction, self._now())

    async def _get(self, prediction_id: str) -> Prediction:
        request, hook = get(prediction_id), self.hook or await self.connected()
        try:
            return await self._request(hook, request, hook.reader(request))
        except AuthenticationError:
            # The key may have been replaced since the connection was read.
            max_age = SHORTEST_REFRESH if self._refused is hook else 0.0
            self._refused = hook
            other = await self.connected(max_age if self.hook is hook else math.inf)
            if other is hook:
                raise
        return await self._request(other, request, other.reader(request))

    async def _get_page(self, list_poll: ListPoll) -> None:
        try:
            hook = self.hook or await self.connected()
            found, cursor = await self._request(hook, page(list_poll.cursor), read_page)
        except QuickRouterError as error:
            list_poll.on_error(error, self._now())
        else:
            self.schedule.on_page(found, cursor, self._now())

    async def _request(self, hook: QuickRouterHook, request: Request, read: Reader[Value]) -> Value:
        response = await hook.asend(request)
        self.schedule.rate_limit.on_headers(self._now(), response.headers)
        try:
            return await hook.aread(read, response)
        except RateLimitError as error:
            self.schedule.rate_limit.on_refusal(self._now(), error.retry_after)
            raise
