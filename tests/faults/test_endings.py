"""How predictions end: the words and messages of different gateways and models."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from tests.faults.clock import Clock
from tests.faults.dags import run_operator, worker_and_deferred
from tests.faults.gateway import FIRST_ID, OUTPUT, Gateway
from tests.faults.responses import json_response
from tests.faults.running import failure_of, is_retried, run_task

AT_ONCE = 2
"""Polls of a prediction that has ended: one ends the wait, and a worker that resumes after it may
read the prediction once more. A wait until the timeout has many."""


def error_of_end(gateway: Gateway, deferrable: bool = False, **result: Any) -> Exception:
    """Return the error of a task whose prediction ends like this."""
    gateway.result = result
    return failure_of(run_operator(deferrable=deferrable, timeout=240, poll_interval=30))


@pytest.mark.parametrize(
    "message",
    [
        "The service is currently unavailable due to high demand. Please try again later. (E003)",
        "Service is temporarily unavailable. Please try again later. (E004)",
        "E1000 - Unknown Error",
        "Prediction failed. (E8367)",
        "E9825",
    ],
)
def test_a_transient_failure_is_retried(message: str, gateway: Gateway, fast: Clock) -> None:
    error = error_of_end(gateway, status="failed", error=message)
    assert isinstance(error, errors.PredictionFailed)
    assert is_retried(error)


@pytest.mark.parametrize(
    "message",
    [
        "Request Moderated",
        "Error generating image: Content Moderated",
        "Your request was rejected as a result of our safety system.",
        "All generated images contained NSFW content. Try running it again with a different prompt.",
        "Prompt contains prohibited words",
        "内容违规",
        "提示词包含敏感词",
    ],
)
def test_a_refusal_of_a_filter_is_reported_as_moderated(message: str, gateway: Gateway, fast: Clock) -> None:
    error = error_of_end(gateway, status="failed", error=message)
    assert isinstance(error, errors.PredictionModerated)
    assert not is_retried(error)


@pytest.mark.parametrize("word", ["done", "succeed", "Ready", "COMPLETED"])
@worker_and_deferred
def test_other_words_for_success_end_the_wait(
    word: str, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    gateway.result = {"status": word, "output": OUTPUT}
    assert run_task(run_operator(deferrable=deferrable, timeout=240)) == OUTPUT
    assert len(gateway.polls) <= AT_ONCE
    assert len(gateway.cancels) == 0


@pytest.mark.parametrize(
    ("word", "kind"),
    [("CANCEL", errors.PredictionCanceled), ("expired", errors.PredictionError)],
    ids=["CANCEL", "expired"],
)
@worker_and_deferred
def test_other_words_for_a_bad_end_end_the_wait(
    word: str, kind: type[errors.PredictionError], deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    error = error_of_end(gateway, deferrable, status=word)
    assert isinstance(error, kind)
    assert not isinstance(error, errors.PredictionTimeout)
    assert len(gateway.polls) <= AT_ONCE
    assert len(gateway.cancels) == 0


@worker_and_deferred
def test_a_success_whose_output_comes_with_the_next_response_is_a_success(
    deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    outputs = [None, OUTPUT]
    gateway.on_poll = [
        json_response(gateway.describe(FIRST_ID, status="succeeded", output=output)) for output in outputs
    ]
    assert run_task(run_operator(deferrable=deferrable)) == OUTPUT
    assert len(gateway.creates) == 1
