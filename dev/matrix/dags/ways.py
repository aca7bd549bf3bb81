"""What the examples do not show but every Airflow must do: other ways to wait, and a file as input.

Arguments that need a newer Airflow are given all the same: they must fall back.
"""

import base64
import os
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath, dag, task

from airflow_provider_quickrouter.api.models import SD_IMG2IMG, SDXL
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
"""A picture of one pixel."""
PLACE = ObjectStoragePath(f"file://{os.environ['AIRFLOW_HOME']}/dot.png")


@dag(schedule=None, params={"folder": "file:///tmp/quickrouter"})
def quickrouter_matrix_ways() -> None:
    """Wait in all ways that need no triggerer of their own."""

    @task
    def draw() -> None:
        PLACE.write_bytes(base64.b64decode(DOT))

    changed = QuickRouterRunPredictionOperator(
        task_id="changed",
        version=SD_IMG2IMG,
        input={"prompt": "a lighthouse", "image": PLACE},
        durable=True,
        cancel_on_kill=True,
        deferrable=True,
    )
    submit = QuickRouterSubmitPredictionOperator(task_id="submit", version=SDXL, input={"prompt": "a forest"})
    made: Any = submit.output
    poke = QuickRouterPredictionSensor(task_id="poke", prediction_id=made, deferrable=False, poke_interval=1)
    ended = QuickRouterPredictionSensor(
        task_id="ended", prediction_id=made, deferrable=True, end_from_trigger=True
    )
    store = QuickRouterToObjectStorageOperator(
        task_id="store", prediction_id=made, path="{{ params.folder }}"
    )

    @task
    def written_by_people() -> list[dict[str, str]]:
        return [{"prompt": "100 {% of it, {{ nothing.like.this }}"}]

    # Rendered as a template, such a prompt would fail its task.
    QuickRouterSubmitPredictionOperator.partial(task_id="mapped", version=SDXL).expand(
        input=written_by_people()
    )

    @task.run_if(lambda context: True)
    @task.quickrouter(version=SDXL, mapped=True, wait=False)
    def listed() -> list[dict[str, str]]:
        return [{"prompt": "a harbour"}]

    listed()

    @task
    def same(first: Any, second: Any) -> None:
        if first != second:
            raise ValueError(f"{first} is not {second}")

    draw() >> changed
    [poke, ended] >> store
    same(poke.output, ended.output)


quickrouter_matrix_ways()
