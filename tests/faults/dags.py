"""Tasks as a DAG file makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.faults.responses import MODEL

worker_and_deferred = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])


def in_dag(make: Callable[[], Any], **arguments: Any) -> Any:
    """Return what ``make`` returns within a DAG: a task, or the output of one."""
    with DAG("test", schedule=None, **arguments):
        return make()


def run_operator(**arguments: Any) -> Any:
    """Return a task that creates a prediction and waits for it."""
    arguments = {"version": MODEL, "input": {"prompt": "a cat"}} | arguments
    return in_dag(lambda: QuickRouterRunPredictionOperator(task_id="run", **arguments))


def sensor(prediction_id: str, **arguments: Any) -> Any:
    """Return a task that waits for a prediction."""
    arguments = {"prediction_id": prediction_id} | arguments
    return in_dag(lambda: QuickRouterPredictionSensor(task_id="run", **arguments))
