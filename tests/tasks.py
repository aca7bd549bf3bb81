"""Running one task of a test without a scheduler: what Airflow hands to it, and to a trigger."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger


class TaskInstance:
    """The part of Airflow's task instance that the operators use."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def context_of(task: Any, task_instance: TaskInstance) -> Any:
    return {"ti": task_instance, "task": task}


def rebuilt(trigger: Any) -> QuickRouterPredictionTrigger:
    """The trigger as the triggerer makes it: from what it wrote into the database."""
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_quickrouter.triggers.prediction.QuickRouterPredictionTrigger"
    return QuickRouterPredictionTrigger(**json.loads(json.dumps(kwargs)))


def event_of(trigger: Any) -> dict[str, Any]:
    """Run a trigger to its only event."""

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    found: dict[str, Any] = json.loads(json.dumps(payload))
    return found


def run(make: Any, task_instance: TaskInstance) -> Any:
    """Run a task to its end through deferral and rescheduling, in a new operator each time."""
    method, kwargs = "execute", dict[str, Any]()
    while True:
        with DAG("test"):
            task = make()
        try:
            return getattr(task, method)(context_of(task, task_instance), **kwargs)
        except TaskDeferred as deferred:
            method, kwargs = deferred.method_name, {"event": event_of(rebuilt(deferred.trigger))}
        except AirflowRescheduleException as reschedule:
            task_instance.first_reschedule = (
                task_instance.first_reschedule or reschedule.reschedule_date
            )
