"""If a content filter rejects the picture of the first model, another model makes it.

A retry continues with the model where the previous attempt stopped, and does not pay for the first
model again.
"""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator


@dag(
    schedule=None,
    params={"prompt": "a crowd at a carnival, oil on canvas"},
    description="If a content filter rejects the first model's picture, try another model",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_fallback_models():
    picture = QuickRouterRunPredictionOperator(
        task_id="picture",
        model=[
            FLUX_KONTEXT_PRO,
            (SDXL, {"prompt": "{{ params.prompt }}", "negative_prompt": "blurry", "width": 768}),
        ],
        input={"prompt": "{{ params.prompt }}", "aspect_ratio": "1:1"},
        deferrable=True,
        retries=2,
        retry_delay=timedelta(seconds=10),
    )

    @task
    def report(output: list[str], manifest: dict):
        print(f"{manifest['model']} made {output[0]}")

    report(picture.output, picture.output["prediction"])


quickrouter_fallback_models()
