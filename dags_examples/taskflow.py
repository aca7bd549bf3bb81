"""A function returns the input, and its task creates the picture.

A retry calls the function again, and pays again only if it returns another input than before.
"""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import SDXL


@dag(
    schedule=None,
    params={"place": "Lisbon"},
    description="A Python function returns the input of a prediction",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_taskflow():
    @task
    def weather(params: dict) -> str:
        return f"morning fog in {params['place']}"

    @task.quickrouter(version=SDXL, deferrable=True, retries=2, retry_delay=timedelta(seconds=10))
    def picture(sky: str) -> dict:
        return {"prompt": f"{sky}, watercolour", "width": 768, "height": 512}

    @task
    def use(output: list[str]) -> str:
        return output[0]

    use(picture(weather()))


quickrouter_taskflow()
