"""How far a run is: what its task instances are doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from dev.airflow_rest import Json
from dev.local_airflow import FINISHED_RUN, FINISHED_TASK, LocalAirflow
from tests.chaos.suite import Flow


def instances(airflow: LocalAirflow, runs: Mapping[Flow, str]) -> list[Json]:
    """Return the task instances of all runs."""
    return [task for flow, run_id in runs.items() for task in airflow.task_instances(flow.dag_id, run_id)]


def done(tasks: list[Json]) -> float:
    """Return the share of the work that is done: a wait in the triggerer is half of a task's."""
    part = {**dict.fromkeys(FINISHED_TASK, 1.0), "running": 0.2, "deferred": 0.5}
    return sum(part.get(task["state"], 0.0) for task in tasks) / max(1, len(tasks))


def over(airflow: LocalAirflow, runs: Mapping[Flow, str]) -> bool:
    """Whether all runs have ended."""
    return all(
        airflow.rest.run(flow.dag_id, run_id)["state"] in FINISHED_RUN for flow, run_id in runs.items()
    )


def states(tasks: list[Json]) -> Counter[str]:
    """Return how many task instances are in which state."""
    return Counter(str(task["state"]) for task in tasks)


def listed(numbers: Mapping[str, int]) -> str:
    """Return numbers of things, by name, for people."""
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
