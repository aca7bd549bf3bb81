"""Waiting for the predictions of a batch, and storing the files of each when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

from airflow_provider_quickrouter.api.errors import ConnectionLostError, FileUnavailable, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.batch.journal import Journal
from airflow_provider_quickrouter.batch.ledger import ItemResult, State, progress_line
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.polling.history import Timeline
from airflow_provider_quickrouter.polling.poll import Poll
from airflow_provider_quickrouter.polling.poller import HISTORIES, Poller
from airflow_provider_quickrouter.storage.store import Storing
from airflow_provider_quickrouter.storage.target import Target, reason_of
from airflow_provider_quickrouter.submission.cancel import (
    CANCELS_AT_ONCE,
    cancel_in_thread,
    may_run_on,
    not_canceled,
)
from airflow_provider_quickrouter.tasks.reporting import count_end

STORED_AT_ONCE = 12  # items whose files are stored at the same time, each in a thread
LAST_CANCELS = 45.0  # seconds after the deadline in which the rest may be canceled
PROGRESS_EVERY = 10.0  # seconds between two log lines about how far the batch is


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Do what a ``TaskGroup`` does, but raise its first error instead of a group of them."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None


class Waits:
    """The waits for the predictions of one batch.

    :param deadline: of the whole batch, epoch seconds.
    :param target: where the files of each success are stored; None stores none.
    :param leaves_rest: what could not be canceled at the deadline counts as running still, so that
        a worker retries.
    """

    def __init__(
        self,
        journal: Journal,
        poller: Poller,
        deadline: float,
        log: Any,
        target: Target | None = None,
        *,
        leaves_rest: bool = False,
    ) -> None:
        self.journal, self.ledger, self.deadline = journal, journal.ledger, deadline
        self.tally = self.ledger.ended()
        self._poller, self._log, self._target, self._leaves_rest = poller, log, target, leaves_rest
        self._began, self._done_before = time.time(), self.tally.done
        self._cancels = asyncio.Semaphore(CANCELS_AT_ONCE)
        self._stores = asyncio.Semaphore(STORED_AT_ONCE)
        # The tasks whose prediction is over: its files are stored, and then its end.
        self.ending = WeakSet[Any]()

    @asynccontextmanager
    async def progress_logged(self) -> AsyncIterator[None]:
        """Log every ten seconds, and at the end, how far the batch is."""

        async def log_progress() -> None:
            while True:
                await asyncio.sleep(PROGRESS_EVERY)
                self._log_progress()

        logging = asyncio.create_task(log_progress())
        try:
            yield
        finally:
            logging.cancel()
            self._log_progress()

    def _log_progress(self) -> None:
        seconds, done = time.time() - self._began, self.tally.done - self._done_before
        running = self.ledger.count(State.RUNNING)
        self._log.info(progress_line(self.tally, running, done, seconds))

    async def wait_for_all(self) -> None:
        """Wait for all that were submitted and are not over."""
        async with task_group() as group:
            for index in list(self.ledger.those(State.RUNNING)):
                group.create_task(self.wait_for(index))

    async def wait_for(self, index: int) -> None:
        """Wait for the prediction of an item, and store how it ended."""
        began = self.ledger.started[index]
        prediction_id, timeline = str(self.ledger.ids[index]), Timeline(HISTORIES, began)
        poll = Poll(prediction_id, began, self.deadline, timeline=timeline, unfinished_at=began)
        outcome = await self._poller.wait_for(poll)
        if outcome.timed_out:
            outcome = await self._cancel(outcome)
            if self._leaves_rest and may_run_on(outcome.stopped):
                return
        self.ending.add(asyncio.current_task())
        await asyncio.to_thread(count_end, outcome, time.time())
        result = ItemResult.of(index, outcome)
        if self._target and outcome.prediction and outcome.reason is Reason.SUCCEEDED:
            result = await self._with_files(result, outcome.prediction)
        await self.end(index, result)

    async def _with_files(self, result: ItemResult, prediction: Prediction) -> ItemResult:
        """Store the files of a success in a thread; return its result with them, or with the error."""
        # What succeeds is logged at level DEBUG, since there are thousands.
        log = SimpleNamespace(info=self._log.debug, warning=self._log.warning)
        async with self._stores:
            storing: Storing | None = None
            try:
                hook = await self._poller.connected()
                storing = Storing(hook.sibling(), log, path=self._target)
                store = partial(storing.store_prediction, prediction)
                return result.with_files(await asyncio.wrap_future(threads.start(store)))
            except QuickRouterError as error:
                return result.without_files(error)
            except Exception as error:  # noqa: BLE001  # a storage's client raises what it likes
                reason = f"{type(error).__name__}: {reason_of(error)}"
                return result.without_files(FileUnavailable(f"The files could not be stored ({reason})."))
            finally:
                if storing:
                    storing.stop()  # a canceled wait leaves its thread

    async def end(self, index: int, result: ItemResult) -> None:
        """Store how an item ended."""
        end = {"i": index, "end": result.line, "retry": result.retry, "cost": result.line["cost"]}
        await self.journal.put(end)
        self.tally.add(result.outcome, result.retry)

    async def _cancel(self, outcome: Outcome) -> Outcome:
        """Cancel what did not end in time, and poll it again: it may have ended by now."""
        prediction_id = outcome.prediction_id
        stopped = replace(outcome, stopped=not_canceled(ConnectionLostError("no response in time")))
        # Where nothing ran this at the deadline, the cancel requests are sent only now.
        until = max(self.deadline, self._began) + LAST_CANCELS
        with suppress(TimeoutError, QuickRouterError):
            async with asyncio.timeout(max(0.0, until - time.time())):
                hook = await self._poller.connected()
                async with self._cancels:
                    result = await cancel_in_thread(hook, prediction_id)
                stopped = replace(outcome, stopped=result)
                return stopped.updated_by(await hook.aget_prediction(prediction_id), time.time())
        return stopped
