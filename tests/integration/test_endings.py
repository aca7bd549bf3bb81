"""The ways in which a task can end, on real Airflow: what is paid for, and what runs on."""

from __future__ import annotations

import os
import signal

import pytest

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.airflow_rest import run_path
from dev.local_airflow import LocalAirflow
from dev.waiting import wait_until
from tests.integration.marks import more_runs

CANCEL_WITHIN = 60.0
"""Seconds until a cancel must have arrived."""


def cancels(gateway: Sandbox) -> int:
    return sum(entry.path.endswith("/cancel") for entry in gateway.requests)


def started(airflow: LocalAirflow, gateway: Sandbox, dag_id: str, state: str = "deferred") -> str:
    """A run whose task has reached a state, and waits."""
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "run", state=state)
    asked = gets(gateway)
    wait_until(lambda: gets(gateway) > asked, 60, lambda: "nobody asks")
    return run_id


def clear(airflow: LocalAirflow, dag_id: str, run_id: str) -> None:
    """Clear the task as a person does in the UI."""
    body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": ["run"]}
    airflow.rest.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def mark(airflow: LocalAirflow, dag_id: str, run_id: str, state: str) -> None:
    """Mark the task as a person does in the UI."""
    path = f"{run_path(dag_id, run_id)}/taskInstances/run"
    airflow.rest.call("PATCH", path, json={"new_state": state})


def gets(gateway: Sandbox) -> int:
    return sum(entry.method == "GET" for entry in gateway.requests)


def pid_of(airflow: LocalAirflow, dag_id: str, run_id: str) -> int:
    pid = int(airflow.xcom(dag_id, run_id, "run", "pid"))
    assert pid in airflow.processes()
    return pid


def ends_well_with_one_create(airflow: LocalAirflow, gateway: Sandbox, dag_id: str, run_id: str) -> None:
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert gateway.creates == 1
    assert cancels(gateway) == 0
    assert gateway.predictions[0]["id"] in airflow.xcom(dag_id, run_id, "run")[0]


def tries(airflow: LocalAirflow, dag_id: str, run_id: str) -> int:
    (task,) = airflow.task_instances(dag_id, run_id)
    return int(task["try_number"])


