"""The two ways to a picture, over as many prompts as ``CHAOS_TASKS`` says: half of them each."""

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task_group
from chaos_failures import report_failure, report_retry

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

EACH = int(os.environ.get("CHAOS_TASKS", "2")) // 2
DEFAULTS = {
    # Each outage of the API server or of PostgreSQL costs a task one or two attempts.
    "retries": 12,
    "retry_delay": timedelta(seconds=2),
    "on_failure_callback": report_failure,
    "on_retry_callback": report_retry,
    # A folder, on an Airflow that has no store for tasks.
    "durable": os.environ.get("CHAOS_DURABLE") or True,
}


@dag(schedule=None, default_args=DEFAULTS, max_active_tasks=EACH)
def chaos_run():
    QuickRouterRunPredictionOperator.partial(
        task_id="run", version=STABLE_DIFFUSION, deferrable=True, poll_interval=2
    ).expand(input=[{"prompt": f"chaos run {number}"} for number in range(EACH)])


@dag(schedule=None, default_args=DEFAULTS, max_active_tasks=EACH)
def chaos_pair():
    @task_group
    def pair(prompt):
        submit = QuickRouterSubmitPredictionOperator(
            task_id="submit", version=STABLE_DIFFUSION, input={"prompt": prompt}
        )
        QuickRouterPredictionSensor(
            task_id="wait", prediction_id=submit.output, deferrable=True, poke_interval=2
        )

    pair.expand(prompt=[f"chaos pair {number}" for number in range(EACH)])


chaos_run()
chaos_pair()
