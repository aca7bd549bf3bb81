"""Hundreds of predictions in one task, with one JSON line for the result of each input.

A retry submits only what is missing. 2 of 100 predictions may fail; the lines show which ones.
"""

import json
from datetime import timedelta

from airflow.providers.common.compat.sdk import ObjectStoragePath, dag, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterBatchPredictionOperator


@dag(
    schedule=None,
    params={"count": 300, "folder": "/tmp/quickrouter"},  # noqa: S108
    description="Hundreds of predictions in one task",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_batch():
    @task
    def inputs(params: dict) -> list[dict]:
        return [{"prompt": f"a lighthouse, sketch number {n}"} for n in range(params["count"])]

    batch = QuickRouterBatchPredictionOperator(
        task_id="batch",
        version=STABLE_DIFFUSION,
        inputs=inputs(),
        output_path="{{ params.folder }}/{{ run_id }}.jsonl",
        fail_on=0.02,
        deferrable=True,
        retries=3,
        retry_delay=timedelta(seconds=30),
    )

    @task
    def use(summary: dict) -> list[str]:
        lines = ObjectStoragePath(summary["output_path"]).read_text().splitlines()
        return [url for line in lines for url in json.loads(line)["output"]]

    use(batch.output)


quickrouter_batch()
