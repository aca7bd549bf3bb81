"""The same inputs as one batch, and as mapped tasks; every hundredth of them fails."""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterBatchPredictionOperator,
    QuickRouterRunPredictionOperator,
)

INPUTS = int(os.environ.get("BENCHMARK_INPUTS", "100"))
MAPPED = int(os.environ.get("BENCHMARK_MAPPED", "100"))
LIMIT = float(os.environ.get("BENCHMARK_LIMIT", "600"))
RETRIES: dict[str, Any] = {"retries": 4, "retry_delay": timedelta(seconds=1)}


@task
def inputs(count: int) -> list[dict[str, Any]]:
    """Make so many inputs."""
    fails = {"sandbox": {"fail": "CUDA out of memory"}}
    return [{"prompt": f"a lighthouse, number {n}", **(fails if n % 100 == 50 else {})} for n in range(count)]


with DAG("batch", schedule=None):
    QuickRouterBatchPredictionOperator(
        task_id="run",
        version=STABLE_DIFFUSION,
        inputs=inputs(INPUTS),
        output_path=os.environ.get("BENCHMARK_RESULTS", "/tmp/batch-benchmark.jsonl"),  # noqa: S108
        creates_per_minute=LIMIT,
        fail_on=0.05,
        deferrable=True,
        **RETRIES,
    )

with DAG("mapped", schedule=None, max_active_tasks=64):
    QuickRouterRunPredictionOperator.partial(
        task_id="run", version=STABLE_DIFFUSION, deferrable=True, **RETRIES
    ).expand(input=inputs(MAPPED))
