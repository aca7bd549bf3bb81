"""The DAG whose runs the gallery's tests fill in by hand: it is parsed, and never run."""

from airflow.sdk import dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(schedule=None, dag_id="quickrouter_studio", tags=["gallery"])
def studio() -> None:
    """Pictures of many prompts."""

    @task
    def inputs() -> list[dict[str, str]]:
        return [{"prompt": "a lighthouse"}]

    submit = QuickRouterSubmitPredictionOperator.partial(task_id="submit", version=SDXL).expand(
        input=inputs()
    )
    QuickRouterPredictionSensor.partial(task_id="wait", deferrable=True).expand(prediction_id=submit.output)


@dag(schedule=None, dag_id="quickrouter_secret_studio", tags=["gallery"])
def secret_studio() -> None:
    """Pictures that not everyone may see."""
    QuickRouterSubmitPredictionOperator(
        task_id="submit", version=SDXL, input={"prompt": "what nobody else may see"}
    )


@dag(schedule=None, dag_id="no_pictures_at_all", tags=["gallery"])
def no_pictures_at_all() -> None:
    """Make nothing that the gallery could show."""

    @task
    def nothing() -> None:
        return None

    nothing()


studio()
secret_studio()
no_pictures_at_all()
