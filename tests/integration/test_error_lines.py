"""The first ERROR line of a failed task's log: it holds the reason and the remedy."""

from __future__ import annotations

import json

import pytest

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from tests.integration.marks import more_runs

REASON_AND_REMEDY = {
    "no_connection": ("'quickrouter_missing' was not found", "AIRFLOW_CONN_QUICKROUTER_MISSING"),
    "wrong_key": ("HTTP 401", "Check the API key"),
    "moderation": ("NSFW content detected", "Change the prompt"),
    "out_of_memory": ("CUDA out of memory", "change the input"),
    "expired": ("its output is gone", "output_path="),
}


def first_error(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> str:
    """The first line of level ERROR in the log of a task's first attempt."""
    lines = map(json.loads, filter(None, airflow.task_log(dag_id, run_id, task_id).splitlines()))
    return next(str(line["event"]) for line in lines if line.get("level") == "error")


@more_runs
@pytest.mark.usefixtures("gateway", "_wrong_key")
def test_the_first_error_line_of_each_failure_holds_reason_and_remedy(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("error_lines")
    assert airflow.wait_for_run("error_lines", run_id) == "failed"
    for task_id, words in REASON_AND_REMEDY.items():
        line = first_error(airflow, "error_lines", run_id, task_id)
        print(f"{task_id}: {line}")  # noqa: T201
        assert all(word in line for word in words), line
        assert "Clear" in line


@more_runs
def test_the_first_error_line_of_an_outage_holds_reason_and_remedy(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    gateway.set_faults(Faults(status=503), method="GET")
    run_id = airflow.trigger("error_line_of_an_outage")
    assert airflow.wait_for_run("error_line_of_an_outage", run_id) == "failed"
    line = first_error(airflow, "error_line_of_an_outage", run_id, "outage")
    print(line)  # noqa: T201
    assert "HTTP 503" in line
    assert "Check whether the gateway can be reached" in line
    assert "Clearing the task resumes the prediction" in line
