"""The pool of the example holds: no more predictions run at once than it has slots."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from tests.integration.marks import more_runs

SLOTS, PROMPTS = 2, 5


def at_once(predictions: list[dict[str, Any]]) -> int:
    """How many predictions ran at the same time, at most."""
    spans = [
        tuple(datetime.fromisoformat(p[name]) for name in ("created_at", "completed_at")) for p in predictions
    ]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


@more_runs
def test_a_pool_that_counts_deferred_tasks_limits_what_runs_at_once(
    airflow: LocalAirflow, sandbox: Sandbox
) -> None:
    sandbox.clear()
    pool = {"name": "quickrouter", "slots": SLOTS, "include_deferred": True}
    airflow.rest.call("POST", "/pools", json=pool)
    subjects = [f"house {number}" for number in range(PROMPTS)]
    run_id = airflow.trigger("quickrouter_spending_guard", {"subjects": subjects})

    assert airflow.wait_for_run("quickrouter_spending_guard", run_id, timeout=240) == "success"
    assert sandbox.creates == PROMPTS
    assert at_once(sandbox.predictions) == SLOTS
