"""Batches as a DAG file makes them, and their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_quickrouter.operators.prediction import QuickRouterBatchPredictionOperator
from tests.faults.dags import in_dag
from tests.faults.responses import MODEL
from tests.faults.running import TaskInstance, run_task


def batch_operator(path: str, inputs: Any, **arguments: Any) -> Any:
    """Return a task that runs a batch."""
    given: dict[str, Any] = {"creates_per_minute": 60_000, "deferrable": False, "version": MODEL} | arguments
    return in_dag(
        lambda: QuickRouterBatchPredictionOperator(task_id="run", inputs=inputs, output_path=path, **given)
    )


def run_batch(
    path: str, inputs: Any = ({"prompt": "x"},), task_instance: TaskInstance | None = None, **arguments: Any
) -> Any:
    """Run a batch to its end; return its summary."""
    return run_task(batch_operator(path, list(inputs), **arguments), task_instance)


def results_in(path: Path | str) -> list[dict[str, Any]]:
    """Return the lines of the results at a path of any storage."""
    return [json.loads(line) for line in ObjectStoragePath(str(path)).read_text().splitlines()]
