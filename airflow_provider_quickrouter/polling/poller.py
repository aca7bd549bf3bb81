"""One poller for each connection in an event loop, shared by all triggers that wait there.

It keeps one session with few connections and sends what its :class:`Agenda` says. It begins with
the first trigger and ends with the last one; only what it has learned of models stays.
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
    UpstreamError,
)
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import (
    Answer,
    Request,
    page,
    plainly_still,
)
from airflow_provider_quickrouter.polling.agenda import Agenda, Wait
from airflow_provider_quickrouter.polling.history import Histories
from airflow_provider_quickrouter.polling.list_sweep import Sweep
from airflow_provider_quickrouter.polling.poll import Again, Watch, percentage
from airflow_provider_quickrouter.polling.rate_limit import Budget

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


FRESH = 60.0
"""Seconds for which the connection's settings are used before a new wait has them read again."""

SHORTEST_REFRESH = 5.0
"""Seconds for which a key that was refused before is not read again."""


class KeptHook:
    """One open hook, replaced by another one when its connection was found to have changed.

    :param changed: is told of each hook that comes into use.
    """

    def __init__(
        self, quickrouter_conn_id: str, changed: Callable[[QuickRouterHook], None]
    ) -> None:
        self._conn_id = quickrouter_conn_id
        self._changed = changed
        self._reading = asyncio.Lock()
        self._read_at = -math.inf
        self._hook: QuickRouterHook | None = None
        self._refused: QuickRouterHook | None = None
        self._unreadable: tuple[QuickRouterError, float] | None = None

    @property
    def hook(self) -> QuickRouterHook | None:
        """The hook that is in use; None as long as the connection could not be read."""
        return self._hook

    async def opened(self) -> QuickRouterHook:
        """Return the hook that is in use; read the connection first if need be.

        :raises QuickRouterError: the connection cannot be read, or cannot be used. Thousands of
            waits do not read it more often than every five seconds.
        """
        if self._hook is None:
            await self.refresh(SHORTEST_REFRESH)
        if self._hook is None:
            raise RuntimeError("a connection was read, but no session opened")
        return self._hook

    async def ready(self) -> None:
        """Open the session; a while later look whether the connection has changed.

        If Airflow cannot tell then, what it told before holds.
        """
        try:
            await self.refresh(FRESH)
        except UpstreamError:
            if self._hook is None:
                raise

    async def replaces(self, refused: QuickRouterHook) -> bool:
        """Whether another hook than the one whose key was refused is in use now."""
        again, self._refused = self._refused is refused, refused
        if self._hook is refused:
            await self.refresh(SHORTEST_REFRESH if again else 0.0)
        return self._hook is not refused

    async def refresh(self, age: float) -> None:
        """Read the connection again if that is longer ago than ``age`` seconds."""
        async with self._reading:
            now = time.monotonic()
            if now - self._read_at <= age:
                return
            if self._unreadable and now - self._unreadable[1] <= SHORTEST_REFRESH:
                raise self._unreadable[0]
            try:
                await self._read()
            except QuickRouterError as error:
                self._unreadable = error, time.monotonic()
                raise
            self._read_at, self._unreadable = time.monotonic(), None

    async def _read(self) -> None:
        hook = await sync_to_async(make_hook)(self._conn_id)
        settings = await hook.aload()
        if not self._hook or settings != self._hook.settings:
            await self._use(await hook.__aenter__())

    async def close(self) -> None:
        """Close the session."""
        if self._hook:
            await self._hook.__aexit__()

    async def _use(self, hook: QuickRouterHook) -> None:
        old, self._hook = self._hook, hook
        self._changed(hook)
        if old:
            await old.__aexit__()


def make_hook(quickrouter_conn_id: str) -> QuickRouterHook:
    """Make a hook; blocks."""
    # In a thread: importing the HTTP clients takes half a second.
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    return QuickRouterHook(quickrouter_conn_id)


AT_ONCE = 12
"""Polls on their way at the same time, apart from those that take long."""

SLOW_AFTER = 1.0
"""Seconds after which a poll on its way no longer counts among them: a gateway may hold the
responses for some predictions, and the others must not wait for these."""

