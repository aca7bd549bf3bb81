from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.polling import poll as polling
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.conftest import connect
from tests.tasks import Clock, TaskInstance, context_of, run

MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule", "poke_interval": 0.3},
    "deferred": {"deferrable": True},
}
each_mode = pytest.mark.parametrize("mode", MODES)


def submit(**faults: Any) -> str:
    """Make a prediction to which these faults of the sandbox happen."""
    body = {"prompt": "a cat", "sandbox": faults}
    return QuickRouterHook().create_prediction(body, version=STABLE_DIFFUSION).id


def sensor(prediction_id: str, **arguments: Any) -> Callable[[], QuickRouterPredictionSensor]:
    return lambda: QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id, **arguments)


def wait(prediction_id: str, mode: str, **arguments: Any) -> tuple[Any, TaskInstance]:
    task_instance = TaskInstance()
    return run(sensor(prediction_id, **MODES[mode] | arguments), task_instance), task_instance


def failure(prediction_id: str, mode: str, **arguments: Any) -> Exception:
    with pytest.raises(AirflowException) as failed:
        wait(prediction_id, mode, **arguments)
    return failed.value


@pytest.mark.parametrize("mode", [*MODES, "finished"])
def test_every_path_gives_the_same_return_value_and_manifest(gateway: Sandbox, mode: str) -> None:
    prediction_id = submit(processing=0.5)
    if mode == "finished":
        wait(prediction_id, "poke")
    output, task_instance = wait(prediction_id, "deferred" if mode == "finished" else mode)
    (truth,) = gateway.predictions
    assert output == truth["output"] == [f"{gateway.url}/files/{prediction_id}/out-0.png"]
    manifest = task_instance.xcoms["prediction"]
    completed_at = manifest.pop("completed_at"), manifest.pop("expires_at")
    assert completed_at[0][:19] == truth["completed_at"][:19]
    assert completed_at[1] > completed_at[0]
    assert f"Using seed: {manifest.pop('seed')}\n" in truth["logs"]
    assert manifest == {
        "id": prediction_id,
        "status": "succeeded",
        "output": output,
        "error": "",
        "model": truth["model"],
        "version": truth["version"],
        "deployment": None,
        "created_at": truth["created_at"].replace("Z", "+00:00"),
        "started_at": truth["started_at"].replace("Z", "+00:00"),
        "data_removed": False,
        "cost": None,
        "metrics": truth["metrics"],
        "url": f"{gateway.url}/replicate/v1/predictions/{prediction_id}",
    }


def test_a_prediction_that_is_over_is_not_deferred(gateway: Sandbox) -> None:
    prediction_id = submit(processing=0, starting=0)
    with DAG("test"):
        task = sensor(prediction_id, deferrable=True)()
    assert task.execute(context_of(task, TaskInstance()))


def test_the_id_and_the_link_can_be_read_while_it_waits(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    prediction_id, task_instance = submit(never=True), TaskInstance()
    with DAG("test"):
        task = sensor(prediction_id, deferrable=True, timeout=50)()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, task_instance))
    assert task_instance.xcoms["prediction"]["id"] == prediction_id
    assert prediction_id in task_instance.xcoms["_link_QuickRouterPredictionLink"]
    assert deferred.value.timeout == timedelta(seconds=50 + 60)


@each_mode
@pytest.mark.parametrize(
    ("faults", "kind", "says"),
    [
        ({"fail": "NSFW content detected"}, errors.PredictionFailed, "NSFW content detected"),
        ({"output": None}, errors.PredictionEmpty, "without any output"),
        ({"output": [None]}, errors.PredictionEmpty, "without any output"),
        ({"expire_after": 0}, errors.PredictionExpired, "the API stores data for one hour"),
    ],
)
def test_each_bad_end_is_final_and_has_its_own_exception_in_every_mode(
    gateway: Sandbox,
    mode: str,
    faults: dict[str, Any],
    kind: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polling, "OUTPUT_GRACE", 0.8)
    monkeypatch.setattr(polling, "OUTPUT_PAUSE", 0.5)
    prediction_id = submit(**faults, processing=0.4)
    error = failure(prediction_id, mode)
    assert isinstance(error, kind)
    assert isinstance(error, AirflowFailException)
    assert str(error).startswith(f"Prediction {prediction_id} ")
    assert "Model: stability-ai/stable-diffusion." in str(error)
    assert says in str(error)
    if "expire_after" not in faults:
        assert "Using seed:" in str(error)


