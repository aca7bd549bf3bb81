"""Running batches in tests: on the sandbox, over real HTTP, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterBatchPredictionOperator
from airflow_provider_quickrouter.triggers.batch import QuickRouterBatchTrigger
from tests.tasks import TaskInstance, context_of, event_of

PROMPT = "a prompt that nobody else should read"


def inputs_of(count: int, **faults: Any) -> list[dict[str, Any]]:
    """So many inputs, all alike but for their numbers."""
    return [{"prompt": f"{PROMPT} {number}", "sandbox": dict(faults)} for number in range(count)]


def operator(inputs: Any, path: Any, **arguments: Any) -> QuickRouterBatchPredictionOperator:
    defaults: dict[str, Any] = {
        "task_id": "run",
        "version": STABLE_DIFFUSION,
        "creates_per_minute": 60_000,
        "deferrable": False,
    }
    given = {"inputs": inputs, "output_path": str(path)}
    with DAG("test"):
        return QuickRouterBatchPredictionOperator(**defaults | given | arguments)


def rebuilt(trigger: Any) -> QuickRouterBatchTrigger:
    """The trigger as the triggerer makes it: from what it wrote into the database."""
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_quickrouter.triggers.batch.QuickRouterBatchTrigger"
    return QuickRouterBatchTrigger(**json.loads(json.dumps(kwargs)))


def batch(inputs: Any, path: Any, task_instance: TaskInstance | None = None, **arguments: Any) -> Any:
    """Run one try to its end, through the deferral if there is one."""
    ti = task_instance or TaskInstance()
    task = operator(inputs, path, **arguments)
    try:
        return task.execute(context_of(task, ti))
    except TaskDeferred as deferred:
        event = event_of(rebuilt(deferred.trigger))
    task = operator(inputs, path, **arguments)
    return task.execute_complete(context_of(task, ti), event)


def results(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(str(path)).read_text().splitlines()]


def retried(error: BaseException) -> bool:
    """Whether Airflow takes the exception for one after which it tries again."""
    return isinstance(error, AirflowException) and not isinstance(error, AirflowFailException)
