"""Run a task as Airflow does: a worker and a triggerer in one call."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk.execution_time.context import ConnectionAccessor, OutletEventAccessors
from airflow.triggers.base import BaseTaskEndEvent

from airflow_provider_quickrouter.api.errors import QuickRouterError
from tests.tasks import Store

TASK_ERRORS = (QuickRouterError, AirflowException)
"""The errors with which a task may fail. Any other error fails the test."""


class TaskInstance:
    """What Airflow hands to a task of its own instance, and what lasts over its attempts.

    :ivar upstream: what ``xcom_pull`` finds: ``{task_id: return value}``.
    :ivar xcoms: what this attempt has pushed, ``return_value`` included.
    :ivar deferrals: what each deferral of this attempt has written into Airflow's database.
    :ivar events: payloads of the triggers' events.
    """

    dag_id, task_id, run_id = "test", "run", "a run"

    def __init__(self, *, retries: int = 3, map_index: int = -1, **upstream: Any) -> None:
        self.map_index, self.is_mapped = map_index, map_index >= 0
        self.try_number, self.max_tries, self.retries = 1, retries, retries
        self.store = Store()
        self.upstream = upstream
        self.xcoms: dict[str, Any] = {}
        self.deferrals: list[dict[str, Any]] = []
        self.events: list[Any] = []
        self.task: Any = None
        self.first_reschedule: datetime | None = None
        self._upstream_map_indexes: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        json.dumps(value)
        self.xcoms[key] = value

    def xcom_pull(
        self, task_ids: Any = None, key: str = "return_value", default: Any = None, **_: Any
    ) -> Any:
        one = task_ids if isinstance(task_ids, str) else next(iter(task_ids))
        found = self.upstream.get(one if key == "return_value" else f"{one}.{key}", default)
        return found if isinstance(task_ids, str) or found is default else [found]

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule

    def next_try(self, *, cleared: bool = False) -> TaskInstance:
        """Return the next attempt: the scheduler's, or the one after a person clears the task."""
        following = copy.copy(self)
        following.xcoms, following.deferrals, following.events = {}, [], []
        following.try_number = self.try_number + 1
        if cleared:
            following.max_tries = max(self.max_tries, self.try_number + self.retries)
        following.first_reschedule = None
        return following


def run_trigger(trigger: Any) -> Any:
    """Run a trigger as a triggerer does; return its first event."""

    async def run() -> Any:
        try:
            async for event in trigger.run():
                return event
        finally:
            await trigger.cleanup()
        raise RuntimeError("the trigger ended without an event")

    return asyncio.run(run())


def no_triggerer(trigger: Any) -> None:
    """Run nothing: the scheduler ends the deferral when its timeout is over."""


Triggerer = Callable[[Any], Any]


def run_task(
    task: Any, task_instance: TaskInstance | None = None, *, triggerer: Triggerer = run_trigger
) -> Any:
    """Run one attempt of a task: render, execute, defer, run the trigger, resume with its event.

    :param triggerer: returns the event of a trigger. None stands for a deferral that timed out.
    :returns: what the task returns; what it raises is raised.
    """
    ti = task_instance or TaskInstance()
    method, kwargs = "execute", dict[str, Any]()
    while True:
        operator, context = prepared(task, ti)
        try:
            if method == "execute":
                result = operator.execute(context)
            else:
                result = operator.resume_execution(method, kwargs, context)
        except TaskDeferred as deferred:
            event = _event_of(deferred, ti, triggerer)
            if isinstance(event, BaseTaskEndEvent):
                ti.xcoms.update(event.xcoms or {})
                return ti.xcoms.get("return_value")
            method, kwargs = _next_call(deferred, event, ti)
        except AirflowRescheduleException as reschedule:
            ti.first_reschedule = ti.first_reschedule or reschedule.reschedule_date
        else:
            if result is not None:
                ti.xcom_push("return_value", result)
            return result


def _event_of(deferred: TaskDeferred, ti: TaskInstance, triggerer: Triggerer) -> Any:
    """Store a deferral and run its trigger; return the event, or the error of the trigger."""
    _, trigger_kwargs = deferred.trigger.serialize()
    ti.deferrals.append({"trigger_kwargs": trigger_kwargs, "next_kwargs": deferred.kwargs or {}})
    try:
        return triggerer(rebuilt(deferred.trigger))
    except Exception as error:  # noqa: BLE001  # for Airflow any error is a failure of the trigger
        return error


def _next_call(deferred: TaskDeferred, event: Any, ti: TaskInstance) -> tuple[str, dict[str, Any]]:
    """Return the method of the task that Airflow calls after a deferral, and its arguments."""
    if event is None:
        return "__fail__", {"error": "Trigger timeout"}
    if isinstance(event, Exception):
        return "__fail__", {"error": "Trigger failure", "traceback": [repr(event)]}
    ti.events.append(event.payload)
    return deferred.method_name, {**(deferred.kwargs or {}), "event": event.payload}


def prepared(task: Any, ti: TaskInstance) -> tuple[Any, Any]:
    """Return a copy of the task as in a new process, with rendered templates, and its context."""
    operator = copy.copy(task)
    vars(operator).pop("hook", None)
    context = context_of(operator, ti)
    operator.render_template_fields(context)
    # Rendering a mapped task replaces it in the context by the task of this map index.
    ti.task = context["task"]
    return context["task"], context


def context_of(task: Any, ti: TaskInstance) -> Any:
    """Return the context that Airflow hands to a task."""
    dag_run = SimpleNamespace(run_id=ti.run_id, conf={}, dag_id=ti.dag_id)
    return {
        "ti": ti,
        "task_instance": ti,
        "task": task,
        "dag": task.get_dag(),
        "dag_run": dag_run,
        "params": {},
        "run_id": ti.run_id,
        "ds": "2026-01-02",
        "none": None,
        "outlet_events": OutletEventAccessors(),
        "map_index_template": None,
        "conn": ConnectionAccessor(),
        "task_state_store": ti.store,
    }


def rebuilt(trigger: Any) -> Any:
    """Return the trigger as a triggerer makes it: from what Airflow's database stores."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))


def trigger_of(task: Any) -> Any:
    """Run a task until it is deferred; return its trigger as a triggerer makes it."""
    operator, context = prepared(task, TaskInstance())
    try:
        result = operator.execute(context)
    except TaskDeferred as deferred:
        return rebuilt(deferred.trigger)
    raise AssertionError(f"the task succeeded with {result!r}")


def error_of(
    task: Any, task_instance: TaskInstance | None = None, *, triggerer: Triggerer = run_trigger
) -> Exception | None:
    """Run one attempt of a task; return its error, or None if the attempt succeeds."""
    try:
        run_task(task, task_instance, triggerer=triggerer)
    except TASK_ERRORS as error:
        return error
    return None


def failure_of(
    task: Any, task_instance: TaskInstance | None = None, *, triggerer: Triggerer = run_trigger
) -> Exception:
    """Run one attempt of a task that must fail; return its error."""
    error = error_of(task, task_instance, triggerer=triggerer)
    assert error is not None, "the task succeeded"
    return error


def is_retried(error: BaseException) -> bool:
    """Whether Airflow retries a task that raises this error, if attempts are left."""
    final = (AirflowFailException, AirflowSensorTimeout, AirflowSkipException)
    return not isinstance(error, final)