def test_a_worker_killed_between_create_and_deferral_costs_no_second_prediction(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = airflow.trigger("killed_before_deferring")
    ends_well_with_one_create(airflow, gateway, "killed_before_deferring", run_id)
    assert tries(airflow, "killed_before_deferring", run_id) == 2
    assert "Resuming prediction" in airflow.task_log("killed_before_deferring", run_id, "run", 2)


def test_a_triggerer_killed_while_waiting_costs_no_second_prediction(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = started(airflow, gateway, "takes_long")
    airflow.kill("triggerer", signal.SIGKILL)
    airflow.restart("triggerer")
    ends_well_with_one_create(airflow, gateway, "takes_long", run_id)


def test_a_deferred_task_that_is_cleared_takes_its_prediction_up_again(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = started(airflow, gateway, "takes_long")
    clear(airflow, "takes_long", run_id)
    ends_well_with_one_create(airflow, gateway, "takes_long", run_id)
    assert tries(airflow, "takes_long", run_id) == 2


@more_runs
def test_a_task_that_is_cleared_on_its_worker_takes_its_prediction_up_again(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = started(airflow, gateway, "takes_long_on_worker", "running")
    clear(airflow, "takes_long_on_worker", run_id)
    ends_well_with_one_create(airflow, gateway, "takes_long_on_worker", run_id)
    assert tries(airflow, "takes_long_on_worker", run_id) == 2


@more_runs
def test_a_retry_after_the_wait_had_failed_takes_up_what_has_succeeded(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = airflow.trigger("fails_once")
    ends_well_with_one_create(airflow, gateway, "fails_once", run_id)
    assert tries(airflow, "fails_once", run_id) == 2


@more_runs
def test_a_worker_that_is_asked_to_end_leaves_the_prediction_running(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = started(airflow, gateway, "takes_long_on_worker", "running")
    os.kill(pid_of(airflow, "takes_long_on_worker", run_id), signal.SIGTERM)
    ends_well_with_one_create(airflow, gateway, "takes_long_on_worker", run_id)


@more_runs
def test_a_task_that_had_succeeded_makes_a_new_picture_when_a_person_clears_it(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = airflow.trigger("killed_before_deferring")
    ends_well_with_one_create(airflow, gateway, "killed_before_deferring", run_id)
    clear(airflow, "killed_before_deferring", run_id)
    assert airflow.wait_for_run("killed_before_deferring", run_id) == "success"
    assert gateway.creates == 2


def killed_within_the_create(airflow: LocalAirflow, gateway: Sandbox) -> str:
    gateway.set_faults(Faults(hang=30), times=1, method="POST")
    run_id = airflow.trigger("hangs")
    wait_until(lambda: gateway.creates == 1, 60, lambda: "nothing is created")
    os.kill(pid_of(airflow, "hangs", run_id), signal.SIGKILL)
    return run_id


def test_a_worker_killed_within_the_create_finds_its_prediction_in_the_list(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = killed_within_the_create(airflow, gateway)
    assert airflow.wait_for_run("hangs", run_id) == "success"
    log = airflow.task_log("hangs", run_id, "run", 2)
    assert "was created by an earlier attempt" in log
    assert (gateway.creates, tries(airflow, "hangs", run_id)) == (1, 2)


def test_a_worker_killed_within_the_create_is_reported_and_not_paid_again(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    gateway.set_faults(Faults(no_list=404), method="GET")
    run_id = killed_within_the_create(airflow, gateway)
    assert airflow.wait_for_run("hangs", run_id) == "failed"
    log = airflow.task_log("hangs", run_id, "run", 2)
    assert "UncertainCreateError" in log
    assert "an earlier attempt of this task ended" in log
    assert (gateway.creates, tries(airflow, "hangs", run_id)) == (1, 2)

    clear(airflow, "hangs", run_id)
    assert airflow.wait_for_run("hangs", run_id) == "success"
    assert gateway.creates == 2


@pytest.mark.parametrize(
    ("dag_id", "state"), [("never_ends", "deferred"), ("never_ends_on_worker", "running")]
)
def test_marking_a_task_as_failed_cancels_its_prediction_once(
    airflow: LocalAirflow, gateway: Sandbox, dag_id: str, state: str
) -> None:
    run_id = started(airflow, gateway, dag_id, state)
    mark(airflow, dag_id, run_id, "failed")
    wait_until(lambda: cancels(gateway), CANCEL_WITHIN, lambda: "no cancel arrived")
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    assert (cancels(gateway), gateway.creates) == (1, 1)
    assert gateway.predictions[0]["status"] == "canceled"


@more_runs
def test_a_restarted_triggerer_cancels_nothing_and_a_mark_then_cancels_once(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = started(airflow, gateway, "never_ends")
    airflow.restart("triggerer")
    before = gets(gateway)
    wait_until(lambda: gets(gateway) > before + 1, 60, lambda: "nobody waits on")
    assert cancels(gateway) == 0
    mark(airflow, "never_ends", run_id, "success")
    wait_until(lambda: cancels(gateway), CANCEL_WITHIN, lambda: "no cancel arrived")
    assert airflow.wait_for_run("never_ends", run_id) == "success"
    assert cancels(gateway) == 1


@pytest.mark.parametrize("dag_id", ["deadline", "deadline_on_worker"])
def test_at_its_deadline_a_prediction_is_canceled_once_and_its_last_state_is_told(
    airflow: LocalAirflow, gateway: Sandbox, dag_id: str
) -> None:
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    log = airflow.task_log(dag_id, run_id, "run")
    assert "PredictionTimeout" in log
    assert "Last state seen: processing." in log
    assert "It was canceled." in log
    assert (cancels(gateway), gateway.creates, tries(airflow, dag_id, run_id)) == (1, 1, 1)
    assert airflow.xcom(dag_id, run_id, "run", "prediction")["status"] == "canceled"
    create = next(entry for entry in gateway.requests if entry.method == "POST")
    assert create.headers["cancel-after"] == "305s"


@more_runs
def test_a_sensor_leaves_another_tasks_prediction_running(airflow: LocalAirflow, gateway: Sandbox) -> None:
    run_id = started(airflow, gateway, "waited_by_sensor")
    mark(airflow, "waited_by_sensor", run_id, "failed")

    def log() -> str:
        return airflow.task_log("waited_by_sensor", run_id, "run")

    assert airflow.wait_for_run("waited_by_sensor", run_id) == "failed"
    wait_until(lambda: "on_kill" in log(), 60, lambda: "the trigger goes on")
    assert cancels(gateway) == 0
    assert gateway.predictions[0]["status"] == "processing"
