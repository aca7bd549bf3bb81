"""Stopping a prediction when Airflow kills the task that waits for it: bounded, never raising."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.submission.stopping import (
    CANCEL_PAUSES,
    CANCELS_AT_ONCE,
    TRIGGERER_BUDGET,
    TRIGGERER_LIMIT,
    TRIGGERER_QUESTION,
    WORKER_BUDGET,
    WORKER_QUESTION,
    canceled,
    is_over,
    may_run_on,
    not_canceled,
    tell,
)

LATE = "Prediction %s could not be canceled in time and may run on"
LEFT = "Leaving prediction %s running: its task is not over, or Airflow does not say so"
ALL_LEFT = "Leaving %d predictions running: their task is not over, or Airflow does not say so"
UNKNOWN = "Airflow did not report the state of this task"

TO_TELL = 0.2
"""Seconds of a killed task's time that are kept for saying what was not done."""


def stop_prediction(hook: QuickRouterHook, prediction_id: str) -> str:
    """Cancel as well as possible; say in a sentence what became of it. Blocks, maybe for long."""
    told = ""
    for pause in CANCEL_PAUSES:
        time.sleep(pause)
        try:
            return canceled(hook.cancel_prediction(prediction_id))
        except QuickRouterError as error:
            told = not_canceled(error)
            if not error.transient:
                break
    return told


async def astop_prediction(hook: QuickRouterHook, prediction_id: str) -> str:
    """Do what :func:`stop_prediction` does without blocking the event loop."""
    told = ""
    for pause in CANCEL_PAUSES:
        await asyncio.sleep(pause)
        try:
            return canceled(await hook.acancel_prediction(prediction_id))
        except QuickRouterError as error:
            told = not_canceled(error)
            if not error.transient:
                break
    return told


@dataclass(frozen=True)
class Owner:
    """The task instance that a prediction belongs to.

    :ivar ti: the task instance.
    :ivar resumable: its next attempt resumes the prediction.
    :ivar over: it is known to be over, as at its ``execution_timeout``.
    """

    ti: Any
    resumable: bool = True
    over: bool = False

    def is_over(self) -> bool:
        """Whether Airflow says that no attempt waits for the prediction. Blocks.

        Whatever it raises means that Airflow does not say.
        """
        return self.over or is_over(_state_of(self.ti), resumable=self.resumable)


def stop(
    make_hook: Callable[[], QuickRouterHook], prediction_id: str, owner: Owner, log: Any
) -> None:
    """Cancel on a worker, but only if Airflow says that the task is over.

    Takes 4 s at most. In a thread of its own, since a signal handler calls this, and what it
    interrupted may hold any lock.
    """

    def work() -> bool:
        if _is_over(owner, log):
            tell(log, prediction_id, stop_prediction(make_hook(), prediction_id))
        else:
            log.info(LEFT, prediction_id)
        return True

    _within(WORKER_BUDGET, work, log, LATE, prediction_id)


async def astop(hook: QuickRouterHook, prediction_id: str, owner: Owner, log: Any) -> None:
    """Do what :func:`stop` does in the triggerer: in 14 s, however often it is cancelled."""
    await _to_its_end(_stop(hook, prediction_id, owner, log))


async def _stop(hook: QuickRouterHook, prediction_id: str, owner: Owner, log: Any) -> None:
    try:
        if not await _ais_over(owner, log):
            log.info(LEFT, prediction_id)
            return
        async with asyncio.timeout(TRIGGERER_BUDGET), hook:
            tell(log, prediction_id, await astop_prediction(hook, prediction_id))
    except Exception:
        log.exception(LATE, prediction_id)


def stop_many(
    make_hook: Callable[[], QuickRouterHook],
    prediction_ids: Sequence[str],
    owner: Owner,
    log: Any,
) -> None:
    """Do what :func:`stop` does for many predictions at once; log how many may run on."""
    until = time.monotonic() + WORKER_BUDGET - TO_TELL

    def work() -> bool:
        if _is_over(owner, log):
            left = until - time.monotonic()
            asyncio.run(_stop_many(make_hook(), prediction_ids, left, log))
        else:
            log.info(ALL_LEFT, len(prediction_ids))
        return True

    _within(WORKER_BUDGET, work, log, "The predictions could not all be canceled in time")


async def astop_many(
    hook: QuickRouterHook, prediction_ids: Sequence[str], owner: Owner, log: Any
) -> None:
    """Do what :func:`stop_many` does in the triggerer, however often it is cancelled."""

    async def work() -> None:
        if await _ais_over(owner, log):
            await _stop_many(hook, prediction_ids, TRIGGERER_LIMIT, log)
        else:
            log.info(ALL_LEFT, len(prediction_ids))

    await _to_its_end(work())


async def _stop_many(
    hook: QuickRouterHook, prediction_ids: Sequence[str], seconds: float, log: Any
) -> None:
    """Cancel as many as there is time for."""
    stopped, slots = 0, asyncio.Semaphore(CANCELS_AT_ONCE)

    async def stop_one(prediction_id: str) -> None:
        nonlocal stopped
        async with slots:
            told = await astop_prediction(hook, prediction_id)
        stopped += not may_run_on(told)  # only now: others counted while this one waited

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), hook:
            await asyncio.gather(*map(stop_one, prediction_ids))
    left = len(prediction_ids) - stopped
    (log.warning if left else log.info)("%d predictions canceled, %d may run on", stopped, left)


def at_execution_timeout() -> bool:
    """Whether Airflow is just handling this task's ``execution_timeout``."""
    return isinstance(sys.exception(), AirflowTaskTimeout)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work in a task of its own, which goes on whoever is cancelled here.

    Airflow cancels a trigger again each second, also while its ``on_kill`` runs.
    """
    task = asyncio.create_task(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)


def _is_over(owner: Owner, log: Any) -> bool:
    return owner.over or _within(WORKER_QUESTION, owner.is_over, log, UNKNOWN)


async def _ais_over(owner: Owner, log: Any) -> bool:
    try:
        async with asyncio.timeout(TRIGGERER_QUESTION):
            return await asyncio.to_thread(owner.is_over)
    except Exception:
        log.warning(UNKNOWN, exc_info=True)
        return False


def _state_of(ti: Any) -> Any:
    """Return the state that Airflow has for a task instance now; None for none. Blocks."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2: workers read the database
        return ti.current_state()
    index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
    found = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    (state,) = found[ti.run_id].values()
    return state


def _within(seconds: float, work: Callable[[], bool], log: Any, *complaint: str) -> bool:
    """Return what ``work`` returns, or False, with a complaint, if it raises or takes longer."""
    results: list[bool] = []

    def guarded() -> None:
        try:
            results.append(work())
        except Exception:
            log.warning(*complaint, exc_info=True)

    thread = Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning(*complaint)
    return any(results)
