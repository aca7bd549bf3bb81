"""A batch whose worker and triggerer a test kills."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterBatchPredictionOperator


def tell_pid(context):
    context["ti"].xcom_push(key="pid", value=os.getpid())


with DAG("batch_that_is_killed", schedule=None):
    QuickRouterBatchPredictionOperator(
        task_id="run",
        version=STABLE_DIFFUSION,
        inputs=[
            {"prompt": f"a boat {n}", "sandbox": {"fail": "out of memory"} if n == 7 else {}}
            for n in range(40)
        ],
        output_path="{{ dag_run.conf['folder'] }}/{{ run_id }}.jsonl",
        creates_per_minute=300,
        fail_on=0.1,
        deferrable=True,
        retries=2,
        retry_delay=timedelta(seconds=1),
        on_execute_callback=tell_pid,
    )
