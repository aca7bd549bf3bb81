from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.tasks.reporting import count_end, durations, tags_of

TIMES = {
    "created_at": "2026-03-01T12:00:00Z",
    "started_at": "2026-03-01T12:00:02.5Z",
    "completed_at": "2026-03-01T12:00:10Z",
}
NOW = datetime(2026, 3, 1, 12, 0, 11, tzinfo=UTC).timestamp()


def prediction(**body: Any) -> Prediction:
    return Prediction.from_json({"id": "p1", "status": "succeeded", **body})


def test_queue_run_and_detection_are_told_in_seconds() -> None:
    told = dict(durations(prediction(**TIMES), NOW))
    assert told == {"quickrouter.queue": 2.5, "quickrouter.run": 7.5, "quickrouter.detection": 1.0}


def test_a_gateway_that_tells_no_times_gives_no_timers() -> None:
    assert dict(durations(prediction(), NOW)) == {}
    assert dict(durations(prediction(started_at=TIMES["started_at"]), NOW)) == {}


def test_times_that_contradict_each_other_count_as_zero() -> None:
    odd = {**TIMES, "started_at": "2026-03-01T11:59:59Z"}
    told = dict(durations(prediction(**odd), NOW - 3600))
    assert (told["quickrouter.queue"], told["quickrouter.detection"]) == (0.0, 0.0)


@pytest.mark.parametrize("reason", list(Reason))
def test_each_way_to_fail_has_a_counter_of_its_own(reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(Stats, "incr", lambda name, **_: counted.append(name))
    count_end(Outcome(reason=reason, prediction_id="p1"), NOW)
    succeeded = reason is Reason.SUCCEEDED
    assert counted == ["quickrouter.succeeded" if succeeded else f"quickrouter.failed.{reason}"]


@pytest.mark.parametrize(
    ("reference", "model"),
    [
        ("stability-ai/sdxl:" + "7" * 64, "stability-ai/sdxl"),
        ("black-forest-labs/flux-fill-pro", "black-forest-labs/flux-fill-pro"),
        ("a" * 64, "a" * 12),
        ("", "unknown"),
    ],
)
def test_a_metric_names_the_model_without_its_version(reference: str, model: str) -> None:
    assert tags_of(reference) == {"model": model}
