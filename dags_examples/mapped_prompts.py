"""One prediction for each prompt: submit and wait are mapped over a list.

A retry of ``submit`` resumes the prediction of its first attempt, a retry of ``wait`` polls again.
Neither pays twice.
"""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(
    schedule=None,
    params={"subjects": ["a lighthouse", "a forest", "the ocean at night"]},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    description="One prediction for each prompt",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_mapped_prompts():
    @task
    def inputs(params: dict) -> list[dict]:
        return [{"prompt": f"{subject}, oil on canvas"} for subject in params["subjects"]]

    submit = QuickRouterSubmitPredictionOperator.partial(task_id="submit", version=SDXL).expand(
        input=inputs()
    )
    wait = QuickRouterPredictionSensor.partial(task_id="wait", deferrable=True).expand(
        prediction_id=submit.output
    )

    @task
    def collect(outputs: list[list[str]]) -> list[str]:
        return [url for output in outputs for url in output]

    collect(wait.output)


quickrouter_mapped_prompts()
