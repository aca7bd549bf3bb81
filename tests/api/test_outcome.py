from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason, log_success, log_tail
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
    text = str(Outcome(reason=Reason.TIMEOUT, prediction_id="p1", prediction=seen, error=trouble).exception())
    assert "Prediction p1 did not finish in time." in text
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
def test_an_event_that_cannot_be_understood_is_never_success(changes: dict[str, Any] | None) -> None:
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
    assert Outcome.of_error("p1", error).error is error


def test_an_api_error_is_raised_as_it_was() -> None:
    error = errors.AuthenticationError("bad key", status=401)
    outcome = Outcome(reason=Reason.API_ERROR, prediction_id="p1", error=error)
    assert outcome.error is error


def test_the_tail_of_a_log_shows_the_last_state_of_each_progress_bar() -> None:
    assert log_tail(LOG) == ["Using seed: 42", "100%|####| 50/50", "saved"]


def test_the_tail_of_a_log_is_20_lines_of_300_characters() -> None:
    tail = log_tail("\n".join(f"{n:03} " + "x" * 900 for n in range(100)))
    assert (len(tail), len(tail[0]), tail[-1][:3]) == (20, 300, "099")


def later(outcome: Outcome, **fields: Any) -> Outcome:
    return outcome.updated_by(Prediction.from_json({"id": "p1", **fields}), END)


TIMED_OUT = Outcome(reason=Reason.TIMEOUT, prediction_id="p1", last_state="processing")


def test_a_success_after_the_deadline_counts() -> None:
    outcome = later(TIMED_OUT, status="succeeded", output="https://x/1.png")
    assert (outcome.reason, outcome.output) == (Reason.SUCCEEDED, ["https://x/1.png"])


@pytest.mark.parametrize("stopped", ["", "It was canceled."])
@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.START_TIMEOUT])
@pytest.mark.parametrize("word", ["canceled", "aborted"])
def test_what_this_task_has_stopped_is_still_the_timeout_it_was(
    stopped: str, reason: Reason, word: str
) -> None:
    mine = replace(TIMED_OUT, stopped=stopped, reason=reason)
    assert later(mine, status=word).reason is (reason if stopped else Reason(word))


def test_what_still_runs_is_still_a_timeout_and_tells_the_state_of_then() -> None:
    outcome = later(replace(TIMED_OUT, last_state="Hibernating"), status="processing", logs="50%")
    assert outcome.reason is Reason.TIMEOUT
    assert "Last state seen: Hibernating." in str(outcome.exception())
    assert "50%" in str(outcome.exception())


def test_what_became_of_the_cancel_is_told() -> None:
    stopped = replace(TIMED_OUT, stopped="It was canceled.")
    assert "\n  It was canceled." in str(later(stopped, status="canceled").exception())


def test_a_failure_seen_again_brings_its_log() -> None:
    failed = over(status="failed", error="CUDA")
    assert "saved" in str(later(failed, status="failed", error="CUDA", logs=LOG).exception())


def test_an_event_of_an_older_version_has_no_word_of_state_or_cancel() -> None:
    payload = replace(TIMED_OUT, stopped="It was canceled.").to_payload("https://link")
    older = {name: value for name, value in payload.items() if name not in ("last_state", "stopped")}
    outcome = Outcome.from_payload(older)
    assert (outcome.reason, outcome.last_state, outcome.stopped) == (Reason.TIMEOUT, "", "")


def test_an_event_carries_the_last_state_and_what_became_of_the_cancel() -> None:
    outcome = replace(TIMED_OUT, stopped="It was canceled.", reason=Reason.START_TIMEOUT)
    assert Outcome.from_payload(json.loads(json.dumps(outcome.to_payload("")))) == outcome


def test_a_word_of_state_of_any_length_stays_small_in_an_event() -> None:
    payload = replace(TIMED_OUT, last_state="x" * 10**6).to_payload("")
    assert len(json.dumps(payload)) < 1_000


def test_a_success_is_told_without_signatures_and_with_the_hour_of_deletion(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = over(status="succeeded", output=["https://x.example/0.png?signature=abc"])
    with caplog.at_level(logging.INFO):
        log_success(logging.getLogger("test"), outcome)
        log_success(logging.getLogger("test"), outcome, stored=True)
    told = "Prediction p1 succeeded: ['https://x.example/0.png?...']"
    gone = "The API deletes the files at 2026-03-01 13:00+00:00: output_path= would store them"
    assert caplog.messages == [told, gone, told]


def test_where_the_end_is_not_told_the_files_are_said_to_live_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_success(
        logging.getLogger("test"), over(status="succeeded", output="https://x/0.png", completed_at=None)
    )
    assert "deletes the files an hour after its end" in caplog.text
