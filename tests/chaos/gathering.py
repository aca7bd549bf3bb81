"""What happened, read from Airflow and the gateway and put into the ledger's terms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from dev.airflow_rest import AirflowApiError, Json
from dev.local_airflow import LocalAirflow
from tests.chaos.books import Accepted, Cancel, Failure, Job, TaskEnd
from tests.chaos.suite import Flow

Key = tuple[str, str, int]
"""DAG, task and map index."""


def predictions(url: str) -> list[Accepted]:
    """Return what the sandbox at ``url`` has accepted, oldest first."""
    answer = requests.get(f"{url}/sandbox/predictions", timeout=30)
    answer.raise_for_status()
    return [accepted(body) for body in answer.json()]


def cancels(url: str) -> list[Cancel]:
    """Return the requests to cancel that the sandbox at ``url`` got, oldest first."""
    answer = requests.get(f"{url}/sandbox/cancels", timeout=30)
    answer.raise_for_status()
    return [Cancel(request["id"], request["at"]) for request in answer.json()]


def count_requests(url: str) -> int:
    """Return how many requests to the API the sandbox had.

    They outlive a kill of the sandbox, except for those of its last quarter of a second.
    """
    answer = requests.get(f"{url}/sandbox/counts", timeout=30)
    answer.raise_for_status()
    return sum(answer.json()["requests"].values())


def get_statuses(url: str) -> Counter[str]:
    """Return how many GETs of predictions had which status since the sandbox was last started.

    A dropped connection has none.
    """
    answer = requests.get(f"{url}/sandbox/requests", timeout=60)
    answer.raise_for_status()
    gets = [r for r in answer.json()["requests"] if r["method"] == "GET" and r["prediction_id"]]
    return Counter(str(request["status"] or "none") for request in gets)


def accepted(body: Mapping[str, Any]) -> Accepted:
    """Read one prediction of the sandbox."""
    return Accepted(
        id=body["id"],
        prompt=str(body["input"].get("prompt")),
        status=body["status"],
        created_at=epoch(body["created_at"]) or 0.0,
        completed_at=epoch(body.get("completed_at")),
        error=body.get("error"),
    )


def epoch(moment: str | None) -> float | None:
    """Return an ISO 8601 instant as epoch seconds."""
    return datetime.fromisoformat(moment).timestamp() if moment else None


def jobs(airflow: LocalAirflow, runs: Mapping[Flow, str], each: int) -> list[Job]:
    """Return the jobs, ``each`` of every flow; ``runs`` holds the id of each flow's run."""
    told = failures(airflow.home / "failures.jsonl")
    found: list[Job] = []
    for flow, run_id in runs.items():
        ends = {
            (flow.dag_id, task["task_id"], task["map_index"]): end(airflow, flow, run_id, task, told)
            for task in airflow.task_instances(flow.dag_id, run_id)
        }
        found += [job(flow, index, ends) for index in range(each)]
    return found


def job(flow: Flow, index: int, ends: Mapping[Key, TaskEnd]) -> Job:
    """Put together what belongs to one prompt."""
    never = TaskEnd(None)
    wait = ends.get((flow.dag_id, flow.wait, index), never) if flow.wait else None
    return Job(flow.prompt.format(index), ends.get((flow.dag_id, flow.submit, index), never), wait)


def end(
    airflow: LocalAirflow, flow: Flow, run_id: str, task: Json, told: Mapping[Key, list[Failure]]
) -> TaskEnd:
    """Read how a task instance ended."""
    return TaskEnd(
        state=task["state"],
        held=held(airflow, flow.dag_id, run_id, task),
        failures=told.get((flow.dag_id, task["task_id"], task["map_index"]), []),
        tries_left=task["max_tries"] + 1 - task["try_number"],
        tries=task["try_number"],
        ended_at=epoch(task["end_date"]),
    )


def held(airflow: LocalAirflow, dag_id: str, run_id: str, task: Json) -> str | None:
    """Return the id of the prediction that a task left in XCom."""
    for key in ("prediction", "return_value"):
        try:
            value = airflow.xcom(dag_id, run_id, task["task_id"], key, task["map_index"])
        except AirflowApiError as error:
            if error.status != 404:
                raise
            continue
        value = value.get("id") if isinstance(value, dict) else value
        if isinstance(value, str):
            return value
    return None


def failures(file: Path) -> dict[Key, list[Failure]]:
    """Return what the DAGs' callbacks wrote down; a line that was cut by a kill is left out."""
    found: dict[Key, list[Failure]] = {}
    for entry in entries(file.read_text().splitlines() if file.exists() else []):
        key = (entry["dag_id"], entry["task_id"], entry["map_index"])
        found.setdefault(key, []).append(
            Failure(
                kinds=frozenset(entry["kinds"]),
                message=entry["message"],
                at=entry["at"],
                final=entry["final"],
                since=entry["since"],
                until=entry["until"],
            )
        )
    return found


def entries(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Parse lines of JSON."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
