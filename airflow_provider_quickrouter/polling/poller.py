"""One poller for each connection in an event loop, shared by all triggers that wait there.

It keeps one session with few connections and sends what its :class:`Schedule` returns. It begins
with the first trigger and ends with the last one; only the histories of models stay.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
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
from airflow_provider_quickrouter.api.protocol import Request, Response, page
from airflow_provider_quickrouter.polling.history import Histories
from airflow_provider_quickrouter.polling.list_sweep import Sweep
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.polling.schedule import Entry, Schedule

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


# Seconds for which a connection's settings are used before a new wait has them read again.
FRESH = 60.0

# Seconds for which a key that was refused, or a connection that cannot be read, is not read again:
# thousands of waits may ask for it.
SHORTEST_REFRESH = 5.0

AT_ONCE = 12  # requests in flight at the same time, apart from slow ones

# Seconds after which a request in flight no longer counts among them: a gateway may hold the
# responses for some predictions, and the other polls must not wait for these.
SLOW_AFTER = 1.0

# Seconds: polls that become due within it are sent in a row, at half the CPU time of single ones:
# caches are warm then, and the event loop wakes less often.
SHORTEST_REST = 0.1

LAST_POLL = 5.0  # seconds that a poll at, or after, a wait's deadline may still take

# What this process has learned of models, whichever connection they were run through.
HISTORIES = Histories()

_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(quickrouter_conn_id: str) -> AsyncIterator[Poller]:
    """Give the poller of a connection in this event loop; the last one to leave closes it."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.setdefault(quickrouter_conn_id, Poller(quickrouter_conn_id))
    poller.users += 1
    try:
        # An error comes again with the polls, which know whether it ends their wait.
        with suppress(QuickRouterError):
            await poller.connected(FRESH)
        yield poller
    finally:
        poller.users -= 1
        if not poller.users:
            del pollers[quickrouter_conn_id]
            await poller.close()


async def new_hook(poller: Poller | None, quickrouter_conn_id: str) -> QuickRouterHook:
    """Return a hook with a session of its own; it shares the settings of the poller's hook."""
    if poller and poller.hook:
        return poller.hook.sibling()
    return await sync_to_async(make_hook)(quickrouter_conn_id)


def make_hook(quickrouter_conn_id: str) -> QuickRouterHook:
    """Make a hook. Blocks: importing the HTTP clients takes half a second."""
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    return QuickRouterHook(quickrouter_conn_id)


class CachedHook:
    """An open hook, replaced by another one when its connection was found to have changed.

    :param on_change: is called with each hook that comes into use.
    """

    def __init__(self, conn_id: str, on_change: Callable[[QuickRouterHook], None]) -> None:
        self.hook: QuickRouterHook | None = None
        self._conn_id, self._on_change = conn_id, on_change
        self._lock = asyncio.Lock()
        self._read_at = -math.inf
        self._refused: QuickRouterHook | None = None
        self._error: tuple[QuickRouterError, float] | None = None

    async def get(self, max_age: float = math.inf) -> QuickRouterHook:
        """Return the hook, with settings that were read at most ``max_age`` seconds ago.

        :raises QuickRouterError: the connection cannot be read, or cannot be used.
        """
        async with self._lock:
            if self.hook and time.monotonic() - self._read_at <= max_age:
                return self.hook
            if self._error and time.monotonic() - self._error[1] <= SHORTEST_REFRESH:
                raise self._error[0]
            try:
                self.hook = await self._read()
            except QuickRouterError as error:
                self._error = error, time.monotonic()
                raise
            self._read_at, self._error = time.monotonic(), None
            return self.hook

    async def other_than(self, refused: QuickRouterHook) -> QuickRouterHook | None:
        """Return a hook with another key than one whose key was refused; None if there is none."""
        repeated, self._refused = self._refused is refused, refused
        if self.hook is refused:
            await self.get(SHORTEST_REFRESH if repeated else 0.0)
        return None if self.hook is refused else self.hook

    async def close(self) -> None:
        """Close the session."""
        if self.hook:
            await self.hook.__aexit__()

    async def _read(self) -> QuickRouterHook:
        old, hook = self.hook, await sync_to_async(make_hook)(self._conn_id)
        settings = await hook.aload()
        if old and settings == old.settings:
            return old
        await hook.__aenter__()
        self._on_change(hook)
        if old:
            await old.__aexit__()
        return hook