SHORTEST_REST = 0.1
"""Seconds: waits that become due within it are asked in a row, at half the CPU time of single
ones: caches are warm then, and the event loop wakes less often."""

LAST_QUESTION = 5.0
"""Seconds that a question at, or after, a wait's deadline may still take."""

HISTORIES = Histories()
"""What this process has learned of models, whichever connection they were run through."""

_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(quickrouter_conn_id: str) -> AsyncIterator[Poller]:
    """Give the poller of a connection in this event loop; the last one to leave closes it."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(quickrouter_conn_id) or Poller(quickrouter_conn_id)
    pollers[quickrouter_conn_id] = poller
    poller.users += 1
    try:
        await poller.ready()
        yield poller
    finally:
        poller.users -= 1
        if not poller.users:
            del pollers[quickrouter_conn_id]
            await poller.close()


async def spare_hook(poller: Poller | None, quickrouter_conn_id: str) -> QuickRouterHook:
    """Make a hook with a session of its own; what the poller has read is not read again."""
    if poller and poller.hook:
        return poller.hook.sibling()
    return await sync_to_async(make_hook)(quickrouter_conn_id)


class Poller:
    """Ask for all registered waits of one connection.

    :ivar users: how many triggers share it.
    """

    def __init__(self, quickrouter_conn_id: str) -> None:
        self.users = 0
        self.agenda = Agenda(Budget(slack=SHORTEST_REST))
        self._kept = KeptHook(quickrouter_conn_id, self._use_rate_of)
        self._news = asyncio.Event()
        self._resting_until = math.inf
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._questions: dict[asyncio.Task[None], float] = {}
        self._slow: set[asyncio.Task[None]] = set()
        self._make_room_at: asyncio.TimerHandle | None = None
        self._loop: asyncio.Task[None] | None = None

    @property
    def hook(self) -> QuickRouterHook | None:
        """The hook whose session is used: another one after the connection has changed.

        None as long as the connection could not be read.
        """
        return self._kept.hook

    async def ready(self) -> None:
        """Open the session; a while later look whether the connection has changed.

        An error is met again by the polls, which know whether it ends their wait.
        """
        with suppress(QuickRouterError):
            await self._kept.ready()

    async def connected(self) -> QuickRouterHook:
        """Return the open hook.

        :raises QuickRouterError: the connection cannot be read, or cannot be used.
        """
        return await self._kept.opened()

    def prediction_url(self, prediction_id: str) -> str:
        """Where a person looks at a prediction; "" as long as the connection was not read."""
        return self.hook.prediction_url(prediction_id) if self.hook else ""

    def _use_rate_of(self, hook: QuickRouterHook) -> None:
        self.agenda.budget.per_minute = hook.settings.requests_per_minute

    async def outcome(self, watch: Watch, log: Any = None) -> Outcome:
        """Wait for the end of what is watched.

        :param log: takes lines, in the context of who waits; None logs nothing.
        """
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        context = copy_context()

        def log_step(step: Again) -> None:
            if log is not None:
                context.run(step.log_to, log)

        wait = Wait(watch, log_step, partial(_settle, settled))
        self.agenda.enter(wait, time.time())
        self._wake()
        try:
            async with asyncio.timeout(_longest(watch)):
                return await settled
        except TimeoutError:
            watch.trouble = watch.trouble or ConnectionLostError("no answer before the deadline")
            return watch.timed_out()
        finally:
            self.agenda.leave(wait)

    async def close(self) -> None:
        """End the questions that nobody waits for any more, and the session."""
        if self._make_room_at:
            self._make_room_at.cancel()
        tasks = [*self._questions, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # Airflow may cancel a trigger once more
            await self._kept.close()

    def _wake(self) -> None:
        self._news.set()
        if self._loop is None or self._loop.done():
            # In a context of its own: the first trigger's would send all lines into its log.
            self._loop = asyncio.create_task(self._run(), context=Context())
            self._loop.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self.agenda:
            self._news.clear()
            step = self.agenda.next(time.time())
            if isinstance(step, float):
                await self._rest(max(step, SHORTEST_REST))
            else:
                await self._slots.acquire()
                self._begin(step)

    async def _rest(self, seconds: float) -> None:
        self._resting_until = time.time() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _begin(self, step: Wait | Sweep) -> None:
        ask = self._ask(step) if isinstance(step, Wait) else self._read(step)
        task = asyncio.create_task(ask)
        self._questions[task] = time.monotonic()
        task.add_done_callback(partial(self._answered, step))
        if self._make_room_at is None:
            loop = asyncio.get_running_loop()
            self._make_room_at = loop.call_later(SLOW_AFTER / 2, self._make_room)

    def _make_room(self) -> None:
        """Let no poll that takes long hold a slot; look again while any are on their way."""
        long_ago = time.monotonic() - SLOW_AFTER
        for task, sent_at in self._questions.items():
            if sent_at <= long_ago and task not in self._slow:
                self._slow.add(task)
                self._slots.release()
        again = self._questions and asyncio.get_running_loop()
        self._make_room_at = again.call_later(SLOW_AFTER / 2, self._make_room) if again else None

    def _answered(self, step: Wait | Sweep, task: asyncio.Task[None]) -> None:
        del self._questions[task]
        if task in self._slow:
            self._slow.discard(task)
        else:
            self._slots.release()
        if isinstance(step, Sweep) or step.due < self._resting_until:
            self._news.set()
        _pass_on(task, [step] if isinstance(step, Wait) else list(self.agenda))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for ever after a mistake in this program."""
        _pass_on(task, list(self.agenda))

    async def _ask(self, wait: Wait) -> None:
        sent_at = time.monotonic()
        try:
            hook = await self.connected()
            answer, last = await self._send(hook, wait.request), wait.watch.last
            if last and plainly_still(last, answer):
                self.agenda.still(wait, last, percentage(answer.body), time.time())
            else:
                self.agenda.saw(wait, await self._seen(hook, wait.request, answer), time.time())
        except QuickRouterError as error:
            now = self._heed(error)
            hangs = time.monotonic() - sent_at >= SLOW_AFTER
            wait.hangs = hangs and isinstance(error, ConnectionLostError)
            self.agenda.answered(wait, wait.watch.failed(error, now), now)
        else:
            wait.hangs = False

    async def _read(self, sweep: Sweep) -> None:
        try:
            hook = await self.connected()
            answer = await self._send(hook, page(sweep.cursor))
            found, cursor = await hook.aread_page(answer)
        except QuickRouterError as error:
            self.agenda.unread(error, self._heed(error))
        else:
            self.agenda.read(found, cursor, time.time())

    async def _seen(self, hook: QuickRouterHook, request: Request, answer: Answer) -> Prediction:
        """Read an answer; a key that was refused may have been replaced since it was read."""
        try:
            return await hook.aread(request, answer)
        except AuthenticationError:
            if not await self._kept.replaces(hook):
                raise
            hook = await self.connected()
            return await hook.aread(request, await self._send(hook, request))

    async def _send(self, hook: QuickRouterHook, request: Request) -> Answer:
        answer = await hook.asend(request)
        self.agenda.budget.told(time.time(), answer.headers)
        return answer

    def _heed(self, error: QuickRouterError) -> float:
        """Slow down after a 429; return the time."""
        now = time.time()
        if isinstance(error, RateLimitError):
            self.agenda.budget.refused(now, error.retry_after)
        return now


def _longest(watch: Watch) -> float | None:
    """Seconds after which a wait ends even if no answer comes; None without a deadline."""
    if watch.deadline is None:
        return None
    return max(0.0, watch.deadline - time.time()) + LAST_QUESTION


def _settle(settled: asyncio.Future[Outcome], end: Outcome | BaseException) -> None:
    if settled.done():
        return
    if isinstance(end, Outcome):
        settled.set_result(end)
    else:
        settled.set_exception(end)


def _pass_on(task: asyncio.Task[None], waits: list[Wait]) -> None:
    if task.cancelled() or not (error := task.exception()):
        return
    for wait in waits:
        wait.settle(error)
