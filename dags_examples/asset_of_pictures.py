"""A picture as an asset: one DAG creates and stores it, and each new picture triggers another DAG.

The asset event contains id, model, seed and files: their paths, sizes, checksums, width and height.
The consumer reads the newest event. On Airflow 3 ``triggering_asset_events`` contains all events
since its last run.
"""

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import Asset, ObjectStoragePath, dag, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator

PICTURES = Asset("quickrouter_pictures")


@dag(
    schedule=None,
    params={"folder": "file:///tmp/quickrouter"},
    description="Create a picture and publish it as an asset",
    doc_md=__doc__,
    tags=["quickrouter"],
)
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


@dag(
    schedule=[PICTURES],
    start_date=datetime(2026, 1, 1),  # Airflow 2 wants a date
    description="Use each new picture of the asset",
    doc_md=__doc__,
    tags=["quickrouter"],
)
def quickrouter_asset_consumer():
    @task(inlets=[PICTURES])
    def use(inlet_events):
        newest = inlet_events[PICTURES][-1]
        for file in newest.extra["files"]:
            size = ObjectStoragePath(file["path"]).stat().st_size
            print(f"{file['path']}: {file['width']} x {file['height']} pixels, {size} bytes")

    use()


quickrouter_asset_producer()
quickrouter_asset_consumer()
