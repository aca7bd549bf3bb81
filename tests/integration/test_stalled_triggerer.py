"""Triggerers that stand still for a while, as on a frozen machine, and then go on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from dev.airflow_services import TRIGGERER
from dev.waiting import wait_until
from tests.integration.on_postgres import OnPostgres, airflow_on_postgres, needs_postgres
from tests.integration.scripted import ScriptedGateway

pytestmark = [needs_postgres, pytest.mark.slow("starts an Airflow of its own on PostgreSQL")]

WAITS = 100
SECOND_TRIGGERER = f"{TRIGGERER}-2"

STALL = 20.0
"""Seconds; a triggerer without a heartbeat for 10 s loses its triggers (``dev.airflow_env``)."""

ON_KILL = 35.0
"""Seconds after which every ``on_kill`` has ended: Airflow gives each 30 s."""

PAST_LIMIT = ("past_limit", "past_limit_not_durable")
DEADLINES = (*PAST_LIMIT, "past_deadline")
FIRST_TRY = [(state, 1) for state in ("deferred", "scheduled", "queued", "running")]
"""States and numbers of a try from its deferral to its end."""


def test_triggers_that_another_triggerer_took_over_cancel_no_prediction(tmp_path: Path) -> None:
    env = {"STALLED_WAITS": str(WAITS)}
    with (
        ScriptedGateway() as gateway,
        airflow_on_postgres(tmp_path / "home", "stalls.py", gateway.url, env, triggerers=2) as on_postgres,
    ):
        airflow = on_postgres.airflow
        airflow.kill(SECOND_TRIGGERER, signal.SIGKILL)  # so that the first one has all triggers
        run_id = airflow.trigger("many_waits")
        wait_until(
            lambda: len(set(gateway.polled)) == WAITS and all_deferred(on_postgres, run_id),
            400,
            lambda: f"{len(set(gateway.polled))} predictions are polled",
        )
        airflow.restart(SECOND_TRIGGERER)
        before = on_postgres.owners()

        with on_postgres.stopped(TRIGGERER):
            time.sleep(STALL)
            during = on_postgres.owners()
        assert len(before) == WAITS
        assert before.keys() == during.keys()
        assert len(set(before.values())) == len(set(during.values())) == 1
        assert set(before.values()) != set(during.values())

        (stalled,) = set(before.values())
        wait_until(
            lambda: killed(on_postgres, run_id, stalled) == WAITS,
            60,
            lambda: f"on_kill was called {killed(on_postgres, run_id, stalled)} times",
        )
        time.sleep(ON_KILL)
        assert gateway.cancels == []

        gateway.finish()
        assert airflow.wait_for_run("many_waits", run_id, 400) == "success"
        states = on_postgres.states("many_waits", run_id)
        assert list(states.values()) == ["success"] * WAITS
        assert gateway.cancels == []


def all_deferred(on_postgres: OnPostgres, run_id: str) -> bool:
    states = on_postgres.states("many_waits", run_id)
    return list(states.values()) == ["deferred"] * WAITS


def killed(on_postgres: OnPostgres, run_id: str, job_id: int | None) -> int:
    """Return for how many triggers a triggerer has called ``on_kill``, by their logs."""
    folder = on_postgres.airflow.logs / "dag_id=many_waits" / f"run_id={run_id}"
    logs = folder.rglob(f"*.trigger.{job_id}.log")
    return sum("invoking on_kill" in log.read_text(errors="replace") for log in logs)


def test_a_deadline_that_passes_while_the_only_triggerer_stands_still_is_a_timeout(tmp_path: Path) -> None:
    with (
        ScriptedGateway() as gateway,
        airflow_on_postgres(tmp_path / "home", "stalls.py", gateway.url, {}) as on_postgres,
    ):
        airflow = on_postgres.airflow
        run_id = airflow.trigger("deadlines")
        wait_until(lambda: len(set(gateway.polled)) == len(DEADLINES), 60, lambda: "not all are polled")

        def tasks() -> dict[str, tuple[str, int]]:
            found = airflow.task_instances("deadlines", run_id)
            return {task["task_id"]: (task["state"], task["try_number"]) for task in found}

        def past_limit_is_over() -> bool:
            found = tasks()
            return not any(found[name] in FIRST_TRY for name in PAST_LIMIT)

        with on_postgres.stopped(TRIGGERER):
            assert tasks() == dict.fromkeys(DEADLINES, ("deferred", 1))
            # Airflow itself ends these deferrals, a minute after the deadlines of the tasks. The
            # third deadline has passed by then, too, but its deferral goes on.
            wait_until(past_limit_is_over, 200, lambda: f"the tasks are not over: {tasks()}")
            assert {tasks()[name] for name in PAST_LIMIT} == {("failed", 1)}
        assert airflow.wait_for_run("deadlines", run_id, 400) == "failed"

        assert len(gateway.created) == len(DEADLINES)
        assert set(gateway.cancels) == set(gateway.created)
        assert tasks() == dict.fromkeys(DEADLINES, ("failed", 1))
        for name in DEADLINES:
            assert on_postgres.raised("deadlines", run_id, name) == "PredictionTimeout"
