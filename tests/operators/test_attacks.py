"""Ways in which a paid prediction was once lost, left running or made without need."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, TaskDeferred

from airflow_provider_quickrouter.api.attempt import fingerprint
from airflow_provider_quickrouter.api.protocol import create
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.conftest import cancels, first_try
from tests.operators.test_on_kill import killed, runner, sensor
from tests.tasks import TaskInstance, context_of, tell_state


def deferred(gateway: Sandbox) -> TaskInstance:
    """A try that has left its prediction to the triggerer."""
    task, task_instance = runner(deferrable=True), first_try(retries=0)
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, task_instance))
    return task_instance


def test_an_event_that_cannot_be_understood_stops_what_the_task_remembers(gateway: Sandbox) -> None:
    task, task_instance = runner(deferrable=True), deferred(gateway)
    with pytest.raises(AirflowException, match="cannot be understood"):
        task.execute_complete(context_of(task, task_instance), None)
    assert cancels(gateway) == [gateway.predictions[0]["id"]]


def test_a_sensor_that_skips_when_its_time_is_up_cancels_too(gateway: Sandbox) -> None:
    task = sensor(cancel_on_kill=True, soft_fail=True, timeout=1)
    with pytest.raises(AirflowSkipException):
        task.execute(context_of(task, TaskInstance()))
    assert cancels(gateway) == [task.prediction_id]


def test_a_task_killed_while_it_looks_for_its_prediction_cancels_that(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_instance = deferred(gateway)
    tell_state(monkeypatch, "failed")
    gateway.set_faults(Faults(status=503), method="GET", seconds=2)
    killed(runner(), task_instance.again())
    first = next(entry for entry in gateway.requests if entry.path.endswith("/cancel"))
    answered = [entry.at for entry in gateway.requests if entry.status == 200]
    assert first.at <= min(answered)
    assert (gateway.creates, gateway.predictions[0]["status"]) == (1, "canceled")


def test_a_task_killed_in_the_pause_after_a_429_creates_nothing(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(rate_limit="header", retry_after=2), times=1)
    killed(runner())
    assert gateway.creates == 0


def test_keys_of_an_input_that_are_no_texts_have_a_fingerprint() -> None:
    odd, text = {1: "a", "b": 2}, {"1": "a", "b": 2}
    first, second = (
        fingerprint(create({"prompt": "x", "extra": extra}, version="owner/name"))
        for extra in (odd, text)
    )
    assert first == second
