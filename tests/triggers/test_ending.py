"""Which event ends a wait, and what is left in XCom."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.triggers import prediction as triggers
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.tasks import TaskInstance
from tests.xcoms import keep_xcoms, no_xcoms

URL = "https://api.example/predictions/p1"
TRIGGERER = "airflow.jobs.triggerer_job_runner"


def outcome(status: PredictionStatus = PredictionStatus.SUCCEEDED, output: Any = "u") -> Outcome:
    over = Outcome.of(Prediction(id="p1", status=status, output=output), 0.0)
    assert over is not None
    return over


def event_of(end: Outcome, **arguments: Any) -> TriggerEvent:
    trigger: Any = QuickRouterPredictionTrigger("p1", **{"end_from_trigger": True, **arguments})
    trigger.task_instance = TaskInstance()
    return asyncio.run(triggers.event_of(trigger, end, URL))


@pytest.fixture(autouse=True)
def _triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A triggerer that takes XComs, which none in this process need have been."""
    module = ModuleType(TRIGGERER)
    module.SetXCom = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, TRIGGERER, module)


def test_a_success_leaves_output_manifest_and_link(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_xcoms(monkeypatch)
    event = event_of(outcome())
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms is None
    assert {key: value for (_, key), value in kept.items()} == {
        "return_value": ["u"],
        "prediction": outcome().to_payload(URL)["manifest"],
        "_link_QuickRouterPredictionLink": URL,
    }


def test_a_success_with_a_url_leaves_the_first_one_as_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_xcoms(monkeypatch)
    event_of(outcome(output=["seed 7", "https://x.example/1.png", "https://x.example/2.png"]))
    assert kept["run", "file"] == "https://x.example/1.png"


def test_the_link_is_stored_past_a_custom_xcom_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    class Backend(BaseXCom):
        @staticmethod
        def serialize_value(value: Any, **_: Any) -> str:
            return "s3://elsewhere"

    kept = keep_xcoms(monkeypatch)
    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom", Backend)
    event_of(outcome())
    assert {key: value for (_, key), value in kept.items()} == {
        "return_value": "s3://elsewhere",
        "prediction": "s3://elsewhere",
        "_link_QuickRouterPredictionLink": URL,
    }


def test_a_task_that_pushes_no_xcom_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_xcoms(monkeypatch)
    assert isinstance(event_of(outcome(), push_xcom=False), TaskSuccessEvent)
    assert kept == {}


@pytest.mark.parametrize("status", [PredictionStatus.FAILED, PredictionStatus.CANCELED])
def test_all_but_success_goes_on_on_a_worker(
    monkeypatch: pytest.MonkeyPatch, status: PredictionStatus
) -> None:
    kept = keep_xcoms(monkeypatch)
    event = event_of(outcome(status))
    assert type(event) is TriggerEvent
    assert event.payload == outcome(status).to_payload(URL)
    assert event_of(Outcome(reason=Reason.TIMEOUT, prediction_id="p1")).payload["manifest"] is None
    assert kept == {}


def test_a_success_goes_on_on_a_worker_unless_the_author_wants_it_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_xcoms(monkeypatch)
    assert event_of(outcome(), end_from_trigger=False).payload["reason"] == "succeeded"


def test_a_worker_ends_the_task_if_xcom_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    no_xcoms(monkeypatch)
    assert event_of(outcome()).payload["reason"] == "succeeded"


def test_a_triggerer_that_takes_no_xcom_is_not_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_xcoms(monkeypatch)
    monkeypatch.setitem(sys.modules, TRIGGERER, ModuleType(TRIGGERER))
    assert event_of(outcome()).payload["reason"] == "succeeded"
    assert isinstance(event_of(outcome(), push_xcom=False), TaskSuccessEvent)
    assert kept == {}


def test_on_airflow_2_the_event_holds_the_xcoms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "EVENT_HOLDS_XCOMS", True)
    event = event_of(outcome())
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms is not None
    assert event.xcoms["return_value"] == ["u"]
    assert set(event.xcoms) == {"return_value", "prediction", "_link_QuickRouterPredictionLink"}


def test_an_output_that_is_too_large_is_noted_and_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep_xcoms(monkeypatch)
    event_of(outcome(output="data:image/png;base64,AAAA"))
    assert kept["run", "return_value"] == ["[left out of XCom: data: URI of 26 characters]"]
    assert "too large for XCom" in capsys.readouterr().out
