"""Airflow ends a deferral by itself, since no triggerer has run its trigger in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.submission.cancel import not_canceled
from tests.operators.conftest import cancels, first_try
from tests.operators.test_on_kill import runner, sensor
from tests.tasks import Clock, TaskInstance, context_of, event_of

QUICK: dict[str, Any] = {"prompt": "a cat", "sandbox": {"processing": 5}}
TIMED_OUT = {"error": "Trigger timeout"}
"""What Airflow leaves in its database for a deferral that has lasted longer than its limit."""


def defer(task: Any, task_instance: TaskInstance) -> Any:
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, task_instance))
    return deferred.value.trigger


def resume(task: Any, task_instance: TaskInstance, **kwargs: Any) -> Any:
    return task.resume_execution("__fail__", kwargs or TIMED_OUT, context_of(task, task_instance))


def run_operator(**arguments: Any) -> Any:
    return runner(deferrable=True, timeout=100, **arguments)


with_and_without_store = pytest.mark.parametrize(
    "task_instance", [first_try, lambda: TaskInstance(None, 1, 2)], ids=["store", "no store"]
)
MakeInstance = Callable[[], TaskInstance]


@with_and_without_store
def test_a_run_is_a_timeout_that_cancels_its_prediction_and_is_not_retried(
    gateway: Sandbox, task_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, mine = Clock(monkeypatch), task_instance()
    prediction_id = defer(run_operator(), mine).prediction_id
    clock.now += 161
    with pytest.raises(AirflowSensorTimeout, match="It was canceled") as failed:
        resume(run_operator(), mine)
    assert isinstance(failed.value, errors.PredictionTimeout)
    assert cancels(gateway) == [prediction_id]
    assert gateway.creates == 1


@with_and_without_store
def test_a_run_whose_prediction_has_succeeded_meanwhile_returns_its_output(
    gateway: Sandbox, task_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, mine = Clock(monkeypatch), task_instance()
    defer(run_operator(input=QUICK), mine)
    clock.now += 161
    assert resume(run_operator(input=QUICK), mine) == gateway.predictions[0]["output"]
    assert gateway.creates == 1


def test_a_deferral_that_ends_before_the_deadline_is_left_to_a_retry_that_resumes(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the deadline of the trigger was lost, or Airflow's clock is wrong."""
    clock, mine = Clock(monkeypatch), first_try()
    prediction_id = defer(run_operator(), mine).prediction_id
    clock.now += 99
    with pytest.raises(AirflowException, match="before the prediction's deadline") as failed:
        resume(run_operator(), mine)
    assert not isinstance(failed.value, AirflowFailException | AirflowSensorTimeout)
    assert cancels(gateway) == []
    assert defer(run_operator(), mine.again()).prediction_id == prediction_id


def test_a_run_that_knows_no_prediction_fails_permanently(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    with pytest.raises(AirflowSensorTimeout):
        resume(run_operator(), TaskInstance(None, 1, 2))
    assert gateway.requests == []


def test_without_a_store_a_mapped_task_cancels_the_prediction_of_its_own_manifest(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, mine = Clock(monkeypatch), TaskInstance(None, 1, 2)
    monkeypatch.setattr(mine, "map_index", 3)
    prediction_id = defer(run_operator(), mine).prediction_id
    clock.now += 161
    with pytest.raises(AirflowSensorTimeout):
        resume(run_operator(), mine)
    assert cancels(gateway) == [prediction_id]


@pytest.mark.parametrize("flag", [{}, {"cancel_on_kill": True}])
def test_a_sensor_is_a_timeout_too_and_cancels_only_if_that_is_its_business(
    gateway: Sandbox, flag: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, task = Clock(monkeypatch), sensor(deferrable=True, timeout=100, **flag)
    defer(task, TaskInstance())
    clock.now += 161
    with pytest.raises(AirflowSensorTimeout, match="did not finish in time") as failed:
        resume(task, TaskInstance())
    assert isinstance(failed.value, errors.PredictionTimeout)
    assert cancels(gateway) == ([task.prediction_id] if flag else [])


def test_a_sensor_whose_prediction_has_succeeded_meanwhile_returns_its_output(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, maker, mine = Clock(monkeypatch), run_operator(input=QUICK), first_try()
    prediction_id = defer(maker, mine).prediction_id
    clock.now += 161
    with DAG("test"):
        task = QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id)
    assert resume(task, TaskInstance()) == gateway.predictions[0]["output"]


def test_a_sensor_with_soft_fail_is_skipped(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    task = sensor(deferrable=True, soft_fail=True, cancel_on_kill=True)
    with pytest.raises(AirflowSkipException):
        resume(task, TaskInstance())
    assert cancels(gateway) == [task.prediction_id]


@pytest.mark.parametrize("make", [run_operator, lambda: sensor(deferrable=True)])
def test_any_other_failure_of_a_trigger_is_airflows(gateway: Sandbox, make: Callable[[], Any]) -> None:
    with pytest.raises(TaskDeferralError, match="Trigger failure"):
        resume(make(), first_try(), error="Trigger failure")
    assert cancels(gateway) == []


def test_an_event_goes_to_its_method(gateway: Sandbox) -> None:
    quick = {"prompt": "a cat", "sandbox": {"processing": 0.2}}
    mine = first_try()
    event = event_of(defer(runner(deferrable=True, input=quick), mine))
    task = runner(deferrable=True, input=quick)
    output = task.resume_execution("execute_complete", {"event": event}, context_of(task, mine))
    assert output == gateway.predictions[0]["output"]


def timed_out_event(task: Any, task_instance: TaskInstance, stopped: str) -> dict[str, Any]:
    prediction_id = defer(task, task_instance).prediction_id
    seen = Prediction.from_json({"id": prediction_id, "status": "processing"})
    late = Outcome(reason=Reason.TIMEOUT, prediction_id=prediction_id, prediction=seen, stopped=stopped)
    return late.to_payload("https://link")


@pytest.mark.parametrize("kind", ["run", "wait"])
def test_what_the_trigger_could_not_cancel_the_worker_tries_again(gateway: Sandbox, kind: str) -> None:
    task = runner(deferrable=True) if kind == "run" else sensor(deferrable=True, cancel_on_kill=True)
    mine, lost = first_try(), not_canceled(errors.UpstreamError("busy", status=503))
    event = timed_out_event(task, mine, lost)
    with pytest.raises(errors.PredictionTimeout, match="It was canceled") as failed:
        task.execute_complete(context_of(task, mine), event)
    assert lost not in str(failed.value)
    assert cancels(gateway) == [event["prediction_id"]]


@pytest.mark.parametrize("kind", ["run", "wait"])
def test_what_the_trigger_has_canceled_is_not_canceled_again(gateway: Sandbox, kind: str) -> None:
    task = runner(deferrable=True) if kind == "run" else sensor(deferrable=True, cancel_on_kill=True)
    mine = first_try()
    event = timed_out_event(task, mine, "It was canceled.")
    with pytest.raises(errors.PredictionTimeout, match="It was canceled"):
        task.execute_complete(context_of(task, mine), event)
    assert cancels(gateway) == []


def test_what_nobody_could_cancel_is_told(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, task, mine = Clock(monkeypatch), runner(deferrable=True), first_try()
    event = timed_out_event(task, mine, not_canceled(errors.ConnectionLostError("no response")))
    gateway.set_faults(Faults(status=503), method="POST")
    with pytest.raises(AirflowSensorTimeout, match="may run on: HTTP 503"):
        task.execute_complete(context_of(task, mine), event)
    assert len(cancels(gateway)) == 3
    assert clock.pauses == [0, 1, 2]
