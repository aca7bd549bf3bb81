from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.policies.retry import retry_pause

FIRST, LONGEST = 30.0, 600.0
API_ERRORS = errors.APIError.__subclasses__()
LATER = {"RateLimitError", "UpstreamError", "NotConnectedError", "ConnectionLostError"}
ENDS: dict[type[errors.PredictionError], bool] = {
    errors.PredictionFailed: False,
    errors.PredictionInterrupted: True,
    errors.PredictionModerated: False,
    errors.PredictionCanceled: False,
    errors.PredictionAborted: True,
    errors.PredictionExpired: False,
    errors.PredictionEmpty: False,
    errors.PredictionTimeout: False,
    errors.PredictionStartTimeout: True,
}


def pause(error: errors.QuickRouterError, try_number: int = 1) -> float | None:
    return retry_pause(error, try_number, FIRST, LONGEST)


@pytest.mark.parametrize("kind", API_ERRORS)
def test_only_what_heals_is_tried_again(kind: type[errors.APIError]) -> None:
    assert (pause(kind("x")) is not None) is (kind.__name__ in LATER)


@pytest.mark.parametrize("kind", ENDS)
def test_only_a_passing_end_of_a_prediction_is_tried_again(kind: type[errors.PredictionError]) -> None:
    assert (pause(kind("x", prediction_id="p1")) is not None) is ENDS[kind]


@pytest.mark.parametrize("kind", [errors.InvalidInputError, errors.InvalidConnectionError])
def test_what_was_refused_here_is_not_tried_again(kind: type[errors.QuickRouterError]) -> None:
    assert pause(kind("x")) is None


def test_the_pause_doubles_with_each_try_up_to_the_longest() -> None:
    error = errors.UpstreamError("busy", status=503)
    assert [pause(error, number) for number in range(1, 8)] == [30, 60, 120, 240, 480, 600, 600]


@pytest.mark.parametrize(("number", "seconds"), [(-1, 30), (0, 30), (10_000, 600)])
def test_no_number_of_a_try_is_too_odd(number: int, seconds: float) -> None:
    assert pause(errors.UpstreamError("busy"), number) == seconds


@pytest.mark.parametrize("asked", [0.0, 7.0, 3_600.0])
def test_what_the_server_asked_for_is_obeyed_as_it_is(asked: float) -> None:
    assert pause(errors.RateLimitError("slow", retry_after=asked), 5) == asked


def test_what_does_not_heal_is_not_tried_again_whatever_the_server_asked_for() -> None:
    assert pause(errors.QuotaError("no money", retry_after=5.0)) is None


def test_an_uncertain_create_is_tried_again_only_where_the_author_said_so() -> None:
    error = errors.UncertainCreateError("lost")
    assert pause(error) is None
    assert pause(error.resubmitted()) == FIRST
