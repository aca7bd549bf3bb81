from __future__ import annotations

import asyncio
import inspect
import json
import time
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.polling.poll import PATIENCE
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.conftest import KEY, connect
from tests.tasks import Clock, event_of, rebuilt

SECRET_PROMPT = "a prompt that nobody else should read"


def submit(**faults: Any) -> str:
    body = {"prompt": SECRET_PROMPT, "sandbox": faults}
    return QuickRouterHook().create_prediction(body, version=STABLE_DIFFUSION).id


def test_a_rebuilt_trigger_is_equal_in_every_attribute() -> None:
    trigger = QuickRouterPredictionTrigger("p1", "c", 3.0, started_at=10.0, deadline=20.0)
    assert vars(rebuilt(trigger)) == vars(trigger)


def test_every_argument_of_the_trigger_survives_serialisation() -> None:
    arguments = set(inspect.signature(QuickRouterPredictionTrigger).parameters) - {"_ignored"}
    assert set(QuickRouterPredictionTrigger("p1").serialize()[1]) == arguments


def test_arguments_of_older_and_newer_versions_do_not_break_it() -> None:
    assert QuickRouterPredictionTrigger(prediction_id="p1").deadline is None
    newer = QuickRouterPredictionTrigger(prediction_id="p1", colour="blue", started_at=5.0)
    assert newer.started_at == 5.0
    assert "colour" not in newer.serialize()[1]


def test_it_waits_with_gets_only_on_one_connection(gateway: Sandbox) -> None:
    prediction_id = submit(processing=2)
    event = event_of(QuickRouterPredictionTrigger(prediction_id))
    assert event["reason"] == "succeeded"
    assert event["manifest"]["output"] == [f"{gateway.url}/files/{prediction_id}/out-0.png"]
    methods = [entry.method for entry in gateway.requests]
    assert methods.count("POST") == gateway.creates == 1
    assert methods.count("GET") >= 2


def test_running_it_twice_creates_nothing(gateway: Sandbox) -> None:
    trigger = QuickRouterPredictionTrigger(submit())
    assert event_of(rebuilt(trigger)) == event_of(rebuilt(trigger))
    assert gateway.creates == 1


def test_four_seconds_of_503_cost_at_most_five_requests_and_lose_nothing(gateway: Sandbox) -> None:
    prediction_id = submit()
    gateway.set_faults(Faults(status=503), seconds=4)
    started = time.time()
    event = event_of(QuickRouterPredictionTrigger(prediction_id))
    during = [e for e in gateway.requests if e.method == "GET" and e.at < started + 4]
    assert event["reason"] == "succeeded"
    assert 1 <= len(during) <= 5


def test_a_refused_key_is_one_request_and_a_permanent_failure_if_nothing_is_confirmed(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit()
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    event = event_of(rebuilt(QuickRouterPredictionTrigger(prediction_id, confirmed=False)))
    assert event["reason"] == "api_error"
    assert event["error"]["type"] == "AuthenticationError"
    assert len([entry for entry in gateway.requests if entry.method == "GET"]) == 1


def test_a_refused_key_is_waited_out_and_left_to_a_retry_where_the_prediction_is_paid_for(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, prediction_id = Clock(monkeypatch), submit()
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    event = event_of(rebuilt(QuickRouterPredictionTrigger(prediction_id)))
    assert event["reason"] == "api_error"
    assert (event["error"]["type"], event["error"]["status"]) == ("UpstreamError", 401)
    assert "polling failed for 10 minutes, at last with: Invalid token" in event["error"]["message"]
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + 90
    assert 10 < len([entry for entry in gateway.requests if entry.method == "GET"]) < 30
    assert [entry.path for entry in gateway.requests if entry.path.endswith("/cancel")] == []


def test_a_key_that_is_refused_for_a_while_does_not_end_a_wait_that_is_paid_for(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    prediction_id = submit(processing=30)
    gateway.set_faults(Faults(odd_response="unauthorized"), method="GET", times=6)
    event = event_of(rebuilt(QuickRouterPredictionTrigger(prediction_id)))
    assert event["reason"] == "succeeded"


def test_a_good_response_confirms_a_wait(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    prediction_id = submit(processing=30)
    gateway.set_faults(Faults(), method="GET", times=1)
    gateway.set_faults(Faults(odd_response="unauthorized"), method="GET", times=6)
    event = event_of(rebuilt(QuickRouterPredictionTrigger(prediction_id, confirmed=False)))
    assert event["reason"] == "succeeded"


def test_evil_urls_in_an_answer_lead_nowhere(gateway: Sandbox, httpserver: HTTPServer) -> None:
    event = event_of(QuickRouterPredictionTrigger(submit(evil_urls=httpserver.url_for(""))))
    assert event["reason"] == "succeeded"
    assert httpserver.log == []


def test_the_deadline_is_an_instant_that_survives_a_restart(gateway: Sandbox) -> None:
    now = time.time()
    trigger = QuickRouterPredictionTrigger(submit(never=True), started_at=now - 100, deadline=now - 50)
    event = event_of(rebuilt(trigger))
    assert event["reason"] == "timeout"
    assert event["manifest"]["status"] == "processing"


def test_neither_arguments_nor_event_hold_key_prompt_or_log(gateway: Sandbox) -> None:
    trigger = QuickRouterPredictionTrigger(submit(fail="no"))
    crossing = json.dumps([trigger.serialize(), event_of(trigger)]) + repr(trigger)
    for secret in (KEY, SECRET_PROMPT, "Using seed"):
        assert secret not in crossing


def test_cleanup_does_not_touch_the_prediction(gateway: Sandbox) -> None:
    prediction_id = submit(never=True)

    async def restart() -> None:
        trigger = QuickRouterPredictionTrigger(prediction_id)
        task = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(restart())
    assert [entry.method for entry in gateway.requests].count("POST") == 1
    assert QuickRouterPredictionTrigger.cleanup is BaseTrigger.cleanup


def test_a_silent_gateway_does_not_outlive_the_deadline(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.polling.poller.LAST_POLL", 0.5)
    prediction_id, now = submit(never=True), time.time()
    gateway.set_faults(Faults(hang=3600))
    event = event_of(QuickRouterPredictionTrigger(prediction_id, deadline=now + 2))
    gateway.set_faults(None)
    assert event["reason"] == "timeout"
    assert event["error"]["message"] == "no response before the deadline"


def test_a_wrong_connection_reaches_the_task_with_its_reason(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    event = event_of(rebuilt(QuickRouterPredictionTrigger("p1", confirmed=False)))
    assert event["reason"] == "api_error"
    assert event["error"]["type"] == "InvalidConnectionError"
    assert "extra.timeout" in event["error"]["message"]
    assert sum(clock.pauses) < 2


def test_a_wrong_connection_is_waited_out_where_the_prediction_is_paid_for(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    event = event_of(rebuilt(QuickRouterPredictionTrigger("p1")))
    assert (event["reason"], event["error"]["type"]) == ("api_error", "UpstreamError")
    assert "extra.timeout" in event["error"]["message"]
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + 90
    assert gateway.requests == []
