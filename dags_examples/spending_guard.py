"""Limit the predictions that run at the same time with a pool that includes deferred tasks.

Create the pool once: ``airflow pools set quickrouter 2 "predictions at once" --include-deferred``.
"""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator


@dag(
    schedule=None,
    params={"subjects": ["a lighthouse", "a forest", "a bridge", "a harbour"]},
    description="Limit concurrent predictions with a pool",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_spending_guard():
    @task
    def inputs(params: dict) -> list[dict]:
        return [{"prompt": f"{subject}, charcoal drawing"} for subject in params["subjects"]]

    run = QuickRouterRunPredictionOperator.partial(
        task_id="run",
        version=STABLE_DIFFUSION,
        deferrable=True,
        pool="quickrouter",
        retries=2,
        retry_delay=timedelta(seconds=30),
    ).expand(input=inputs())

    @task
    def collect(outputs: list[list[str]]) -> list[str]:
        return [url for output in outputs for url in output]

    collect(run.output)


quickrouter_spending_guard()
