"""Submit, wait and store as one group of tasks, once for each prompt."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures


@dag(
    schedule=None,
    params={"subjects": ["a lighthouse", "a forest", "a harbour"], "folder": "file:///tmp/quickrouter"},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    description="Submit, wait and store as one task group",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_picture_group():
    @task
    def inputs(params: dict) -> list[dict]:
        return [{"prompt": f"{subject}, linocut"} for subject in params["subjects"]]

    pictures = quickrouter_pictures.partial(version=SDXL, path="{{ params.folder }}").expand(input=inputs())

    @task
    def collect(stored: list[list[str]]) -> list[str]:
        return [path for paths in stored for path in paths]

    collect(pictures)


quickrouter_picture_group()
