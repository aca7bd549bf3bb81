"""Ways in which a paid prediction was once lost, left running or made without need."""

from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk.execution_time.timeout import timeout as airflows_timeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.protocol import create
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission.record import fingerprint
from tests.operators.conftest import cancels, first_try
from tests.operators.test_on_kill import killed, runner, sensor
from tests.tasks import Clock, TaskInstance, context_of, tell_state


def deferred(gateway: Sandbox) -> TaskInstance:
    """A try that has left its prediction to the triggerer."""
    task, task_instance = runner(deferrable=True), first_try(retries=0)
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, task_instance))
    return task_instance


def test_after_an_event_that_cannot_be_understood_a_clear_resumes_what_the_task_remembers(
    gateway: Sandbox,
) -> None:
    task, task_instance = runner(deferrable=True), deferred(gateway)
    with pytest.raises(AirflowException, match="cannot be understood") as failed:
        task.execute_complete(context_of(task, task_instance), None)
    assert not isinstance(failed.value, AirflowFailException)
    with pytest.raises(TaskDeferred) as resumed:
        task.execute(context_of(task, task_instance.again(cleared=True)))
    assert resumed.value.trigger.prediction_id == gateway.predictions[0]["id"]
    assert (gateway.creates, cancels(gateway)) == (1, [])


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
        fingerprint(create({"prompt": "x", "extra": extra}, version="owner/name")) for extra in (odd, text)
    )
    assert first == second


def trouble_while_waiting(gateway: Sandbox, patch: pytest.MonkeyPatch, posts: Faults | None) -> Exception:
    """The error of a task without a store whose questions meet 502 from its create on."""
    Clock(patch)
    task, task_instance = runner(timeout=3600), TaskInstance(None, 1, 2)
    created = task.hook.send_create

    def send_create(*arguments: Any) -> Any:
        prediction = created(*arguments)
        gateway.set_faults(Faults(status=502), method="GET")
        if posts:
            gateway.set_faults(posts, method="POST")
        return prediction

    patch.setattr(task.hook, "send_create", send_create)
    with pytest.raises(AirflowException) as failed:
        task.execute(context_of(task, task_instance))
    return failed.value


def test_what_may_run_on_and_is_not_remembered_is_not_tried_again(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = trouble_while_waiting(gateway, monkeypatch, posts=Faults(status=502))
    assert isinstance(error, AirflowFailException)
    assert f"Prediction {gateway.predictions[0]['id']} could not be polled" in str(error)
    assert "It could not be canceled and may run on" in str(error)


def test_what_was_canceled_after_trouble_is_tried_again(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = trouble_while_waiting(gateway, monkeypatch, posts=None)
    assert not isinstance(error, AirflowFailException)
    assert "It was canceled." in str(error)


def test_a_start_timeout_that_cannot_cancel_is_final_without_a_store(gateway: Sandbox) -> None:
    cold = {"prompt": "x", "sandbox": {"starting": 60, "no_cancel": 404}}
    task = runner(input=cold, start_timeout=1)
    with pytest.raises(AirflowSensorTimeout):
        task.execute(context_of(task, TaskInstance(None, 1, 2)))


def outage_of(gateway: Sandbox, task: Any, task_instance: TaskInstance) -> dict[str, Any]:
    """The event of a deferred task whose prediction has succeeded during an outage."""
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, task_instance))
    prediction_id = gateway.predictions[0]["id"]
    lost = Outcome.of_error(prediction_id, errors.UpstreamError("ten minutes of errors"))
    time.sleep(0.2)
    return lost.to_payload("https://x")


def test_a_prediction_that_has_succeeded_when_it_is_given_up_is_returned(gateway: Sandbox) -> None:
    quick = {"prompt": "x", "sandbox": {"processing": 0.1}}
    task, task_instance = runner(deferrable=True, input=quick), TaskInstance(None)
    event = outage_of(gateway, task, task_instance)
    output = task.execute_complete(context_of(task, task_instance), event)
    assert gateway.predictions[0]["id"] in output[0]


@pytest.mark.parametrize("cleared", [False, True])
def test_what_is_remembered_is_left_running_after_an_outage_and_resumed_later(
    gateway: Sandbox, cleared: bool
) -> None:
    quick = {"prompt": "x", "sandbox": {"processing": 0.1}}
    task, task_instance = runner(deferrable=True, input=quick), first_try(retries=0)
    event = outage_of(gateway, task, task_instance)
    with pytest.raises(errors.UpstreamError) as failed:
        task.execute_complete(context_of(task, task_instance), event)
    assert not isinstance(failed.value, AirflowFailException)
    output = task.execute(context_of(task, task_instance.again(cleared=cleared)))
    assert gateway.predictions[0]["id"] in output[0]
    assert (gateway.creates, cancels(gateway)) == (1, [])


def test_an_execution_timeout_in_the_pause_after_a_429_is_no_doubt(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(rate_limit="header", retry_after=5), times=1)
    task = runner()
    with pytest.raises(errors.RateLimitError), airflows_timeout(1):
        task.execute(context_of(task, first_try()))
    assert gateway.creates == 0
