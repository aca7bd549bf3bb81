"""How a line and a batch have ended, and whether a retry may end otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import (
    AuthenticationError,
    FileRefused,
    FileUnavailable,
    InvalidInputError,
    NotFoundError,
    PredictionExpired,
    RateLimitError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.batch.ledger import (
    KEEP,
    SUBMIT,
    WAIT,
    ItemResult,
    Tally,
    add_files,
    check_fail_on,
    progress_line,
)

NOW = 1_790_000_000.0


def outcome(**body: Any) -> Outcome:
    found = Outcome.of(Prediction.from_json({"id": "p1", **body}), NOW)
    assert found
    return found


def test_a_success_is_told_with_its_output_and_when_its_files_go() -> None:
    end = ItemResult.of(
        3,
        outcome(
            status="succeeded",
            output="https://x/y.png",
            completed_at="2026-09-21T12:00:00Z",
            metrics={"predict_time": 2},
        ),
    )
    assert end == ItemResult(
        {
            "index": 3,
            "id": "p1",
            "outcome": "succeeded",
            "output": ["https://x/y.png"],
            "files": [],
            "error": "",
            "completed_at": "2026-09-21T12:00:00+00:00",
            "expires_at": "2026-09-21T13:00:00+00:00",
            "metrics": {"predict_time": 2},
            "cost": None,
        }
    )


def test_an_output_of_any_size_is_in_the_line_as_a_whole() -> None:
    picture = "data:image/png;base64," + "A" * 100_000
    end = ItemResult.of(0, outcome(status="succeeded", output={"image": picture, "steps": [*range(50_000)]}))
    assert end.line["output"] == [{"image": picture, "steps": [*range(50_000)]}]


@pytest.mark.parametrize(
    ("body", "word", "error", "retry"),
    [
        ({"status": "failed", "error": "out of memory"}, "failed", "out of memory", KEEP),
        ({"status": "failed", "error": "(code: PA)"}, "interrupted", "(code: PA)", SUBMIT),
        ({"status": "aborted"}, "aborted", "was aborted before it started", SUBMIT),
        ({"status": "canceled"}, "canceled", "was canceled", KEEP),
        ({"status": "succeeded", "output": []}, "empty", "without any output", KEEP),
    ],
)
def test_a_bad_end_says_why_and_what_a_retry_does(body: Any, word: str, error: str, retry: str) -> None:
    end = ItemResult.of(0, outcome(**body))
    assert (end.outcome, end.retry, end.line["output"]) == (word, retry, [])
    assert error in end.line["error"]
    assert "\n" not in end.line["error"]


@pytest.mark.parametrize(
    ("error", "retry"),
    [(UpstreamError("down"), WAIT), (AuthenticationError("no"), WAIT), (NotFoundError("?"), KEEP)],
)
def test_what_cannot_be_asked_for_is_asked_on_by_a_retry_if_the_api_knows_it(error: Any, retry: str) -> None:
    end = ItemResult.of(0, Outcome.of_error("p1", error))
    assert (end.outcome, end.retry, end.line["id"]) == ("api_error", retry, "p1")
    assert end.line["completed_at"] is None


FILE = StoredFile("s3://b/p1/0.png", 3, "a" * 64, "image/png", 8, 8)


def test_a_success_has_its_files_in_its_line() -> None:
    end = ItemResult.of(0, outcome(status="succeeded", output="https://x/y.png")).with_files([FILE])
    assert (end.outcome, end.retry, end.line["files"]) == ("succeeded", KEEP, [FILE.to_json()])


@pytest.mark.parametrize(
    ("error", "word", "output", "retry"),
    [
        (FileUnavailable("disk full"), "not_stored", ["https://x/y.png"], WAIT),
        (FileRefused("too large"), "not_stored", ["https://x/y.png"], KEEP),
        (PredictionExpired("gone", prediction_id="p1"), "expired", [], KEEP),
    ],
)
def test_a_success_whose_files_are_not_stored_counts_as_failed(
    error: Any, word: str, output: list[str], retry: str
) -> None:
    success = ItemResult.of(0, outcome(status="succeeded", output="https://x/y.png"))
    end = success.without_files(error)
    assert (end.outcome, end.line["output"], end.retry) == (word, output, retry)
    assert (end.line["error"], end.line["files"]) == (str(error), [])


def test_xcom_holds_the_first_thousand_files_of_all_lines() -> None:
    files: list[dict[str, Any]] = []
    for number in range(600):
        add_files(files, {"id": f"p{number}", "files": [FILE.to_json()] * 2})
    add_files(files, {"id": "of an earlier version"})
    assert len(files) == 1000
    assert files[-1] == FILE.to_json() | {"prediction_id": "p499"}


def tally(good: int = 0, permanent: int = 0, transient: int = 0) -> Tally:
    counted = Tally(good + permanent + transient)
    for number, (word, retry) in {good: ("succeeded", KEEP)}.items():
        for _ in range(number):
            counted.add(word, retry)
    for _ in range(permanent):
        counted.add("failed")
    for _ in range(transient):
        counted.add("interrupted", SUBMIT)
    return counted


@pytest.mark.parametrize(
    ("fail_on", "counts", "fails", "retry_helps"),
    [
        ("any", (3, 0, 0), False, False),
        ("any", (3, 1, 0), True, False),
        ("any", (3, 0, 1), True, True),
        ("any", (3, 1, 1), True, False),
        ("all", (1, 5, 0), False, False),
        ("all", (0, 5, 0), True, False),
        ("all", (0, 4, 1), True, True),
        ("all", (0, 0, 0), False, False),
        (0.25, (3, 1, 0), False, False),
        (0.25, (2, 1, 1), True, True),
        (0.25, (2, 2, 0), True, False),
        (0, (3, 0, 1), True, True),
        ("any", (0, 0, 0), False, False),
    ],
)
def test_the_batch_fails_as_the_author_says_and_is_retried_only_if_that_may_end_otherwise(
    fail_on: Any, counts: tuple[int, int, int], fails: bool, retry_helps: bool
) -> None:
    error = tally(*counts).failure(fail_on, "s3://results", None)
    assert (error is not None) == fails
    assert error is None or error.transient == retry_helps


def test_the_error_tells_the_numbers_the_path_and_why_the_rest_was_not_submitted() -> None:
    stopped = RateLimitError("too many", status=429, retry_after=30)
    error = tally(1, 2, 3).failure("any", "s3://b/r.jsonl", stopped)
    assert error
    assert str(error).startswith("5 of 6 predictions did not succeed (3 interrupted, 2 failed, ")
    assert "s3://b/r.jsonl" in str(error)
    assert "Not all items were submitted: HTTP 429: too many" in str(error)
    assert (error.transient, error.retry_after) == (True, 30)


@pytest.mark.parametrize("fail_on", ["all", 0.9])
def test_a_batch_that_was_not_submitted_as_a_whole_has_failed_in_any_case(fail_on: Any) -> None:
    error = tally(9, 0, 1).failure(fail_on, "r", AuthenticationError("no"))
    assert error
    assert not error.transient


@pytest.mark.parametrize("wrong", ["some", None, True, -0.1, 1, 2.0, []])
def test_what_is_no_measure_of_failure_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="fail_on: "):
        check_fail_on(wrong)


@pytest.mark.parametrize("good", ["any", "all", 0, 0.05])
def test_measures_of_failure_pass(good: Any) -> None:
    assert check_fail_on(good) == good


def test_the_summary_is_small() -> None:
    assert tally(2, 1).summary("s3://r", 3.14159) == {
        "total": 3,
        "succeeded": 2,
        "outcomes": {"succeeded": 2, "failed": 1},
        "output_path": "s3://r",
        "seconds": 3.1,
    }


def test_progress_has_counts_a_rate_and_the_time_left() -> None:
    counted = Tally(400)
    for _ in range(100):
        counted.add(Reason.SUCCEEDED)
    assert progress_line(counted, 50, 100, 10.0) == (
        "100 of 400 done, 0 of them failed, 50 running, 600 a minute, about 30 s left"
    )
    assert "about 5 min left" in progress_line(counted, 50, 100, 100.0)
    for _ in range(300):
        counted.add("failed")
    assert progress_line(counted, 0, 400, 40.0) == (
        "400 of 400 done, 300 of them failed, 0 running, 600 a minute"
    )


def test_no_time_left_is_reported_before_anything_has_ended() -> None:
    assert progress_line(Tally(9), 4, 0, 11.0) == ("0 of 9 done, 0 of them failed, 4 running, 0 a minute")