@each_mode
@pytest.mark.parametrize(
    ("word", "kind"), [("Cancelled", errors.PredictionCanceled), ("aborted", errors.PredictionAborted)]
)
def test_a_prediction_that_was_stopped_has_its_own_exception(
    gateway: Sandbox, mode: str, word: str, kind: type[Exception]
) -> None:
    error = failure(submit(status_word=word, processing=0.4), mode)
    assert isinstance(error, kind)
    assert isinstance(error, AirflowFailException)


@each_mode
def test_a_timeout_says_which_prediction_and_its_last_state(gateway: Sandbox, mode: str) -> None:
    prediction_id = submit(never=True)
    error = failure(prediction_id, mode, timeout=0.7)
    assert isinstance(error, errors.PredictionTimeout)
    assert isinstance(error, AirflowSensorTimeout)
    assert f"Prediction {prediction_id}" in str(error)
    assert "Last state seen: processing" in str(error)


@each_mode
@pytest.mark.parametrize("flag", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("over", [True, False], ids=["already over", "over later"])
def test_a_failure_is_skipped_in_every_mode_if_the_author_wants_so(
    gateway: Sandbox, mode: str, flag: str, over: bool
) -> None:
    prediction_id = submit(fail="no", processing=0 if over else 0.4)
    assert isinstance(failure(prediction_id, mode, **{flag: True}), AirflowSkipException)


@each_mode
def test_a_timeout_is_skipped_in_every_mode_with_soft_fail(gateway: Sandbox, mode: str) -> None:
    error = failure(submit(never=True), mode, timeout=0.6, soft_fail=True)
    assert isinstance(error, AirflowSkipException)


@each_mode
def test_a_refused_key_ends_the_wait_after_one_request(
    gateway: Sandbox, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit()
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    before = len(gateway.requests)
    error = failure(prediction_id, mode)
    assert isinstance(error, errors.AuthenticationError)
    assert isinstance(error, AirflowFailException)
    assert len(gateway.requests) == before + 1


def test_a_later_poke_waits_out_a_refused_key(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier process has poked: a key that had always been wrong would have failed that one."""
    prediction_id, task_instance = submit(), TaskInstance()
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    task_instance.first_reschedule = datetime.now(UTC)
    with DAG("test"):
        task = sensor(prediction_id, **MODES["reschedule"])()
    with pytest.raises(AirflowRescheduleException):
        task.execute(context_of(task, task_instance))


@pytest.mark.parametrize(("fault", "confirmed"), [(None, True), (Faults(status=503), False)])
def test_the_trigger_is_told_whether_there_was_a_good_response(
    gateway: Sandbox, fault: Faults | None, confirmed: bool
) -> None:
    prediction_id = submit(never=True)
    if fault:
        gateway.set_faults(fault, method="GET", times=1)
    with DAG("test"):
        task = sensor(prediction_id, deferrable=True)()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, TaskInstance()))
    trigger: Any = deferred.value.trigger
    assert trigger.serialize()[1]["confirmed"] is confirmed


def test_a_poke_after_a_401_reads_the_connection_again(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit(never=True)
    with DAG("test"):
        task = sensor(prediction_id, deferrable=False)()
    context, settings = context_of(task, TaskInstance()), task.hook.settings
    assert not task.poke(context).is_done
    gateway.set_faults(Faults(odd_response="unauthorized"), method="GET", times=1)
    assert not task.poke(context).is_done
    assert not task.poke(context).is_done
    assert task.hook.settings is not settings


@each_mode
def test_a_few_bad_answers_do_not_lose_the_prediction(gateway: Sandbox, mode: str) -> None:
    prediction_id = submit(processing=0.2, not_found_for=0.5)
    gateway.set_faults(Faults(status=503), times=1)
    gateway.set_faults(Faults(body="html"), times=1)
    output, _ = wait(prediction_id, mode)
    assert len(output) == 1


@each_mode
def test_an_id_that_does_not_look_like_one_is_final(gateway: Sandbox, mode: str) -> None:
    error = failure("../models", mode)
    assert isinstance(error, errors.InvalidInputError)
    assert isinstance(error, AirflowFailException)
    assert gateway.requests == []


def test_trouble_that_lasts_is_left_to_a_retry(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.polling.poll.PATIENCE", 0.3)
    prediction_id = submit()
    for mode in ("poke", "deferred"):
        gateway.set_faults(Faults(status=503))
        error = failure(prediction_id, mode)
        gateway.set_faults(None)
        assert isinstance(error, errors.UpstreamError)
        assert not isinstance(error, AirflowFailException)


def test_the_log_of_a_wait_has_news_and_not_each_question(
    gateway: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    wait(submit(starting=0.6, processing=3), "poke", poke_interval=0.5)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Prediction " in line]
    questions = [entry for entry in gateway.requests if entry.method == "GET"]
    assert "starting" in lines[0]
    assert any("processing" in line and "%" in line for line in lines)
    assert len(lines) < len(questions)


def test_a_failure_is_told_even_if_its_log_cannot_be_fetched_any_more(gateway: Sandbox) -> None:
    prediction_id = submit(fail="no", processing=0)
    payload = {
        "payload_version": 1,
        "reason": "failed",
        "prediction_id": prediction_id,
        "manifest": {"id": prediction_id, "status": "failed", "error": "no"},
        "error": None,
    }
    gateway.set_faults(Faults(status=503))
    with DAG("test"):
        task = sensor(prediction_id, deferrable=True)()
    with pytest.raises(AirflowFailException, match="failed: no"):
        task.execute_complete(context_of(task, TaskInstance()), payload)


def test_an_event_that_cannot_be_understood_is_never_success(gateway: Sandbox) -> None:
    with DAG("test"):
        task = sensor("p1", deferrable=True)()
    with pytest.raises(AirflowException, match="event cannot be understood"):
        task.execute_complete(context_of(task, TaskInstance()), None)


def test_reschedule_mode_uses_airflows_own_interval(gateway: Sandbox) -> None:
    with DAG("test"):
        task = sensor("p1", deferrable=False, mode="reschedule", poke_interval=70)()
    assert task._get_next_poke_interval(0, lambda: 0.0, 1) == 70


def test_whether_it_defers_is_airflows_default_unless_the_author_says_so() -> None:
    code = (
        "from airflow_provider_quickrouter.sensors.prediction import *\n"
        "print(QuickRouterPredictionSensor(task_id='wait', prediction_id='p1').deferrable)"
    )
    environment = os.environ | {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] == "True"
    assert not sensor("p1")().deferrable


def test_a_success_after_the_deadline_is_still_a_success(gateway: Sandbox) -> None:
    prediction_id = submit(processing=0)
    late = {
        "reason": "timeout",
        "prediction_id": prediction_id,
        "manifest": {"id": prediction_id, "status": "processing"},
        "error": None,
    }
    with DAG("test"):
        task = sensor(prediction_id, deferrable=True)()
    output = task.execute_complete(context_of(task, TaskInstance()), late)
    assert output == [f"{gateway.url}/files/{prediction_id}/out-0.png"]


@each_mode
def test_a_wrong_connection_is_final_and_named(
    gateway: Sandbox, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit()
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    error = failure(prediction_id, mode)
    assert isinstance(error, errors.InvalidConnectionError)
    assert isinstance(error, AirflowFailException)


@each_mode
def test_the_link_is_there_even_if_the_first_question_fails(gateway: Sandbox, mode: str) -> None:
    prediction_id, task_instance = submit(never=True), TaskInstance()
    gateway.set_faults(Faults(status=503))
    with pytest.raises(AirflowSensorTimeout):
        run(sensor(prediction_id, **MODES[mode], timeout=0.5), task_instance)
    assert task_instance.xcoms["prediction"]["status"] == "unknown"
    assert prediction_id in task_instance.xcoms["_link_QuickRouterPredictionLink"]


def test_an_output_that_is_too_large_for_xcom_is_warned_about(
    gateway: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    output, _ = wait(submit(output="data:image/png;base64,AAAA", processing=0), "poke")
    assert output == ["[left out of XCom: data: URI of 26 characters]"]
    assert "too large for XCom" in capsys.readouterr().out
