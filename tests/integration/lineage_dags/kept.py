"""Pictures that are stored by each kind of task that can."""

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator

# Long enough that Airflow's scheduler has seen the end of a deferral's first process before.
LONG = {"processing": 15}
INPUT = {"prompt": "a forest at dawn", "num_outputs": 2, "seed": 7, "sandbox": LONG}
FOLDER = "{{ params.folder }}"


@dag(schedule=None, params={"folder": ""}, default_args={"retries": 2, "retry_delay": timedelta(seconds=5)})
def kept():
    QuickRouterRunPredictionOperator(
        task_id="run", version=STABLE_DIFFUSION, input=INPUT, deferrable=True, output_path=f"{FOLDER}/run"
    )
    submit = QuickRouterSubmitPredictionOperator(task_id="submit", version=STABLE_DIFFUSION, input=INPUT)
    wait = QuickRouterPredictionSensor(
        task_id="wait", prediction_id=submit.output, start_from_trigger=True, output_path=f"{FOLDER}/wait"
    )
    store = QuickRouterToObjectStorageOperator(
        task_id="store", prediction_id=submit.output, path=f"{FOLDER}/store"
    )
    wait >> store


kept()
