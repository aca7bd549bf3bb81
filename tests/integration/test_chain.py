"""One model's picture as the input of the next one, on a real Airflow, with the pictures in S3."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from tests.integration.marks import more_runs
from tests.integration.test_dags import files_with
from tests.s3 import connection_of, s3_server

DAG_ID = "quickrouter_upscaled_picture"


@more_runs
def test_a_large_picture_in_s3_reaches_the_upscaler_as_a_presigned_url_that_airflow_never_shows(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    with s3_server("pictures") as address:
        fields = connection_of(address)
        connection = {"connection_id": "aws_pictures", **fields, "extra": json.dumps(fields["extra"])}
        airflow.rest.call("POST", "/connections", json=connection)
        folder = "s3://aws_pictures@pictures/chain"
        run_id = airflow.trigger(DAG_ID, {"side": 2048, "folder": folder})

        assert airflow.wait_for_run(DAG_ID, run_id) == "success"
        first, second = gateway.predictions
        url = second["input"]["image"]
        drawn = requests.get(url, timeout=10).content
    assert gateway.creates == 2
    assert (first["input"]["width"], first["input"]["height"]) == (2048, 2048)
    assert url.startswith(f"{address}/pictures/chain/{first['id']}/0.png?")
    query = urlsplit(url).query
    assert "Signature=" in query
    (file,) = airflow.xcom(DAG_ID, run_id, "draft", "files")
    assert len(drawn) == file["size"] > 191_982

    path, result = (f"{folder}/{prediction['id']}/0.png" for prediction in (first, second))
    assert airflow.xcom(DAG_ID, run_id, "draft", "file") == file["path"] == path
    assert airflow.xcom(DAG_ID, run_id, "upscaled", "file") == result
    assert f"Upscaled {path} to {result}" in airflow.task_log(DAG_ID, run_id, "use")
    assert f"input.image: sending {path} as a URL valid for" in airflow.task_log(DAG_ID, run_id, "upscaled")
    assert shown(airflow, run_id, "upscaled") == {"image": path, "scale": 2}
    assert files_with(airflow, "Signature=") | files_with(airflow, query) == set()


@more_runs
def test_an_edit_does_without_the_picture_of_a_skipped_prediction(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = airflow.trigger("skipped")
    assert airflow.wait_for_run("skipped", run_id) == "success"
    _, edited = gateway.predictions
    assert edited["input"] == {"prompt": "a dog"}
    states = {task["task_id"]: task["state"] for task in airflow.task_instances("skipped", run_id)}
    assert states == {"draft": "skipped", "edited": "success"}


def shown(airflow: LocalAirflow, run_id: str, task_id: str) -> Any:
    """Return what Airflow's page shows as the input of a task."""
    tasks = {task["task_id"]: task for task in airflow.task_instances(DAG_ID, run_id)}
    return tasks[task_id]["rendered_fields"]["input"]
