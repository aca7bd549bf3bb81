"""Running one task of a test without a scheduler: what Airflow hands to it, and to a trigger."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_quickrouter.polling.poller import Poller
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission.store import StoredState
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

TASK_RUNNER = "airflow.sdk.execution_time.task_runner"


class Store:
    """The part of ``task_state_store`` that the operators use; it keeps JSON over all tries."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        assert value is not None
        self.values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class FolderStore(Store):
    """What ``durable=`` with a folder stores, of the task instance below."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.durable = f"file://{folder}"
        self._state = StoredState(self.durable, TaskInstance)

    @property
    def values(self) -> dict[str, str]:  # type: ignore[override]
        return {file.name: file.read_text() for file in self.folder.rglob("*.*")}

    def get(self, key: str, default: Any = None) -> Any:
        return self._state.get(key)

    def set(self, key: str, value: Any) -> None:
        self._state.set(key, value)

    def delete(self, key: str) -> None:
        self._state.delete(key)


class TaskInstance:
    """The part of Airflow's task instance that the operators use.

    ``store``: None, as before Airflow 3.3, or what survives its tries.
    """

    dag_id, task_id, run_id, map_index = "test", "run", "a run", -1

    def __init__(self, store: Store | None = None, try_number: int = 1, max_tries: int = 0) -> None:
        self.store = store
        self.try_number = try_number
        self.max_tries = self.retries = max_tries
        self.xcoms: dict[str, Any] = {}
        self.first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        mine = (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key) if mine else None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule

    def again(self, *, cleared: bool = False, **another: Any) -> TaskInstance:
        """The next try: the scheduler's, or after a person has cleared the task."""
        limit = max(self.max_tries, self.try_number + self.retries) if cleared else self.max_tries
        again = type(self)(another.get("store", self.store), self.try_number + 1, limit)
        again.retries = self.retries
        return again


class Clock:
    """A time that only pauses move, here and in the sandbox; ``pauses`` are their seconds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        self.pauses: list[float] = []
        self._resting = False
        patch.setattr("time.time", lambda: self.now)
        patch.setattr("time.sleep", self._pause)
        frozen = SimpleNamespace(monotonic=lambda: self.now, sleep=self._pause)
        patch.setattr("airflow.sdk.bases.sensor.time", frozen)
        # By module, since the sandbox's event loop in this process needs the real one.
        quick = SimpleNamespace(**vars(asyncio) | {"sleep": self._apause})
        for module in ("triggers.prediction", "submission.cancel"):
            patch.setattr(f"airflow_provider_quickrouter.{module}.asyncio", quick)

        patch.setattr(Poller, "_now", lambda _: self.now)
        patch.setattr(Poller, "_rest", lambda *rest: self._poller_rests(*rest))

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    async def _apause(self, seconds: float) -> None:
        self._pause(seconds)

    async def _poller_rests(self, poller: Poller, seconds: float) -> None:
        """Let time stand still while a question is on its way; short rests make up one pause."""
        if poller._requests:
            self._resting = False
            await asyncio.wait(poller._requests)
            return
        self._pause(seconds)
        if self._resting:
            self.pauses[-2:] = [sum(self.pauses[-2:])]
        self._resting = True


def tell_state(patch: pytest.MonkeyPatch, state: str | Exception | None) -> list[Any]:
    """Let Airflow's server answer that the task is in this state; return what it is asked."""
    asked: list[Any] = []

    def send(question: Any) -> TaskStatesResult | None:
        if not isinstance(question, GetTaskStates):
            return None
        asked.append(question)
        if isinstance(state, Exception):
            raise state
        return TaskStatesResult(task_states={TaskInstance.run_id: {TaskInstance.task_id: state}})

    comms = SimpleNamespace(send=send)
    patch.setattr(f"{TASK_RUNNER}.SUPERVISOR_COMMS", comms, raising=False)
    return asked


def join_stops() -> None:
    """Wait for cancels that outlived their task, else the next test would meet them."""
    for thread in threading.enumerate():
        if thread.name == "quickrouter":
            thread.join(10)


def statuses_of_cancels(gateway: Sandbox) -> list[int | None]:
    """The status of each response to a cancel request; None while there is no response yet."""
    return [entry.status for entry in gateway.requests if entry.path.endswith("/cancel")]


def context_of(task: Any, task_instance: TaskInstance) -> Any:
    context = {"ti": task_instance, "task": task, "outlet_events": OutletEventAccessors()}
    if task_instance.store is not None and not isinstance(task_instance.store, FolderStore):
        context["task_state_store"] = task_instance.store
    return context


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
            method, event = deferred.method_name, event_of(rebuilt(deferred.trigger))
            kwargs = {**(deferred.kwargs or {}), "event": event}
        except AirflowRescheduleException as reschedule:
            task_instance.first_reschedule = task_instance.first_reschedule or reschedule.reschedule_date
