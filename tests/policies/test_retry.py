from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.airflow_errors import as_airflow
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.policies.retry import QuickRouterRetryPolicy


def decide(error: BaseException, try_number: int = 1, **arguments: Any) -> Any:
    return QuickRouterRetryPolicy(**arguments).evaluate(error, try_number, 3)


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationError("bad key", status=401),
        errors.QuotaError("no money", status=403),
        errors.UncertainCreateError("lost"),
        errors.InvalidInputError("input.width: 700"),
        errors.PredictionModerated("NSFW", prediction_id="p1"),
        errors.PredictionTimeout("late", prediction_id="p1"),
    ],
)
@pytest.mark.parametrize("airflows", [False, True])
def test_what_does_not_heal_fails_now_and_says_why(error: errors.QuickRouterError, airflows: bool) -> None:
    decision = decide(as_airflow(error, resubmits=True) if airflows else error)
    assert decision.action is RetryAction.FAIL
    assert decision.reason == f"{type(error).__name__}: another attempt would not help"


def test_a_limit_is_obeyed_as_the_server_named_it() -> None:
    error = as_airflow(errors.RateLimitError("slow", status=429, retry_after=37.0))
    decision = decide(error, try_number=3)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=37)
    assert decision.reason == "RateLimitError: again in 37 s"


@pytest.mark.parametrize(
    "error",
    [
        errors.UpstreamError("busy", status=503),
        errors.PredictionInterrupted("PA", prediction_id="p1"),
        errors.PredictionAborted("aborted", prediction_id="p1"),
        errors.PredictionStartTimeout("cold", prediction_id="p1"),
    ],
)
def test_what_may_heal_is_tried_again_after_growing_pauses(error: errors.QuickRouterError) -> None:
    error = as_airflow(error, resubmits=True)  # type: ignore[assignment]
    found = [decide(error, number, first=10, longest=35).retry_delay for number in (1, 2, 3)]
    assert [delay.total_seconds() for delay in found] == [10, 20, 35]


@pytest.mark.parametrize("error", [ValueError("theirs"), AirflowException("theirs"), SystemExit(1)])
def test_errors_of_others_are_left_to_airflow(error: BaseException) -> None:
    assert decide(error).action is RetryAction.DEFAULT


@pytest.mark.parametrize(
    "arguments", [{"first": 0}, {"first": -1}, {"first": 700}, {"longest": 5}, {"first": float("nan")}]
)
def test_pauses_that_cannot_be_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInputError, match="first, longest:"):
        QuickRouterRetryPolicy(**arguments)


def test_it_survives_serialisation() -> None:
    stored = json.loads(json.dumps(QuickRouterRetryPolicy(first=5, longest=9).serialize()))
    again = QuickRouterRetryPolicy.deserialize(stored)
    assert (again.first, again.longest) == (5, 9)


def test_an_operator_takes_it() -> None:
    policy = QuickRouterRetryPolicy()
    with DAG("test"):
        task = QuickRouterRunPredictionOperator(
            task_id="run", input={"prompt": "a cat"}, version=STABLE_DIFFUSION, retries=3, retry_policy=policy
        )
    assert task.retry_policy is policy
