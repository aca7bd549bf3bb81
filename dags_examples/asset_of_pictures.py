"""A picture as an asset: one DAG makes and stores it, another runs when there is a new one.

The asset's event tells id, model, seed and files: their paths, sizes, checksums, width and height.
"""

from datetime import timedelta

from airflow.sdk import Asset, ObjectStoragePath, dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator

PICTURES = Asset("quickrouter_pictures")


@dag(schedule=None, params={"folder": "file:///tmp/quickrouter"})
def quickrouter_asset_producer():
    QuickRouterRunPredictionOperator(
        task_id="picture",
        version=SDXL,
        input={"prompt": "a lighthouse in a storm, woodcut", "num_outputs": 2},
        deferrable=True,
        retries=2,
        retry_delay=timedelta(seconds=10),
        output_path="{{ params.folder }}",
        outlets=[PICTURES],
    )


@dag(schedule=[PICTURES])
def quickrouter_asset_consumer():
    @task
    def use(triggering_asset_events):
        for event in triggering_asset_events[PICTURES]:
            for file in event.extra["files"]:
                size = ObjectStoragePath(file["path"]).stat().st_size
                print(f"{file['path']}: {file['width']} x {file['height']} pixels, {size} bytes")

    use()


quickrouter_asset_producer()
quickrouter_asset_consumer()
