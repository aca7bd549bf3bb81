"""The trigger of a wait that no worker has begun."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent

from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission.cancel import MARK, TIMEOUT
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from airflow_provider_quickrouter.triggers.starting import QuickRouterStartTrigger
from tests.conftest import connect
from tests.tasks import TaskInstance, event_of
from tests.triggers.test_prediction import submit
from tests.xcoms import keep_xcoms, no_xcoms

FROM_SUBMIT: dict[str, Any] = {"from_task": "submit", "from_key": "id"}


def begun(deferred_at: float | None = None, **arguments: Any) -> QuickRouterStartTrigger:
    """The trigger as the triggerer makes it, for a task that was deferred at an instant."""
    path, kwargs = QuickRouterStartTrigger(**arguments).serialize()
    assert path == "airflow_provider_quickrouter.triggers.starting.QuickRouterStartTrigger"
    trigger: Any = QuickRouterStartTrigger(**json.loads(json.dumps(kwargs)))
    trigger.task_instance = TaskInstance()
    since = datetime.fromtimestamp(deferred_at or time.time(), UTC)
    limit = arguments.get("airflows_timeout")
    trigger.timeout_after = None if limit is None else since + timedelta(seconds=limit)
    return trigger  # type: ignore[no-any-return]


def failure(**arguments: Any) -> dict[str, Any]:
    error: dict[str, Any] = event_of(begun(**arguments))["error"]
    return error


def test_every_argument_survives_serialisation() -> None:
    own, shared = (
        set(inspect.signature(kind).parameters) - {"_ignored", "arguments"}
        for kind in (QuickRouterStartTrigger, QuickRouterPredictionTrigger)
    )
    assert set(QuickRouterStartTrigger().serialize()[1]) == own | shared


def test_arguments_of_other_versions_do_not_break_it() -> None:
    assert "colour" not in QuickRouterStartTrigger(colour="blue").serialize()[1]


def test_it_waits_for_the_prediction_whose_id_stands_in_xcom(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit(processing=0.2)
    keep_xcoms(monkeypatch, {("submit", "id"): prediction_id})
    event = event_of(begun(**FROM_SUBMIT))
    assert (event["reason"], event["prediction_id"]) == ("succeeded", prediction_id)


def test_it_takes_an_id_that_is_given(gateway: Sandbox) -> None:
    prediction_id = submit(processing=0.2)
    assert event_of(begun(prediction_id=prediction_id))["manifest"]["id"] == prediction_id


@pytest.mark.parametrize("value", [None, "", "../models", 7, ["p1"]])
def test_what_is_no_id_is_told_as_on_a_worker_and_nothing_is_asked(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    keep_xcoms(monkeypatch, {("submit", "id"): value})
    error = failure(**FROM_SUBMIT)
    assert error["type"] == "InvalidInputError"
    assert error["message"].startswith(f"prediction_id: {value!r} does not look like an id")
    assert gateway.requests == []


def test_an_xcom_that_cannot_be_read_is_left_to_a_retry(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_xcoms(monkeypatch)
    error = failure(**FROM_SUBMIT)
    assert error["type"] == "UpstreamError"
    assert "XCom of 'submit': the database is away" in error["message"]


@pytest.mark.parametrize("aware", [True, False])
def test_the_deadline_counts_from_the_deferral_however_often_the_triggerer_restarts(
    gateway: Sandbox, aware: bool
) -> None:
    prediction_id, now = submit(never=True), time.time()
    trigger: Any = begun(now - 100, prediction_id=prediction_id, timeout=50.0, airflows_timeout=110.0)
    if not aware:
        trigger.timeout_after = trigger.timeout_after.replace(tzinfo=None)
    event = event_of(trigger)
    assert (event["reason"], event["last_state"]) == ("timeout", "processing")
    assert trigger.started_at == pytest.approx(now - 100, abs=0.01)
    assert trigger.deadline == pytest.approx(now - 50, abs=0.01)


def test_without_airflows_instant_it_counts_from_now(gateway: Sandbox) -> None:
    now = time.time()
    trigger: Any = begun(prediction_id=submit(never=True), timeout=1.0)
    assert event_of(trigger)["reason"] == "timeout"
    assert now + 1 <= trigger.deadline <= time.time()


def test_without_any_limit_it_has_no_deadline(gateway: Sandbox) -> None:
    trigger = begun(prediction_id=submit(processing=0))
    assert event_of(trigger)["reason"] == "succeeded"
    assert trigger.deadline is None


def test_at_its_deadline_it_cancels_if_that_is_its_business(gateway: Sandbox) -> None:
    arguments = {"timeout": 50.0, "airflows_timeout": 110.0, "cancel_on": [TIMEOUT]}
    event = event_of(begun(time.time() - 100, prediction_id=submit(never=True), **arguments))
    assert event["stopped"] == "It was canceled."


@pytest.mark.parametrize(("cancel_on", "status"), [([MARK], "canceled"), ([], "processing")])
def test_on_kill_finds_the_id_even_if_it_has_not_run(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, cancel_on: list[str], status: str
) -> None:
    keep_xcoms(monkeypatch, {("submit", "id"): submit(never=True)})
    state = "airflow_provider_quickrouter.submission.cancel._state_of"
    monkeypatch.setattr(state, lambda ti: "failed")
    asyncio.run(begun(cancel_on=cancel_on, **FROM_SUBMIT).on_kill())
    prediction_id = gateway.predictions[0]["id"]
    assert gateway.predictions[0]["status"] in (status, "starting")
    assert (gateway.predictions[0]["status"] == "canceled") is bool(cancel_on), prediction_id


def test_on_kill_without_an_id_cancels_nothing_and_raises_nothing(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_xcoms(monkeypatch)
    asyncio.run(begun(cancel_on=[MARK], **FROM_SUBMIT).on_kill())
    assert gateway.requests == []


def test_a_wrong_connection_is_told_in_the_event(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    assert failure(prediction_id="p1", confirmed=False)["type"] == "InvalidConnectionError"


def test_a_success_ends_the_task_with_the_xcoms_of_a_worker(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = submit(processing=0.2)
    kept = keep_xcoms(monkeypatch, {("submit", "id"): prediction_id})
    event = only_event(begun(end_from_trigger=True, **FROM_SUBMIT))
    assert isinstance(event, TaskSuccessEvent)
    output = [f"{gateway.url}/files/{prediction_id}/out-0.png"]
    assert kept["run", "return_value"] == kept["run", "prediction"]["output"] == output
    assert kept["run", "file"] == output[0]
    assert kept["run", "_link_QuickRouterPredictionLink"] == kept["run", "prediction"]["url"]


@pytest.mark.parametrize("try_number", [1, 2])
def test_a_later_try_begins_without_the_xcoms_of_an_earlier_one(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, try_number: int
) -> None:
    keys = ["return_value", "prediction", "file", "_link_QuickRouterPredictionLink"]
    kept = keep_xcoms(monkeypatch, {("run", key): "old" for key in [*keys, "mine"]})
    trigger: Any = begun(prediction_id="not/an/id")
    trigger.task_instance = TaskInstance(try_number=try_number)
    assert event_of(trigger)["error"]["type"] == "InvalidInputError"
    assert len(kept) == (5 if try_number == 1 else 1)


def test_a_later_try_begins_even_if_xcoms_cannot_be_deleted(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_xcoms(monkeypatch)
    trigger: Any = begun(prediction_id=submit(processing=0))
    trigger.task_instance = TaskInstance(try_number=2)
    assert event_of(trigger)["reason"] == "succeeded"


def only_event(trigger: QuickRouterPredictionTrigger) -> Any:
    async def run() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())
    return event
