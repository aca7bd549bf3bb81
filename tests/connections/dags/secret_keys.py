"""A submit on a worker and a wait in the triggerer, each with the key from a secrets backend."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(schedule=None)
def secret_keys() -> None:
    """Use a connection that only the workers' backend has, and one of the API server's."""
    for whose in ("workers", "servers"):
        submit = QuickRouterSubmitPredictionOperator(
            task_id=f"submit_{whose}",
            version=STABLE_DIFFUSION,
            input={"prompt": "an astronaut", "sandbox": {"processing": 3}},
            quickrouter_conn_id=f"quickrouter_{whose}",
        )
        prediction_id: Any = submit.output
        QuickRouterPredictionSensor(
            task_id=f"wait_{whose}",
            prediction_id=prediction_id,
            quickrouter_conn_id=f"quickrouter_{whose}",
            deferrable=True,
        )


secret_keys()
