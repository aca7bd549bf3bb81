"""Submit a prediction, wait for it without a worker slot, store its picture, and use its id and files."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(
    schedule=None,
    params={"folder": "file:///tmp/quickrouter"},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    description="Create a picture from a prompt, and store it",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_text_to_image():
    submit = QuickRouterSubmitPredictionOperator(
        task_id="submit",
        version=STABLE_DIFFUSION,
        input={"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"},
    )
    wait = QuickRouterPredictionSensor(
        task_id="wait", prediction_id=submit.output, deferrable=True, output_path="{{ params.folder }}"
    )

    @task
    def use(prediction_id: str, files: list[dict]):
        print(f"Prediction {prediction_id} made {files[0]['path']}")

    use(submit.output, wait.output["files"])


quickrouter_text_to_image()
