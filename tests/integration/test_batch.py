"""Many predictions in one task, on real Airflow, through kills."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from dev.waiting import wait_until
from tests.integration.marks import more_runs


def lines(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@more_runs
def test_a_batch_outlives_its_worker_and_its_triggerer_and_pays_for_nothing_twice(
    airflow: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    dag_id = "batch_that_is_killed"
    run_id = airflow.trigger(dag_id, {"folder": str(tmp_path)})
    wait_until(lambda: gateway.creates >= 13, 60, lambda: "nothing is submitted")
    os.kill(int(airflow.xcom(dag_id, run_id, "run", "pid")), signal.SIGKILL)
    airflow.wait_for_task(dag_id, run_id, "run", state="deferred", timeout=90)
    airflow.kill("triggerer", signal.SIGKILL)
    airflow.restart("triggerer")

    assert airflow.wait_for_run(dag_id, run_id) == "success"
    summary = airflow.xcom(dag_id, run_id, "run")
    assert (summary["total"], summary["outcomes"]) == (40, {"succeeded": 39, "failed": 1})
    found = lines(summary["output_path"])
    assert [line["index"] for line in found] == list(range(40))
    assert [line["index"] for line in found if line["outcome"] != "succeeded"] == [7]
    assert gateway.creates == len({line["id"] for line in found}) == 40
    (task,) = airflow.task_instances(dag_id, run_id)
    assert task["try_number"] == 2
    prompts = [
        file.name
        for file in (*airflow.logs.rglob("*task_id=run*/*"), *tmp_path.rglob("*.jsonl"))
        if file.is_file() and b"a boat" in file.read_bytes()
    ]
    assert prompts == []


@more_runs
def test_the_batch_example_hands_every_picture_on(
    airflow: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    dag_id = "quickrouter_batch"
    run_id = airflow.trigger(dag_id, {"count": 5, "folder": str(tmp_path)})
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    urls = airflow.xcom(dag_id, run_id, "use")
    truth = [entry["output"][0] for entry in gateway.predictions]
    assert sorted(urls) == sorted(truth)
    assert gateway.creates == 5
