from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason, log_tail
from airflow_provider_quickrouter.api.prediction import Prediction

END = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
LOG = "Using seed: 42\n 10%|# | 5/50\r 50%|## | 25/50\r100%|####| 50/50\nsaved\n"


def over(**fields: Any) -> Outcome:
    body = {"id": "p1", "model": "stability-ai/sdxl", "completed_at": "2026-03-01T12:00:00Z"}
    outcome = Outcome.of(Prediction.from_json(body | fields), END)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("word", ["starting", "processing", "hibernating", ""])
def test_a_prediction_that_goes_on_has_no_outcome(word: str) -> None:
    body = {"id": "p1", "status": word, "output": ["https://x/complete.png"]}
    assert Outcome.of(Prediction.from_json(body), END) is None


def test_only_succeeded_with_an_output_is_success() -> None:
    outcome = over(status="succeeded", output="https://x/1.png")
    assert outcome.reason is Reason.SUCCEEDED
    assert outcome.exception() is None
    assert outcome.output == ["https://x/1.png"]


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"status": "failed", "error": "CUDA out of memory"}, errors.PredictionFailed, "CUDA"),
        ({"status": "canceled"}, errors.PredictionCanceled, "canceled after it had started"),
        ({"status": "aborted"}, errors.PredictionAborted, "not charged"),
        ({"status": "succeeded", "output": [None]}, errors.PredictionEmpty, "without any output"),
        (
            {"status": "succeeded", "data_removed": True},
            errors.PredictionExpired,
            "It expired at 2026-03-01T13:00:00+00:00",
        ),
    ],
)
def test_each_bad_end_has_its_own_exception_that_says_why(
    fields: dict[str, Any], kind: type[Exception], says: str
) -> None:
    error = over(**fields, logs=LOG).exception()
    assert type(error) is kind
    assert isinstance(error, errors.PredictionError)
    assert error.prediction_id == "p1"
    text = str(error)
    assert text.startswith("Prediction p1 ")
    assert "Model: stability-ai/sdxl." in text
    assert says in text
    assert "saved" in text


def test_a_timeout_names_the_last_state_and_the_last_trouble() -> None:
    seen = Prediction.from_json({"id": "p1", "status": "Hibernating"})
    trouble = errors.UpstreamError("bad gateway", status=502)
    text = str(
        Outcome(
            reason=Reason.TIMEOUT, prediction_id="p1", prediction=seen, error=trouble
        ).exception()
    )
    assert "Prediction p1 did not end in time." in text
    assert "Model: not named." in text
    assert "Last state seen: Hibernating" in text
    assert "HTTP 502: bad gateway" in text


def test_a_timeout_with_no_answer_at_all_still_says_what_it_waited_for() -> None:
    timeout = Outcome(reason=Reason.TIMEOUT, prediction_id="p1")
    assert "Prediction p1" in str(timeout.exception())
    assert timeout.output == []


@pytest.mark.parametrize("reason", list(Reason))
def test_an_outcome_crosses_the_process_border_as_json(reason: Reason) -> None:
    seen = Prediction.from_json({"id": "p1", "status": "succeeded", "output": ["https://x"]})
    outcome = Outcome(
        reason=reason,
        prediction_id="p1",
        prediction=seen,
        error=errors.RateLimitError("slow down", status=429, retry_after=3.0, request_id="r"),
    )
    payload = outcome.to_payload("https://link")
    again = Outcome.from_payload(json.loads(json.dumps(payload)))
    assert again.to_payload("https://link") == payload
    assert again.reason is reason
    assert type(again.error) is errors.RateLimitError


def test_an_event_holds_neither_log_nor_input() -> None:
    body = {"id": "p1", "status": "failed", "logs": "prompt: cat", "input": {"prompt": "cat"}}
    outcome = Outcome.of(Prediction.from_json(body), END)
    assert outcome is not None
    assert "cat" not in json.dumps(outcome.to_payload("https://link"))


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "splendid"},
        {"reason": None},
        {"reason": {"a": 1}},
        {"manifest": None},
        {"manifest": "text"},
        {"manifest": {"status": "succeeded"}},
        {"manifest": {"id": "p1", "status": "failed"}},
        {"error": "text"},
        None,
    ],
)
def test_an_event_that_cannot_be_understood_is_never_success(
    changes: dict[str, Any] | None,
) -> None:
    good = over(status="succeeded", output="https://x").to_payload("https://link")
    assert Outcome.from_payload(good).reason is Reason.SUCCEEDED
    outcome = Outcome.from_payload(changes and good | changes)
    assert outcome.reason is Reason.API_ERROR
    assert isinstance(outcome.exception(), errors.APIError)


def test_an_api_error_without_its_error_is_still_an_error() -> None:
    lost = Outcome(reason=Reason.API_ERROR, prediction_id="p1").exception()
    assert isinstance(lost, errors.UpstreamError)


def test_a_wait_that_cannot_begin_to_ask_ends_with_the_reason() -> None:
    error = errors.InvalidConnectionError("extra.timeout: 'soon'")
    assert Outcome.of_error("p1", error).exception() is error


def test_an_api_error_is_raised_as_it_was() -> None:
    error = errors.AuthenticationError("bad key", status=401)
    outcome = Outcome(reason=Reason.API_ERROR, prediction_id="p1", error=error)
    assert outcome.exception() is error


def test_the_tail_of_a_log_shows_the_last_state_of_each_progress_bar() -> None:
    assert log_tail(LOG) == ["Using seed: 42", "100%|####| 50/50", "saved"]


def test_the_tail_of_a_log_is_20_lines_of_300_characters() -> None:
    tail = log_tail("\n".join(f"{n:03} " + "x" * 900 for n in range(100)))
    assert (len(tail), len(tail[0]), tail[-1][:3]) == (20, 300, "099")