class Poller:
    """Send the polls of all waits of one connection.

    :ivar users: how many triggers share it.
    """

    def __init__(self, quickrouter_conn_id: str) -> None:
        self.users = 0
        self.schedule = Schedule(RateLimit(slack=SHORTEST_REST))
        self._cached = CachedHook(quickrouter_conn_id, self._use_rate_of)
        self._changed = asyncio.Event()
        self._resting_until = math.inf
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._requests: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        # Epoch seconds that go on evenly when somebody sets the machine's clock.
        self._offset = time.time() - time.monotonic()

    @property
    def hook(self) -> QuickRouterHook | None:
        """The open hook; another one after the connection has changed; None before it was read."""
        return self._cached.hook

    async def connected(self, max_age: float = math.inf) -> QuickRouterHook:
        """Return the open hook, with settings that were read at most ``max_age`` seconds ago.

        :raises QuickRouterError: the connection cannot be read, or cannot be used.
        """
        return await self._cached.get(max_age)

    def prediction_url(self, prediction_id: str) -> str:
        """Where a person looks at a prediction; "" as long as the connection was not read."""
        return self.hook.prediction_url(prediction_id) if self.hook else ""

    async def wait_for(self, poll: Poll, log: Any = None) -> Outcome:
        """Wait for the end of a prediction.

        :param log: gets messages, in the context of the caller; None logs nothing.
        """
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        context = copy_context()

        def log_step(step: Again) -> None:
            if log is not None:
                context.run(step.log_to, log)

        entry = Entry(poll, log_step, partial(_settle, settled))
        self.schedule.add(entry, self._now())
        self._wake()
        left = None if poll.deadline is None else max(0.0, poll.deadline - self._now()) + LAST_POLL
        try:
            async with asyncio.timeout(left):
                return await settled
        except TimeoutError:
            poll.error = poll.error or ConnectionLostError("no response before the deadline")
            return poll.timed_out()
        finally:
            self.schedule.remove(entry)

    async def close(self) -> None:
        """End the requests that no trigger waits for any more, and the session."""
        tasks = [*self._requests, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # Airflow may cancel a trigger once more
            await self._cached.close()

    def _now(self) -> float:
        return self._offset + time.monotonic()

    def _use_rate_of(self, hook: QuickRouterHook) -> None:
        self.schedule.rate_limit.per_minute = hook.settings.requests_per_minute

    def _wake(self) -> None:
        self._changed.set()
        if self._loop is None or self._loop.done():
            # In a context of its own: the first trigger's would send all lines into its log.
            self._loop = asyncio.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        try:
            while self.schedule:
                self._changed.clear()
                step = self.schedule.next(self._now())
                if isinstance(step, float):
                    await self._rest(max(step, SHORTEST_REST))
                else:
                    await self._slots.acquire()
                    self._begin(step)
        except Exception as error:  # noqa: BLE001  # no wait may hang because of a bug here
            for entry in list(self.schedule):
                entry.settle(error)

    async def _rest(self, seconds: float) -> None:
        self._resting_until = self._now() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _begin(self, step: Entry | Sweep) -> None:
        send = self._poll(step) if isinstance(step, Entry) else self._read_page(step)
        task = asyncio.create_task(send)
        has_slot = True

        def free_slot() -> None:
            nonlocal has_slot
            if has_slot:
                has_slot = False
                self._slots.release()

        def done(task: asyncio.Task[None]) -> None:
            self._requests.discard(task)
            slow.cancel()
            free_slot()
            if isinstance(step, Sweep) or step.due < self._resting_until:
                self._changed.set()

        slow = asyncio.get_running_loop().call_later(SLOW_AFTER, free_slot)
        self._requests.add(task)
        task.add_done_callback(done)

    async def _poll(self, entry: Entry) -> None:
        sent_at = time.monotonic()
        try:
            prediction = await self._get(entry.request)
        except QuickRouterError as error:
            self._slow_down(error)
            slow = time.monotonic() - sent_at >= SLOW_AFTER
            entry.hung = slow and isinstance(error, ConnectionLostError)
            self.schedule.on_error(entry, error, self._now())
        except Exception as error:  # noqa: BLE001  # its wait must not hang because of a bug
            entry.settle(error)
        else:
            entry.hung = False
            self.schedule.on_prediction(entry, prediction, self._now())

    async def _get(self, request: Request) -> Prediction:
        hook = self.hook or await self.connected()
        try:
            return await hook.aread(request, await self._send(hook, request))
        except AuthenticationError:
            # The key may have been replaced since the connection was read.
            other = await self._cached.other_than(hook)
            if other is None:
                raise
            return await other.aread(request, await self._send(other, request))

    async def _read_page(self, sweep: Sweep) -> None:
        try:
            hook = self.hook or await self.connected()
            found, cursor = await hook.aread_page(await self._send(hook, page(sweep.cursor)))
        except QuickRouterError as error:
            self._slow_down(error)
            self.schedule.on_page_error(error, self._now())
        else:
            self.schedule.on_page(found, cursor, self._now())

    async def _send(self, hook: QuickRouterHook, request: Request) -> Response:
        response = await hook.asend(request)
        self.schedule.rate_limit.on_headers(self._now(), response.headers)
        return response

    def _slow_down(self, error: QuickRouterError) -> None:
        if isinstance(error, RateLimitError):
            self.schedule.rate_limit.on_refusal(self._now(), error.retry_after)


def _settle(settled: asyncio.Future[Outcome], end: Outcome | BaseException) -> None:
    if settled.done():
        return
    if isinstance(end, Outcome):
        settled.set_result(end)
    else:
        settled.set_exception(end)
