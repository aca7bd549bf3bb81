"""Submit and wait in one task: both ways of waiting end alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk.execution_time.timeout import timeout as airflows_timeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.polling import poll as polling
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import connect
from tests.tasks import Clock, TaskInstance, context_of, run

each_mode = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
RETRIES = AirflowException
FOR_GOOD = AirflowFailException


def operator(
    faults: dict[str, Any] | None = None, **arguments: Any
) -> Callable[[], QuickRouterRunPredictionOperator]:
    """Make the same operator each time; these faults of the sandbox happen to its prediction."""
    given = {"prompt": "a cat", "sandbox": faults or {}}
    defaults: dict[str, Any] = {"task_id": "run", "input": given, "version": STABLE_DIFFUSION}
    return lambda: QuickRouterRunPredictionOperator(**defaults | arguments)


def failure(make: Callable[[], Any], task_instance: TaskInstance | None = None) -> Exception:
    with pytest.raises(AirflowException) as failed:
        run(make, task_instance or TaskInstance())
    return failed.value


def cancels(gateway: Sandbox) -> int:
    return sum(entry.path.endswith("/cancel") for entry in gateway.requests)


def create_of(gateway: Sandbox) -> Any:
    (create,) = (entry for entry in gateway.requests if entry.path.endswith("/predictions"))
    return create


def airflows(error: Exception) -> type[Exception]:
    """What Airflow takes an exception for."""
    for kind in (AirflowFailException, AirflowSensorTimeout):
        if isinstance(error, kind):
            return kind
    assert isinstance(error, AirflowException)
    return RETRIES


@each_mode
@pytest.mark.parametrize("processing", [0, 0.8])
def test_every_way_of_waiting_gives_the_same_xcoms(
    gateway: Sandbox, deferrable: bool, processing: float
) -> None:
    task_instance = TaskInstance()
    output = run(operator({"processing": processing}, deferrable=deferrable), task_instance)
    (truth,) = gateway.predictions
    assert output == truth["output"] == [f"{gateway.url}/files/{truth['id']}/out-0.png"]
    manifest = task_instance.xcoms["prediction"]
    assert {name: manifest[name] for name in ("id", "status", "output", "error", "metrics")} == {
        "id": truth["id"],
        "status": "succeeded",
        "output": output,
        "error": "",
        "metrics": truth["metrics"],
    }
    assert task_instance.xcoms["_link_QuickRouterPredictionLink"] == manifest["url"]
    assert (gateway.creates, cancels(gateway)) == (1, 0)


def test_a_prediction_that_ends_while_the_server_holds_its_response_needs_no_poll_and_no_deferral(
    gateway: Sandbox,
) -> None:
    task_instance = TaskInstance()
    with DAG("test"):
        task = operator({"processing": 0.3}, deferrable=True, wait=10)()
    output = task.execute(context_of(task, task_instance))
    assert output == gateway.predictions[0]["output"]
    assert task_instance.xcoms["prediction"]["status"] == "succeeded"
    (create,) = gateway.requests
    assert create.headers["prefer"] == "wait=10"


def test_the_read_timeout_of_a_held_response_grows_by_the_wait(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": 0.3})
    assert run(operator({"processing": 1.0}, wait=10), TaskInstance()) == gateway.predictions[0]["output"]


def test_a_prediction_that_outlasts_the_held_response_is_waited_for(gateway: Sandbox) -> None:
    with DAG("test"):
        task = operator({"processing": 600}, deferrable=True, wait=1)()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, TaskInstance()))
    assert deferred.value.trigger.prediction_id == gateway.predictions[0]["id"]


def test_by_default_the_server_does_not_hold_its_response(gateway: Sandbox) -> None:
    run(operator(), TaskInstance())
    assert "prefer" not in create_of(gateway).headers


@pytest.fixture
def replicate(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the routes of Replicate itself."""
    connect(monkeypatch, host=gateway.url, extra={"path_prefix": "/v1"})
    return gateway


