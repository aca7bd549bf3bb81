"""Waits whose responses hold what a database refuses, beside a healthy one for each way to wait."""

import json
import os

from airflow.sdk import DAG

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

NAMES = json.loads(os.environ["POISON_NAMES"])
TIMEOUT = float(os.environ["POISON_TIMEOUT"])

with DAG("poison", schedule=None, default_args={"retries": 0}):
    for name in NAMES:
        # Healthy waits are finished by the test.
        limit = 3600 if name == "healthy" else TIMEOUT
        # The prompt names the response, and so does the id.
        QuickRouterRunPredictionOperator(
            task_id=f"run-{name}",
            version=STABLE_DIFFUSION,
            input={"prompt": name},
            timeout=limit,
            poll_interval=2,
            deferrable=True,
        )
        QuickRouterPredictionSensor(
            task_id=f"sensor-{name}",
            prediction_id=f"sensor-{name}",
            timeout=limit,
            poke_interval=2,
            start_from_trigger=True,
        )
