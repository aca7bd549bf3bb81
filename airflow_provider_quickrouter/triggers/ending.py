"""The end of a wait: an event after which a worker goes on, or one that ends the task."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.outcome import Outcome, Reason, tell_success
from airflow_provider_quickrouter.links import LEFT, xcoms_of
from airflow_provider_quickrouter.tasks import metrics

if TYPE_CHECKING:
    from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

RETURNED = "return_value"

EVENT_LEAVES_XCOMS = airflow_version.startswith("2.")
"""Whether downstream tasks read what the event holds: from Airflow 3 on they read JSON's text."""


async def event_of(
    trigger: QuickRouterPredictionTrigger, outcome: Outcome, url: str
) -> TriggerEvent:
    """Make a trigger's only event; a success may end the task, all else needs a worker.

    :param url: where a person looks at the prediction.
    """
    payload = outcome.to_payload(url)
    if not (trigger.end_from_trigger and outcome.reason is Reason.SUCCEEDED):
        return TriggerEvent(payload)
    xcoms = {RETURNED: outcome.output, **xcoms_of(payload["manifest"])}
    if not trigger.push_xcom:
        xcoms = {}
    if not (EVENT_LEAVES_XCOMS or await _left(trigger, xcoms)):
        return TriggerEvent(payload)
    await asyncio.to_thread(metrics.ended, outcome, time.time())
    tell_success(trigger.log, outcome)
    return TaskSuccessEvent(xcoms=xcoms if EVENT_LEAVES_XCOMS else None)


async def _left(trigger: QuickRouterPredictionTrigger, xcoms: dict[str, Any]) -> bool:
    """Put values into XCom as a worker does; False if a worker is to do it."""
    if xcoms and not _may_push(trigger):
        return False
    try:
        await sync_to_async(_push, thread_sensitive=False)(trigger.task_instance, xcoms)
    except Exception:
        trigger.log.warning("XCom could not be set here: a worker ends the task", exc_info=True)
        return False
    return True


def _may_push(trigger: QuickRouterPredictionTrigger) -> bool:
    """Whether Airflow listens. A triggerer that does not know a question never answers it."""
    triggerer = sys.modules.get("airflow.jobs.triggerer_job_runner")
    return trigger.task_instance is not None and (not triggerer or hasattr(triggerer, "SetXCom"))


async def forget(trigger: QuickRouterPredictionTrigger) -> None:
    """Delete what an earlier try left in XCom; Airflow does that only when a worker begins."""
    try:
        await sync_to_async(_delete, thread_sensitive=False)(trigger.task_instance)
    except Exception:
        trigger.log.warning("XComs of an earlier try could not be deleted", exc_info=True)


def _delete(task_instance: Any) -> None:
    from airflow.providers.common.compat.sdk import XCom

    for key in (RETURNED, *LEFT):
        XCom.delete(key=key, map_index=task_instance.map_index, **_place(task_instance))


def _push(task_instance: Any, xcoms: dict[str, Any]) -> None:
    """Set XComs of this task, through the XCom backend; blocks."""
    from airflow.providers.common.compat.sdk import XCom

    for key, value in xcoms.items():
        map_index = task_instance.map_index
        XCom.set(key=key, value=value, map_index=map_index, **_place(task_instance))


def _place(task_instance: Any) -> dict[str, str]:
    return {name: getattr(task_instance, name) for name in ("dag_id", "run_id", "task_id")}
