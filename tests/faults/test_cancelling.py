"""Kills of triggers and workers whose task goes on: nothing must be canceled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.clock import Clock
from tests.faults.dags import run_operator
from tests.faults.gateway import DEFAULT, Gateway, ReceivedRequest
from tests.faults.running import TaskInstance, prepared, trigger_of
from tests.faults.supervisor import airflow_is_unreachable, airflow_reports

durable_or_not = pytest.mark.parametrize("durable", [True, False], ids=["durable", "durable=False"])


def running_trigger(**arguments: Any) -> Any:
    """Return the trigger of a deferred task, as another triggerer makes it."""
    trigger = trigger_of(run_operator(deferrable=True, **arguments))
    trigger.task_instance = SimpleNamespace(
        dag_id="test", task_id="run", run_id="a run", map_index=-1, try_number=1
    )
    return trigger


@durable_or_not
@pytest.mark.parametrize("after", [0.0, 7.0], ids=["at once", "after 7 s"])
def test_a_trigger_that_moved_to_another_triggerer_cancels_nothing(
    after: float, durable: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.result = {"status": "processing"}
    trigger = running_trigger(durable=durable)
    airflow_reports(monkeypatch, "deferred", after=after)
    Clock(monkeypatch, 10.0)
    asyncio.run(trigger.on_kill())
    assert len(gateway.cancels) == 0


@durable_or_not
def test_a_trigger_cancels_nothing_while_airflow_is_unreachable(
    durable: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.result = {"status": "processing"}
    trigger = running_trigger(durable=durable)
    airflow_is_unreachable(monkeypatch)
    asyncio.run(trigger.on_kill())
    assert len(gateway.cancels) == 0


@durable_or_not
def test_a_killed_worker_cancels_nothing_while_airflow_is_unreachable(
    durable: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_is_unreachable(monkeypatch)
    operator, context = prepared(run_operator(durable=durable), TaskInstance())
    kills: list[ReceivedRequest] = []

    def kill_during_the_first_poll(request: ReceivedRequest) -> Any:
        if not kills:
            kills.append(request)
            operator.on_kill()
        return DEFAULT

    gateway.on_poll = kill_during_the_first_poll
    operator.execute(context)
    assert len(kills) == 1
    assert len(gateway.cancels) == 0
