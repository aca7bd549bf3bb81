"""Submit a prediction, wait for it without a worker, use its id and output."""

from airflow.sdk import dag, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(schedule=None)
def quickrouter_text_to_image():
    submit = QuickRouterSubmitPredictionOperator(
        task_id="submit",
        version=STABLE_DIFFUSION,
        input={"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"},
    )
    wait = QuickRouterPredictionSensor(task_id="wait", prediction_id=submit.output, deferrable=True)

    @task
    def use(prediction_id: str, output: list[str]):
        print(f"Prediction {prediction_id} made {output[0]}")

    use(submit.output, wait.output)


quickrouter_text_to_image()
