"""Our two ways: one task for all, and a pair of tasks. Both wait in the triggerer."""

from airflow.sdk import dag, task_group
from benchmark_common import DAG_ARGUMENTS, POLL_SECONDS, PROMPTS

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


@dag(**DAG_ARGUMENTS)
def benchmark_run():
    QuickRouterRunPredictionOperator.partial(
        task_id="run", version=STABLE_DIFFUSION, deferrable=True, poll_interval=POLL_SECONDS
    ).expand(input=[{"prompt": prompt} for prompt in PROMPTS])


@dag(**DAG_ARGUMENTS)
def benchmark_pair():
    @task_group
    def pair(prompt):
        submit = QuickRouterSubmitPredictionOperator(
            task_id="submit", version=STABLE_DIFFUSION, input={"prompt": prompt}
        )
        QuickRouterPredictionSensor(
            task_id="wait", prediction_id=submit.output, deferrable=True, poke_interval=POLL_SECONDS
        )

    pair.expand(prompt=PROMPTS)


benchmark_run()
benchmark_pair()
