"""A picture that is made and stored by one DAG sets off another, on a real Airflow."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import FINISHED_RUN, LocalAirflow
from dev.waiting import wait_until
from tests.integration.marks import more_runs


@more_runs
def test_the_asset_scheduled_example_runs_after_its_producer_and_prints_the_stored_paths(
    airflow: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    producer, consumer = "quickrouter_asset_producer", "quickrouter_asset_consumer"
    airflow.wait_for_dag(consumer)
    airflow.rest.unpause(consumer)

    run_id = airflow.trigger(producer, {"folder": f"file://{tmp_path}"})
    assert airflow.wait_for_run(producer, run_id) == "success"

    def consumed() -> str | None:
        runs = airflow.rest.every(f"/dags/{consumer}/dagRuns", "dag_runs")
        over = [str(run["dag_run_id"]) for run in runs if run["state"] in FINISHED_RUN]
        return over[0] if over else None

    consumer_run = wait_until(consumed, 120, lambda: "the consumer did not run")
    assert airflow.rest.run(consumer, consumer_run)["state"] == "success"
    log = airflow.task_log(consumer, consumer_run, "use")
    files = airflow.xcom(producer, run_id, "picture", "files")
    assert len(files) == 2
    for file in files:
        assert f"{file['path']}: 1024 x 1024 pixels, {file['size']} bytes" in log
    (event,) = airflow.rest.call("GET", "/assets/events")["asset_events"]
    manifest = airflow.xcom(producer, run_id, "picture", "prediction")
    assert event["extra"] == {
        "prediction_id": manifest["id"],
        "model": "stability-ai/sdxl",
        "seed": manifest["seed"],
        "cost": None,
        "files": files,
    }
