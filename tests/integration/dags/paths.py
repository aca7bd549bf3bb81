"""One prediction, waited for in every mode, and once more when it is over."""

from airflow.sdk import dag

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

MODES = {
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule", "poke_interval": 15},
    "deferred": {"deferrable": True},
}


@dag(schedule=None)
def paths():
    submit = QuickRouterSubmitPredictionOperator(
        task_id="submit", version=STABLE_DIFFUSION, input={"prompt": "four ways to one picture"}
    )
    waits = [
        QuickRouterPredictionSensor(task_id=mode, prediction_id=submit.output, **arguments)
        for mode, arguments in MODES.items()
    ]
    finished = QuickRouterPredictionSensor(task_id="finished", prediction_id=submit.output, deferrable=True)
    waits >> finished


paths()
