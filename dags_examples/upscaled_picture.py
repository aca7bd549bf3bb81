"""Draft a picture with one model, upscale it with another one, and store both."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator

REAL_ESRGAN = "nightmareai/real-esrgan:f121d640bd286e1fdc67f9799164c1d5be36ff74576ee11c803ae5b665dd46aa"


@dag(
    schedule=None,
    # Give a folder in a bucket, s3://aws_default@bucket/pictures: a picture of more than 190 kB that lies
    # on a local disk cannot be sent.
    params={"subject": "a lighthouse", "side": 768, "folder": "file:///tmp/quickrouter"},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "deferrable": True,
        "output_path": "{{ params.folder }}",
    },
    description="Create a picture with one model, and upscale it with another one",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_upscaled_picture():
    draft = QuickRouterRunPredictionOperator(
        task_id="draft",
        version=SDXL,
        input={
            "prompt": "{{ params.subject }}, oil on canvas",
            "width": "{{ params.side }}",
            "height": "{{ params.side }}",
        },
    )
    upscaled = QuickRouterRunPredictionOperator(
        task_id="upscaled",
        version=REAL_ESRGAN,
        input={"image": draft.output["file"], "scale": 2},
    )

    @task
    def use(draft: str, upscaled: str):
        print(f"Upscaled {draft} to {upscaled}")

    use(draft.output["file"], upscaled.output["file"])


quickrouter_upscaled_picture()
