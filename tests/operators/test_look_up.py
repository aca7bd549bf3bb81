"""The prediction of an earlier attempt that is gone, cannot be canceled, or comes too late."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.polling.poll import GONE_AFTER
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.operators.conftest import Execute, cancels, execute_with, first_try, record
from tests.tasks import Clock

pytestmark = pytest.mark.usefixtures("each_store")

MISSING = Faults(odd_response="not_found")


def test_what_the_api_does_not_find_for_a_minute_is_canceled_once_and_paid_for_again(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, clock = first_try(), Clock(monkeypatch)
    prediction_id = execute(lost)
    gateway.clear()
    new = execute(lost.again())
    assert new != prediction_id
    assert (gateway.creates, cancels(gateway)) == (1, [prediction_id])
    assert record(lost)["prediction_id"] == new
    assert GONE_AFTER <= sum(clock.pauses) < 2.5 * GONE_AFTER


def test_what_is_missing_but_can_be_canceled_does_not_run_beside_the_new_one(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost = first_try()
    prediction_id = execute(lost)
    gateway.set_faults(MISSING, method="GET")
    assert execute(lost.again()) != prediction_id
    assert (gateway.creates, cancels(gateway)) == (2, [prediction_id])
    assert [each["status"] for each in gateway.predictions].count("canceled") == 1


def test_what_is_missing_but_turns_out_to_have_succeeded_is_resumed(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost, faults = first_try(), {"processing": 5}
    prediction_id = execute(lost, faults)
    gateway.set_faults(MISSING, method="GET")
    assert execute(lost.again(), faults) == prediction_id
    assert gateway.creates == 1


@pytest.mark.parametrize("status", [405, 501])
def test_without_a_cancel_route_what_is_missing_is_paid_for_again(
    gateway: Sandbox, execute: Execute, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost, faults = first_try(), {"never": True, "no_cancel": status}
    prediction_id = execute(lost, faults)
    gateway.set_faults(MISSING, method="GET")
    assert execute(lost.again(), faults) != prediction_id
    assert gateway.creates == 2


REFUSED_CANCELS = [
    Faults(status=503),
    Faults(odd_response="unauthorized"),
    Faults(odd_response="forbidden"),
    Faults(odd_response="not_found_page"),
    Faults(drop="before"),
]
refused_cancels = pytest.mark.parametrize("fault", REFUSED_CANCELS, ids=lambda fault: repr(fault))


@refused_cancels
def test_what_is_missing_and_may_run_on_is_reported_until_a_person_clears_the_task(
    gateway: Sandbox, execute: Execute, fault: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost = first_try()
    prediction_id = execute(lost)
    gateway.set_faults(MISSING, method="GET")
    gateway.set_faults(fault, method="POST")
    with pytest.raises(errors.UncertainCreateError, match=prediction_id) as failed:
        execute(lost.again())
    assert isinstance(failed.value, AirflowFailException)
    assert failed.value.begun_at == record(lost)["begun_at"]
    assert (record(lost)["reported"], record(lost)["prediction_id"]) == (True, None)
    gateway.set_faults(None)
    with pytest.raises(errors.UncertainCreateError):
        execute(lost.again().again())
    assert gateway.creates == 1
    assert execute(lost.again().again(cleared=True)) != prediction_id
    assert gateway.creates == 2


def test_an_author_who_takes_the_risk_has_it_submitted_again(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost = first_try()
    prediction_id = execute(lost)
    gateway.set_faults(MISSING, method="GET")
    gateway.set_faults(Faults(status=503), method="POST", times=1)
    assert execute(lost.again(), on_uncertain="resubmit") != prediction_id
    assert gateway.creates == 2


run = execute_with("run")
ENDED_BADLY = [{"fail": "no"}, {"status_word": "aborted"}, {"expire_after": 0}]


@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
@pytest.mark.parametrize("faults", ENDED_BADLY, ids=["failed", "aborted", "expired"])
def test_a_task_whose_time_is_over_pays_for_nothing_new(
    gateway: Sandbox, faults: dict[str, Any], limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {**faults, "processing": 5}
    limits: dict[str, Any] = {limit: timedelta(seconds=100)}
    prediction_id = run(lost, faults, **limits)
    clock.now += 101
    with pytest.raises(errors.PredictionTimeout, match=f"Prediction {prediction_id} did not finish"):
        run(lost.again(), faults, **limits)
    assert (gateway.creates, cancels(gateway)) == (1, [])


def test_a_timeout_of_an_earlier_attempt_is_final_and_tells_the_last_state(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {"fail": "no", "processing": 5}
    run(lost, faults, timeout=100)
    clock.now += 101
    with pytest.raises(AirflowSensorTimeout, match="Last state seen: failed"):
        run(lost.again(), faults, timeout=100)


def test_what_is_gone_when_the_time_is_over_is_not_replaced(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost = Clock(monkeypatch), first_try()
    run(lost, timeout=100)
    gateway.clear()
    clock.now += 50  # the minute in which it is not found outlasts the rest
    with pytest.raises(errors.PredictionTimeout, match="unknown to the API"):
        run(lost.again(), timeout=100)
    assert gateway.creates == 0


def test_what_has_succeeded_in_time_is_returned_however_late_the_retry_comes(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {"processing": 5}
    prediction_id = run(lost, faults, timeout=100)
    clock.now += 1_000
    assert run(lost.again(), faults, timeout=100) == prediction_id
    assert (gateway.creates, cancels(gateway)) == (1, [])


def test_a_clear_begins_a_new_time(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {"fail": "no", "processing": 5}
    prediction_id = run(lost, faults, timeout=100)
    clock.now += 1_000
    assert run(lost.again(cleared=True), faults, timeout=100) != prediction_id
    assert gateway.creates == 2


def test_a_submit_has_no_time_of_its_own(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {"fail": "no", "processing": 5}
    submit, limits = execute_with("submit"), {"execution_timeout": timedelta(seconds=100)}
    prediction_id = submit(lost, faults, **limits)
    clock.now += 10_000
    assert submit(lost.again(), faults, **limits) != prediction_id


def test_a_key_that_is_replaced_while_an_earlier_prediction_is_looked_for_is_read_again(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost = Clock(monkeypatch), first_try()
    prediction_id = execute(lost)
    connect(monkeypatch, host=gateway.url, password="qr-the-key-of-last-year")

    def replace_key(seconds: float) -> None:
        clock.now += seconds
        connect(monkeypatch, host=gateway.url, password=KEY)

    monkeypatch.setattr(time, "sleep", replace_key)
    assert execute(lost.again()) == prediction_id
    assert [entry.status for entry in gateway.requests if entry.method == "GET"][:2] == [401, 200]
    assert gateway.creates == 1