@each_mode
def test_a_deployment_makes_the_prediction_and_is_in_the_manifest(
    replicate: Sandbox, deferrable: bool
) -> None:
    task_instance = TaskInstance()
    deployment: dict[str, Any] = {"version": None, "deployment": "acme/shop"}
    output = run(operator(deferrable=deferrable, **deployment), task_instance)
    assert output == replicate.predictions[0]["output"]
    assert create_of(replicate).path == "/v1/deployments/acme/shop/predictions"
    assert task_instance.xcoms["prediction"]["deployment"] == "acme/shop"


def test_a_gateway_without_deployments_is_named_before_anything_is_paid(gateway: Sandbox) -> None:
    deployment: dict[str, Any] = {"version": None, "deployment": "acme/shop"}
    error = failure(operator(**deployment))
    assert isinstance(error, errors.NotFoundError)
    assert "path_prefix" in str(error)
    assert gateway.creates == 0


def test_the_id_and_the_link_are_there_while_it_waits(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    task_instance = TaskInstance()
    with DAG("test"):
        task = operator({"never": True}, deferrable=True, timeout=50)()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, task_instance))
    assert task_instance.xcoms["prediction"]["id"] == gateway.predictions[0]["id"]
    assert deferred.value.timeout == timedelta(seconds=50 + 60)


@each_mode
@pytest.mark.parametrize(
    ("faults", "kind", "airflow"),
    [
        ({"fail": "Prediction interrupted; please retry"}, errors.PredictionInterrupted, RETRIES),
        ({"fail": "CUDA out of memory (E1001)"}, errors.PredictionFailed, FOR_GOOD),
        ({"fail": "NSFW content detected"}, errors.PredictionModerated, FOR_GOOD),
        ({"status_word": "aborted"}, errors.PredictionAborted, RETRIES),
        ({"status_word": "Cancelled"}, errors.PredictionCanceled, FOR_GOOD),
        ({"output": [None]}, errors.PredictionEmpty, FOR_GOOD),
        ({"expire_after": 0}, errors.PredictionExpired, FOR_GOOD),
    ],
)
def test_each_bad_end_is_tried_again_only_if_it_may_pass(
    gateway: Sandbox,
    deferrable: bool,
    faults: dict[str, Any],
    kind: type[Exception],
    airflow: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polling, "OUTPUT_GRACE", 0.8)
    monkeypatch.setattr(polling, "OUTPUT_PAUSE", 0.5)
    error = failure(operator({"processing": 0.4, **faults}, deferrable=deferrable))
    assert (type(error).__name__, airflows(error)) == (kind.__name__, airflow)
    assert isinstance(error, kind)
    assert str(error).startswith(f"Prediction {gateway.predictions[0]['id']} ")
    assert "expire_after" in faults or "Using seed:" in str(error)
    assert (gateway.creates, cancels(gateway)) == (1, 0)


@each_mode
def test_a_refusal_by_a_filter_can_skip_the_task(gateway: Sandbox, deferrable: bool) -> None:
    faults = {"fail": "flagged as sensitive (E005)", "processing": 0.4}
    error = failure(operator(faults, deferrable=deferrable, on_moderation="skip"))
    assert isinstance(error, AirflowSkipException)
    assert "flagged as sensitive" in str(error)


@each_mode
def test_only_a_refusal_by_a_filter_is_skipped(gateway: Sandbox, deferrable: bool) -> None:
    faults = {"fail": "out of memory", "processing": 0.4}
    error = failure(operator(faults, deferrable=deferrable, on_moderation="skip"))
    assert isinstance(error, FOR_GOOD)


