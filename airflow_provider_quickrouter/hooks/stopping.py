"""Stopping a prediction when Airflow kills the task that waits for it: bounded, never raising."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.stopping import (
    CANCEL_PAUSES,
    TRIGGERER_BUDGET,
    TRIGGERER_LIMIT,
    TRIGGERER_QUESTION,
    WORKER_BUDGET,
    WORKER_QUESTION,
    canceled,
    goes_on,
    may_run_on,
    not_canceled,
    tell,
)
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

LATE = "Prediction %s could not be canceled in time and may run on"
LEFT = "Prediction %s is left running: this task goes on, and takes it up then"
ALL_LEFT = "%d predictions are left running: this task goes on, and takes them up then"
UNKNOWN = "Airflow does not say what becomes of this task: it is taken to be over"

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


def stop(make_hook: Callable[[], QuickRouterHook], prediction_id: str, ti: Any, log: Any) -> None:
    """Cancel on a worker, unless the task instance goes on and takes the prediction up.

    Takes 4 s at most. In a thread of its own, since a signal handler calls this, and what it
    interrupted may hold any lock.

    :param ti: the task instance; None cancels in any case, as where no later try would take up.
    """

    def work() -> bool:
        if _taken_up(ti, log):
            log.info(LEFT, prediction_id)
        else:
            tell(log, prediction_id, stop_prediction(make_hook(), prediction_id))
        return True

    _within(WORKER_BUDGET, work, log, LATE, prediction_id)


async def astop(hook: QuickRouterHook, prediction_id: str, ti: Any, log: Any) -> None:
    """Do what :func:`stop` does in the triggerer, in 9 s at most, however often it is cancelled."""
    await _to_its_end(_stop(hook, prediction_id, ti, log))


async def _stop(hook: QuickRouterHook, prediction_id: str, ti: Any, log: Any) -> None:
    try:
        if ti is not None and await _agoes_on(ti, log):
            log.info(LEFT, prediction_id)
            return
        async with asyncio.timeout(TRIGGERER_BUDGET), hook:
            tell(log, prediction_id, await astop_prediction(hook, prediction_id))
    except Exception:
        log.exception(LATE, prediction_id)


def stop_many(
    make_hook: Callable[[], QuickRouterHook], prediction_ids: Sequence[str], ti: Any, log: Any
) -> None:
    """Do what :func:`stop` does for many predictions at once; tell how many may run on."""
    until = time.monotonic() + WORKER_BUDGET - TO_TELL

    def work() -> bool:
        if _taken_up(ti, log):
            log.info(ALL_LEFT, len(prediction_ids))
        else:
            left = until - time.monotonic()
            asyncio.run(_stop_many(make_hook(), prediction_ids, left, log))
        return True

    _within(WORKER_BUDGET, work, log, "The predictions could not all be canceled in time")


async def astop_many(
    hook: QuickRouterHook, prediction_ids: Sequence[str], ti: Any, log: Any
) -> None:
    """Do what :func:`stop_many` does in the triggerer, however often it is cancelled."""

    async def work() -> None:
        if await _agoes_on(ti, log):
            log.info(ALL_LEFT, len(prediction_ids))
        else:
            await _stop_many(hook, prediction_ids, TRIGGERER_LIMIT, log)

    await _to_its_end(work())


async def _stop_many(
    hook: QuickRouterHook, prediction_ids: Sequence[str], seconds: float, log: Any
) -> None:
    """Cancel as many as there is time for; connections of the session limit the rest."""
    stopped = 0

    async def stop_one(prediction_id: str) -> None:
        nonlocal stopped
        stopped += not may_run_on(await astop_prediction(hook, prediction_id))

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


def _taken_up(ti: Any, log: Any) -> bool:
    """Whether a later try goes on with what this task instance has made."""
    return ti is not None and _within(WORKER_QUESTION, lambda: _goes_on(ti), log, UNKNOWN)


async def _agoes_on(ti: Any, log: Any) -> bool:
    try:
        async with asyncio.timeout(TRIGGERER_QUESTION):
            return await asyncio.to_thread(_goes_on, ti)
    except Exception:
        log.warning(UNKNOWN, exc_info=True)
        return False


def _goes_on(ti: Any) -> bool:
    """Ask Airflow's server. Before Airflow 3 there is none to ask: killed means over."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return False
    index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
    found = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    (state,) = found[ti.run_id].values()
    return goes_on(state)


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
