"""Waits that no worker begins, or none ends: what they leave, how they fail, and how long."""

from __future__ import annotations

import json
import re
import signal
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.airflow_rest import run_path
from dev.local_airflow import LocalAirflow
from dev.waiting import wait_until
from tests.integration.marks import more_runs

LINK = "QuickRouter prediction"
STARTED = '"event":"Worker startup parse complete"'
"""What each worker process writes into the log of its task."""


def workers(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, int]:
    """How many worker processes each unmapped task of a run has had, all tries together."""
    run = airflow.logs / f"dag_id={dag_id}" / f"run_id={run_id}"
    found = dict[str, int]()
    tasks = airflow.task_instances(dag_id, run_id)
    for task in [task for task in tasks if task["map_index"] < 0]:
        folder = run / f"task_id={task['task_id']}"
        logs = [path for path in folder.glob("attempt=*.log") if ".trigger." not in path.name]
        found[task["task_id"]] = sum(path.read_text().count(STARTED) for path in logs)
        assert (task["pid"] is None) == (found[task["task_id"]] == 0)
    return found


def error(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> tuple[str, str]:
    """Class and message of what a task raised, without the number of the request."""
    lines = airflow.task_log(dag_id, run_id, task_id).splitlines()
    details = [json.loads(line).get("error_detail") for line in lines if line]
    raised: dict[str, Any] = [detail for detail in details if detail][-1][0]
    return raised["exc_type"], re.sub(r"\[request id .*?\]", "", raised["exc_value"])


def test_the_example_waits_without_a_worker(airflow: LocalAirflow, gateway: Sandbox) -> None:
    dag_id = "quickrouter_without_a_worker"
    run_id = airflow.trigger(dag_id)

    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert workers(airflow, dag_id, run_id) == {"submit": 1, "wait": 0, "use": 1}
    (url,) = airflow.xcom(dag_id, run_id, "wait")
    assert airflow.xcom(dag_id, run_id, "use") == url


@more_runs
def test_many_waits_take_no_worker_and_leave_what_a_worker_would(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "waits_in_triggerer"
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id, 300) == "success"

    processes = workers(airflow, dag_id, run_id)
    waits = sorted(name for name in processes if name.startswith("wait_"))
    assert len(waits) >= 10
    assert sum(processes[name] for name in [*waits, "pushes_nothing"]) == 0
    assert processes["submit"] == 1
    assert processes["begun_by_worker"] >= 2

    xcoms = airflow.xcoms(dag_id, run_id)
    assert xcoms["wait_0", -1] == xcoms["begun_by_worker", -1]
    ids = xcoms["submit", -1]["return_value"]
    for name in waits:
        prediction_id = ids[name.replace("wait", "picture")]
        left = xcoms[name, -1]
        assert left["return_value"] == [f"{gateway.url}/files/{prediction_id}/out-0.png"]
        assert left["prediction"]["id"] == prediction_id
        assert left["prediction"]["output"] == left["return_value"]
    assert airflow.extra_links(dag_id, run_id, waits[0]) == {
        LINK: f"{gateway.url}/predictions/{ids['picture_0']}"
    }
    assert set(xcoms["first_urls", -1]["return_value"]) == {
        xcoms[name, -1]["return_value"][0] for name in waits
    }
    assert ("pushes_nothing", -1) not in xcoms
    assert gateway.creates == len(waits)


@more_runs
def test_mapped_waits_begin_on_workers_and_succeed(airflow: LocalAirflow, gateway: Sandbox) -> None:
    run_id = airflow.trigger("mapped_waits")
    assert airflow.wait_for_run("mapped_waits", run_id) == "success"
    xcoms = airflow.xcoms("mapped_waits", run_id)
    ids = xcoms["submit_three", -1]["return_value"]
    tasks = airflow.task_instances("mapped_waits", run_id)
    waits = [task for task in tasks if task["task_id"] == "wait"]
    for index, prediction_id in enumerate(ids):
        output = [f"{gateway.url}/files/{prediction_id}/out-0.png"]
        assert xcoms["wait", index]["return_value"] == output
    assert all(task["pid"] for task in waits)
    assert len(waits) == 3


@more_runs
def test_each_way_to_name_the_prediction_leads_to_it(airflow: LocalAirflow, gateway: Sandbox) -> None:
    other = airflow.trigger("ways_to_an_id", {"prediction_id": "not/an/id"})
    assert airflow.wait_for_run("ways_to_an_id", other) == "failed"
    known = airflow.xcom("ways_to_an_id", other, "submit_one")

    run_id = airflow.trigger("ways_to_an_id", {"prediction_id": known})
    assert airflow.wait_for_run("ways_to_an_id", run_id) == "success"
    xcoms = airflow.xcoms("ways_to_an_id", run_id)
    prediction_id = xcoms["submit_one", -1]["return_value"]
    for way in ("output", "pulled", "as_text", "by_worker"):
        assert xcoms[way, -1]["prediction"]["id"] == prediction_id
    assert xcoms["params", -1]["prediction"]["id"] == known
    processes = workers(airflow, "ways_to_an_id", run_id)
    without = {name for name, started in processes.items() if not started}
    assert without == {"output"}  # Airflow renders templates on a worker


@more_runs
@pytest.mark.usefixtures("_wrong_key", "gateway")
def test_each_bad_end_is_the_same_whoever_has_begun_the_task(airflow: LocalAirflow) -> None:
    dag_id = "bad_ends_in_triggerer"
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    tasks = {task["task_id"]: task for task in airflow.task_instances(dag_id, run_id)}
    xcoms = airflow.xcoms(dag_id, run_id)
    kinds = {
        "fails": "PredictionModerated",
        "times_out": "PredictionTimeout",
        "refused": "AuthenticationError",
        "wrong": "InvalidInputError",
        "nothing": "InvalidInputError",
        "literal": "InvalidInputError",
    }
    for case, kind in kinds.items():
        begun, started = f"{case}_by_worker", f"{case}_in_triggerer"
        assert error(airflow, dag_id, run_id, started) == error(airflow, dag_id, run_id, begun)
        assert error(airflow, dag_id, run_id, started)[0] == kind
        assert xcoms.get((started, -1)) == xcoms.get((begun, -1))
        assert {tasks[begun]["state"], tasks[started]["state"]} == {"failed"}
    assert {tasks["soft_by_worker"]["state"], tasks["soft_in_triggerer"]["state"]} == {"skipped"}
    assert {tasks[name]["try_number"] for name in tasks} == {1}


def test_marking_a_wait_that_no_worker_has_begun_cancels_its_prediction(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "never_ends_in_triggerer"
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "run", state="deferred")
    wait_until(lambda: any(entry.method == "GET" for entry in gateway.requests), 60, lambda: "not asked")
    path = f"{run_path(dag_id, run_id)}/taskInstances/run"
    airflow.rest.call("PATCH", path, json={"new_state": "failed"})
    wait_until(lambda: gateway.predictions[0]["status"] == "canceled", 90, lambda: "it is not canceled")
    assert workers(airflow, dag_id, run_id)["run"] == 0


@more_runs
def test_a_restarted_triggerer_keeps_the_deadline_of_a_wait_that_no_worker_has_begun(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id, timeout = "deadline_in_triggerer", 30
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "run", state="deferred")
    deferred = datetime.fromisoformat(_run(airflow, dag_id, run_id)["start_date"])
    airflow.kill("triggerer", signal.SIGKILL)
    wait_until(lambda: _age(deferred) > timeout, 2 * timeout, lambda: "time stands still")
    before = len(gateway.requests)
    airflow.restart("triggerer")

    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    assert error(airflow, dag_id, run_id, "run")[0] == "PredictionTimeout"
    # One poll of the trigger, and one of the task: a wait that started again would send more.
    assert len(gateway.requests) - before <= 2


@more_runs
def test_a_wait_is_ended_without_a_worker_unless_only_a_worker_does_what_comes_next(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "ends_in_triggerer"
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    processes = workers(airflow, dag_id, run_id)
    assert processes == {
        "submit_one": 1,
        "plain": 1,
        "started": 0,
        "outlets": 2,
        "started_with_outlets": 1,
        "mapped_over": 1,
    }
    xcoms = airflow.xcoms(dag_id, run_id)
    truth = xcoms["outlets", -1]
    assert truth["return_value"] == truth["prediction"]["output"]
    for name in ("plain", "started", "started_with_outlets", "mapped_over"):
        assert xcoms[name, -1] == truth
    assert xcoms["use", 0]["return_value"] == truth["return_value"][0]
    events = airflow.rest.every("/assets/events", "asset_events")
    assert {event["source_task_id"] for event in events if event["source_run_id"] == run_id} == {
        "outlets",
        "started_with_outlets",
    }


def _run(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, Any]:
    tasks = airflow.task_instances(dag_id, run_id)
    return next(task for task in tasks if task["task_id"] == "run")


def _age(instant: datetime) -> float:
    return (datetime.now(instant.tzinfo) - instant).total_seconds()
