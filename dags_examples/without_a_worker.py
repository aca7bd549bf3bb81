"""A wait without a worker slot: the scheduler starts it in the triggerer, which also ends the task."""

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(
    schedule=None,
    description="Wait in the triggerer, without a worker slot",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_without_a_worker():
    submit = QuickRouterSubmitPredictionOperator(
        task_id="submit", version=STABLE_DIFFUSION, input={"prompt": "a lighthouse at dusk"}
    )
    wait = QuickRouterPredictionSensor(task_id="wait", prediction_id=submit.output, start_from_trigger=True)

    @task
    def use(output: list[str]) -> str:
        return output[0]

    use(wait.output)


quickrouter_without_a_worker()
