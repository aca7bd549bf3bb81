"""A person marks or clears a deferred task: what the trigger then does to the prediction."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow.jobs.triggerer_job_runner import _ON_CANCEL_TIMEOUT as ON_KILL_TIMEOUT

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission import cancel as stopping
from airflow_provider_quickrouter.submission.cancel import CLEAR, MARK, TIMEOUT, TRIGGERER
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.conftest import connect
from tests.hooks.test_hook import unused_port
from tests.tasks import Clock, TaskInstance, event_of, rebuilt, statuses_of_cancels, tell_state
from tests.triggers.test_prediction import submit


def killed(prediction_id: str, *cancel_on: str) -> None:
    """Rebuild a trigger as the triggerer does, and kill it."""
    trigger = rebuilt(QuickRouterPredictionTrigger(prediction_id, cancel_on=cancel_on))
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    asyncio.run(trigger.on_kill())


def cancels(gateway: Sandbox) -> int:
    return sum(entry.path.endswith("/cancel") for entry in gateway.requests)


@pytest.mark.parametrize(
    ("cancel_on", "state", "expected"),
    [
        ((), "failed", 0),
        ((TIMEOUT,), "failed", 0),
        ((TIMEOUT, MARK), "failed", 1),
        ((TIMEOUT, MARK), "success", 1),
        ((MARK,), "failed", 1),
        ((TIMEOUT, MARK), None, 0),
        ((TIMEOUT, MARK), "scheduled", 0),
        ((TIMEOUT, MARK), "queued", 0),
        ((TIMEOUT, MARK), "running", 0),
        ((TIMEOUT, MARK), "deferred", 0),
        ((TIMEOUT, MARK), "restarting", 0),
        ((TIMEOUT, MARK, CLEAR), None, 1),
        ((TIMEOUT, MARK, CLEAR), "restarting", 1),
        ((TIMEOUT, MARK, CLEAR), "failed", 1),
        ((TIMEOUT, MARK, CLEAR), "running", 0),
        ((TIMEOUT, MARK, CLEAR), "deferred", 0),
        ((TIMEOUT, MARK), ConnectionError("no server"), 0),
        ((TIMEOUT, MARK, CLEAR), ConnectionError("no server"), 0),
    ],
)
def test_it_cancels_once_or_not_at_all(
    gateway: Sandbox,
    cancel_on: tuple[str, ...],
    state: str | Exception | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell_state(monkeypatch, state)
    killed(submit(never=True), *cancel_on)
    assert cancels(gateway) == expected
    assert (gateway.predictions[0]["status"] == "canceled") is bool(expected)


def test_a_trigger_of_an_older_version_cancels_nothing(gateway: Sandbox) -> None:
    trigger = QuickRouterPredictionTrigger(prediction_id=submit(never=True))
    asyncio.run(trigger.on_kill())
    assert cancels(gateway) == 0


@pytest.mark.parametrize("fault", [Faults(latency=3), Faults(hang=3)], ids=["latency", "hang"])
def test_a_cancel_that_hangs_ends_in_time_and_raises_nothing(
    gateway: Sandbox, fault: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "TRIGGERER", stopping.Limits(state=9, total=0.5))
    tell_state(monkeypatch, "failed")
    prediction_id = submit(never=True)
    gateway.set_faults(fault, method="POST")
    killed(prediction_id, MARK, CLEAR)
    assert statuses_of_cancels(gateway) == [None]


def test_the_longest_that_it_may_take_lies_below_what_airflow_gives() -> None:
    assert TRIGGERER.total < ON_KILL_TIMEOUT


def test_a_gateway_in_trouble_or_down_raises_nothing(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    tell_state(monkeypatch, "failed")
    prediction_id = submit(never=True)
    gateway.set_faults(Faults(status=500))
    killed(prediction_id, MARK, CLEAR)
    assert cancels(gateway) == 3
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    killed(prediction_id, MARK, CLEAR)


def test_at_its_deadline_it_cancels_once_and_says_so(gateway: Sandbox) -> None:
    prediction_id, now = submit(never=True), time.time()
    trigger = QuickRouterPredictionTrigger(prediction_id, deadline=now, cancel_on=[TIMEOUT])
    event = event_of(rebuilt(trigger))
    assert (event["reason"], event["stopped"]) == ("timeout", "It was canceled.")
    assert event["last_state"] == "processing"
    assert cancels(gateway) == 1


def test_at_its_deadline_it_cancels_nothing_that_is_not_its_business(gateway: Sandbox) -> None:
    trigger = QuickRouterPredictionTrigger(submit(never=True), deadline=time.time())
    event = event_of(rebuilt(trigger))
    assert (event["reason"], event["stopped"]) == ("timeout", "")
    assert cancels(gateway) == 0


def test_at_its_latest_start_it_cancels_once_and_says_so(gateway: Sandbox) -> None:
    prediction_id, now = submit(starting=60), time.time()
    trigger = QuickRouterPredictionTrigger(prediction_id, start_deadline=now, cancel_on=[TIMEOUT])
    event = event_of(rebuilt(trigger))
    assert (event["reason"], event["stopped"]) == ("start_timeout", "It was canceled.")
    assert (event["last_state"], cancels(gateway)) == ("starting", 1)


def test_a_cancel_at_the_deadline_that_hangs_does_not_hold_up_the_event(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "airflow_provider_quickrouter.triggers.prediction.DEADLINE_CANCEL"
    monkeypatch.setattr(path, 0.5)
    prediction_id, now = submit(never=True), time.time()
    gateway.set_faults(Faults(latency=3), method="POST")
    trigger = QuickRouterPredictionTrigger(prediction_id, deadline=now, cancel_on=[TIMEOUT])
    event = event_of(trigger)
    assert event["reason"] == "timeout"
    assert "could not be canceled and may run on" in event["stopped"]
    assert statuses_of_cancels(gateway) == [None]
