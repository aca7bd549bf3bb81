"""Why a prediction failed, read from the texts of its error."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Reason
from tests.api.test_outcome import over

PASSING = [
    "Prediction interrupted; please retry (code: PA)",
    "Director: unexpected error handling prediction (E9828)",
    "Error E6716: upstream",
    "E9243",
    "something (E8765)",
    "PREDICTION INTERRUPTED; PLEASE RETRY",
]
MODERATED = [
    "NSFW content detected. Try running it again, or try a different prompt.",
    "The input or output was flagged as sensitive (E005)",
    "Flagged As Sensitive. Please try again with different inputs.",
    "E005",
    "nsfw",
]
LASTING = [
    "Prediction input failed validation",
    "CUDA out of memory (E1001)",
    "E98280",
    "E0051",
    "NSFWish",
    "something went wrong",
    "[]",
]


@pytest.mark.parametrize(
    ("text", "reason", "kind"),
    [
        *((text, Reason.INTERRUPTED, errors.PredictionInterrupted) for text in PASSING),
        *((text, Reason.MODERATED, errors.PredictionModerated) for text in MODERATED),
        *((text, Reason.FAILED, errors.PredictionFailed) for text in LASTING),
    ],
)
def test_the_text_of_an_error_tells_whether_another_prediction_may_succeed(
    text: str, reason: Reason, kind: type[errors.PredictionError]
) -> None:
    outcome = over(status="failed", error=text)
    error = outcome.exception()
    assert (outcome.reason, type(error)) == (reason, kind)
    assert isinstance(error, errors.PredictionFailed)
    assert error.resubmittable is (reason is Reason.INTERRUPTED)
    assert text in str(error)


@pytest.mark.parametrize("error", [None, "", "absent"])
def test_a_failure_without_a_reason_counts_as_passing(error: str | None) -> None:
    fields = {} if error == "absent" else {"error": error}
    assert over(status="failed", **fields).reason is Reason.INTERRUPTED


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "failed", "logs": "Using seed: 1\nNSFW content detected\n"},
        {"status": "NSFW"},
        {"status": "nsfw", "error": ""},
    ],
)
def test_a_filter_may_speak_in_the_log_or_in_the_state_only(fields: dict[str, Any]) -> None:
    assert over(**fields).reason is Reason.MODERATED


def test_a_reason_that_was_given_goes_before_what_the_log_says() -> None:
    fields = {"status": "failed", "error": "CUDA out of memory", "logs": "NSFW check passed"}
    assert over(**fields).reason is Reason.FAILED


def test_a_filter_goes_before_a_passing_reason() -> None:
    assert over(status="failed", error="E9828: NSFW content").reason is Reason.MODERATED


def test_an_error_that_is_an_object_is_read_too() -> None:
    told = over(status="failed", error={"message": "flagged as sensitive"})
    assert told.reason is Reason.MODERATED
    assert over(status="failed", error={"code": "E9828"}).reason is Reason.INTERRUPTED


def test_only_the_beginning_of_an_error_and_the_end_of_a_log_are_looked_at() -> None:
    assert over(status="failed", error="x " * 4_096 + "E9828").reason is Reason.FAILED
    assert over(status="failed", logs="NSFW" + " x" * 4_096).reason is Reason.INTERRUPTED
    assert over(status="failed", logs="x " * 99_999 + "NSFW").reason is Reason.MODERATED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "canceled", "error": "NSFW"}, Reason.CANCELED),
        ({"status": "aborted", "error": "E9828"}, Reason.ABORTED),
        ({"status": "succeeded", "output": [], "error": "NSFW"}, Reason.EMPTY),
        ({"status": "succeeded", "output": "x", "error": "NSFW"}, Reason.SUCCEEDED),
    ],
)
def test_only_a_failure_is_read(fields: dict[str, Any], reason: Reason) -> None:
    assert over(**fields).reason is reason
