"""Waits that are deferred while a triggerer stalls."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

WAITS = int(os.environ.get("STALLED_WAITS", "0"))
RETRIED = {"retries": 3, "retry_delay": timedelta(seconds=1)}

with DAG("many_waits", schedule=None, default_args=RETRIED):
    # Half of the sensors is mapped and deferred by a worker, half by the scheduler.
    QuickRouterPredictionSensor.partial(
        task_id="mapped", deferrable=True, cancel_on_kill=True, end_from_trigger=True
    ).expand(prediction_id=[f"mapped-{number}" for number in range(WAITS // 2)])
    for number in range(WAITS // 2):
        QuickRouterPredictionSensor(
            task_id=f"wait-{number}",
            prediction_id=f"wait-{number}",
            start_from_trigger=True,
            cancel_on_kill=True,
        )

with DAG("deadlines", schedule=None, default_args=RETRIED):
    # Airflow's own limit on a deferral lies 60 s after the task's deadline.
    for task_id, seconds, durable in (
        ("past_limit", 45, True),
        ("past_limit_not_durable", 45, False),
        ("past_deadline", 90, True),
    ):
        QuickRouterRunPredictionOperator(
            task_id=task_id,
            version=STABLE_DIFFUSION,
            input={"prompt": task_id},
            timeout=seconds,
            durable=durable,
            deferrable=True,
        )
