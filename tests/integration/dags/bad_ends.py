"""Predictions that end badly: failed, skipped, refused before they are paid for."""

from airflow.sdk import dag

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

PROMPT = {"prompt": "a picture that will not be"}


@dag(schedule=None, params={"width": 700}, default_args={"retries": 2})
def bad_ends():
    fails = QuickRouterSubmitPredictionOperator(
        task_id="submit",
        version=STABLE_DIFFUSION,
        input={**PROMPT, "sandbox": {"fail": "NSFW content detected", "processing": 2}},
        quickrouter_conn_id="quickrouter_in_database",
    )
    for task_id, arguments in {
        "fails": {"deferrable": True},
        "skipped_deferred": {"deferrable": True, "soft_fail": True},
        # Shorter, and Airflow's scheduler may take the end of one poke for that of the next.
        "skipped_reschedule": {"mode": "reschedule", "poke_interval": 15, "soft_fail": True},
    }.items():
        QuickRouterPredictionSensor(
            task_id=task_id,
            prediction_id=fails.output,
            quickrouter_conn_id="quickrouter_in_database",
            **arguments,
        )
    QuickRouterSubmitPredictionOperator(
        task_id="refused", version=STABLE_DIFFUSION, input={**PROMPT, "width": "{{ params.width }}"}
    )


bad_ends()