@each_mode
@pytest.mark.parametrize("limit", [1, timedelta(seconds=1)])
def test_at_its_deadline_a_prediction_is_canceled_once_and_its_last_state_is_told(
    gateway: Sandbox, deferrable: bool, limit: Any
) -> None:
    task_instance = TaskInstance(max_tries=2)
    make = operator({"never": True}, deferrable=deferrable, timeout=limit)
    error = failure(make, task_instance)
    assert isinstance(error, errors.PredictionTimeout)
    assert airflows(error) is AirflowSensorTimeout
    assert "did not finish in time" in str(error)
    assert "Last state seen: processing.\n  It was canceled." in str(error)
    assert "Using seed:" in str(error)
    assert (gateway.creates, cancels(gateway)) == (1, 1)
    assert gateway.predictions[0]["status"] == "canceled"
    assert task_instance.xcoms["prediction"]["status"] == "canceled"


@each_mode
def test_a_deadline_cancels_even_if_a_kill_does_not(gateway: Sandbox, deferrable: bool) -> None:
    faults = {"never": True}
    failure(operator(faults, deferrable=deferrable, timeout=1, cancel_on_kill=False))
    assert cancels(gateway) == 1


@each_mode
def test_an_execution_timeout_that_is_shorter_is_the_deadline(gateway: Sandbox, deferrable: bool) -> None:
    limit = timedelta(seconds=1)
    error = failure(operator({"never": True}, deferrable=deferrable, execution_timeout=limit))
    assert isinstance(error, errors.PredictionTimeout)
    assert cancels(gateway) == 1
    assert create_of(gateway).headers["cancel-after"] == "300s"


def test_an_execution_timeout_within_a_question_is_the_deadline_too(gateway: Sandbox) -> None:
    with DAG("test"):
        task = operator({"never": True}, deferrable=False, timeout=60)()
    gateway.set_faults(Faults(latency=3), times=1, method="GET")
    with pytest.raises(errors.PredictionTimeout, match="It was canceled"), airflows_timeout(1.5):
        task.execute(context_of(task, TaskInstance()))
    assert cancels(gateway) == 1


@each_mode
def test_what_does_not_start_in_time_is_canceled_and_tried_again(gateway: Sandbox, deferrable: bool) -> None:
    error = failure(operator({"starting": 60}, deferrable=deferrable, start_timeout=1))
    assert isinstance(error, errors.PredictionStartTimeout)
    assert airflows(error) is RETRIES
    assert "did not start in time" in str(error)
    assert "Last state seen: starting.\n  It was canceled." in str(error)
    assert cancels(gateway) == 1


@each_mode
def test_what_starts_in_time_may_run_longer(gateway: Sandbox, deferrable: bool) -> None:
    faults = {"starting": 0.2, "processing": 1.5}
    assert run(operator(faults, deferrable=deferrable, start_timeout=0.6), TaskInstance())


@each_mode
def test_a_success_between_the_deadline_and_its_cancel_counts(gateway: Sandbox, deferrable: bool) -> None:
    # The cancel route takes its time, and refuses; the prediction ends meanwhile.
    faults = {"processing": 1.4, "no_cancel": 405, "latency": 0.5}
    output = run(operator(faults, deferrable=deferrable, timeout=0.6), TaskInstance())
    assert output == gateway.predictions[0]["output"]


@each_mode
@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_gateway_without_a_cancel_route_is_told_in_one_sentence(
    gateway: Sandbox, deferrable: bool, status: int
) -> None:
    faults = {"never": True, "no_cancel": status}
    error = failure(operator(faults, deferrable=deferrable, timeout=0.6))
    assert isinstance(error, errors.PredictionTimeout)
    assert str(error).count("could not be canceled") == 1
    assert f"the gateway has no way to, or does not know it (HTTP {status})" in str(error)


@each_mode
def test_a_few_bad_answers_do_not_lose_the_prediction(gateway: Sandbox, deferrable: bool) -> None:
    gateway.set_faults(Faults(status=503), times=2, method="GET")
    faults = {"processing": 0.5, "not_found_for": 0.5}
    assert run(operator(faults, deferrable=deferrable), TaskInstance())
    assert gateway.creates == 1
