from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.submission.cancel import (
    CANCEL_PAUSES,
    DEADLINE_CANCEL,
    TRIGGERER,
    WORKER,
    canceled,
    has_nothing_to_cancel,
    is_over,
    may_run_on,
    not_canceled,
)


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize(
    "state", ["scheduled", "queued", "running", "deferred", "up_for_reschedule", "a state of a later Airflow"]
)
def test_a_task_that_may_still_wait_is_not_over(state: str, resumable: bool) -> None:
    assert not is_over(state, resumable=resumable)


@pytest.mark.parametrize("state", [None, "restarting", "up_for_retry"])
def test_a_task_that_begins_again_is_over_only_if_it_cannot_resume(state: str | None) -> None:
    assert not is_over(state, resumable=True)
    assert is_over(state, resumable=False)


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("state", ["success", "failed", "skipped", "removed", "upstream_failed"])
def test_a_task_in_a_final_state_is_over(state: str, resumable: bool) -> None:
    assert is_over(state, resumable=resumable)


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_only_a_response_of_the_api_shows_that_there_is_nothing_to_cancel(status: int) -> None:
    assert has_nothing_to_cancel(errors.NotFoundError("unknown", status=status, from_api=True))
    page = errors.NotFoundError("Not Found", status=status, from_api=False)
    assert not has_nothing_to_cancel(page)


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationError("bad key", status=401, from_api=True),
        errors.PermissionDeniedError("no", status=403, from_api=True),
        errors.InvalidRequestError("no", status=400, from_api=True),
        errors.UpstreamError("busy", status=503, from_api=True),
        errors.ConnectionLostError("no response in time"),
        errors.InvalidConnectionError("extra.timeout: 'soon'"),
    ],
    ids=repr,
)
def test_after_any_other_error_a_prediction_may_run_on(error: errors.QuickRouterError) -> None:
    assert not has_nothing_to_cancel(error)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_gateway_without_a_cancel_route_is_told_in_one_sentence(status: int) -> None:
    told = not_canceled(errors.NotFoundError("Invalid URL", status=status))
    assert "as the gateway has no way to" in told
    assert f"(HTTP {status})" in told
    assert "Cancel-After" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "error",
    [
        errors.UpstreamError("bad gateway", status=502),
        errors.ConnectionLostError("no answer in time"),
        errors.InvalidConnectionError("extra.timeout: 'soon'"),
    ],
)
def test_any_other_reason_is_told_with_what_it_means(error: errors.QuickRouterError) -> None:
    assert not_canceled(error) == f"It could not be canceled and may run on: {error}"


def test_the_pauses_fit_into_what_airflow_leaves_to_a_killed_task() -> None:
    assert sum(CANCEL_PAUSES) < WORKER.total < 5
    assert WORKER.state < WORKER.total
    assert sum(CANCEL_PAUSES) < DEADLINE_CANCEL < TRIGGERER.total - TRIGGERER.state
    assert TRIGGERER.total < 30


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("canceled", "It was canceled."),
        ("aborted", "It was canceled."),
        ("processing", "It was canceled."),
        ("succeeded", "It was already over: succeeded."),
        ("failed", "It was already over: failed."),
    ],
)
def test_a_cancel_that_came_too_late_is_not_called_one(status: str, told: str) -> None:
    assert canceled(Prediction.from_json({"id": "p1", "status": status})) == told
    assert not may_run_on(told)


def test_only_a_prediction_that_was_not_canceled_may_run_on() -> None:
    assert may_run_on(not_canceled(errors.UpstreamError("busy", status=503)))
    assert not may_run_on("It was canceled.")
