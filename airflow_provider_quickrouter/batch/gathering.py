"""Waiting for the predictions of a batch, on a worker or in the triggerer: the same code.

Each end is stored as it comes, since the API deletes it an hour later. Nothing is created here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_quickrouter.api.errors import ConnectionLostError, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.batch.journal import Journal
from airflow_provider_quickrouter.batch.lines import Lines, State
from airflow_provider_quickrouter.batch.summary import End, Pulse, Tally
from airflow_provider_quickrouter.polling.history import Course
from airflow_provider_quickrouter.polling.poll import Watch
from airflow_provider_quickrouter.polling.poller import HISTORIES, Poller
from airflow_provider_quickrouter.submission.cancel import (
    CANCELS_AT_ONCE,
    astop_prediction,
    may_run_on,
    not_canceled,
)
from airflow_provider_quickrouter.tasks import metrics

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
        outcome = await self.poller.outcome(self._watch(index))
        if outcome.timed_out:
            outcome = await self._stopped(outcome)
            if self.leaves_rest and may_run_on(outcome.stopped):
                return
        await asyncio.to_thread(metrics.ended, outcome, time.time())
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

    def _watch(self, index: int) -> Watch:
        began = self.lines.begun[index]
        course = Course(HISTORIES, began)
        return Watch(str(self.lines.ids[index]), began, self.deadline, course=course)

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
                    told = await astop_prediction(hook, prediction_id)
                stopped = replace(outcome, stopped=told)
                return stopped.seen_again(await hook.aget_prediction(prediction_id), time.time())
        return stopped
