from __future__ import annotations

import inspect
import json

import pytest

from airflow_provider_quickrouter.api import errors

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.QuickRouterError)
]


@pytest.mark.parametrize("kind", ALL)
def test_each_error_is_documented(kind: type[Exception]) -> None:
    assert kind.__doc__


@pytest.mark.parametrize("kind", errors.APIError.__subclasses__())
def test_an_error_rebuilt_in_another_process_is_equal(kind: type[errors.APIError]) -> None:
    error = kind("text", status=500, request_id="r", retry_after=2.5)
    again = errors.from_payload(json.loads(json.dumps(error.to_payload())))
    assert (type(again), vars(again), str(again)) == (kind, vars(error), str(error))


@pytest.mark.parametrize("kind", [errors.InvalidInputError, errors.InvalidConnectionError])
def test_an_error_of_the_authors_crosses_the_border_too(kind: type[Exception]) -> None:
    again = errors.from_payload(kind("timeout: soon").to_payload())  # type: ignore[attr-defined]
    assert (type(again), str(again)) == (kind, "timeout: soon")


@pytest.mark.parametrize("transient", [True, False])
def test_whether_a_retry_helps_crosses_the_border_where_it_is_not_as_usual(transient: bool) -> None:
    for kind in (errors.InvalidConnectionError, errors.UpstreamError):
        error = kind("proxy: no", transient=transient)
        assert errors.from_payload(error.to_payload()).transient is transient


def test_a_key_that_the_api_echoed_is_taken_out() -> None:
    error = errors.UpstreamError("bad key qr-12345", request_id="qr-12345").without("qr-12345")
    assert "qr-12345" not in str(error) + repr(error) + str(vars(error))
    assert errors.UpstreamError("bad key").without("e").message == "bad key"


def test_a_message_can_be_stored_whatever_it_quotes() -> None:
    error = errors.UpstreamError("a\0b\ud800c", status=500, request_id="r\0")
    assert (error.message, error.request_id) == ("a\ufffdb\ufffdc", "r\ufffd")
    assert str(error) == "HTTP 500: a\ufffdb\ufffdc. [request id r\ufffd]"
    assert str(errors.InvalidInputError("\0")) == "\ufffd"
    assert str(errors.PredictionFailed("\udfff", prediction_id="p1")) == "\ufffd"


def test_an_error_of_another_version_is_tolerated() -> None:
    again = errors.from_payload({"type": "BrandNewError", "colour": "blue"})
    assert type(again) is errors.UpstreamError
    assert str(again) == "the error message was lost."


def test_a_message_keeps_its_own_full_stop() -> None:
    assert str(errors.UpstreamError("Really!", status=500)) == "HTTP 500: Really!"


def test_an_error_made_permanent_is_not_tried_again() -> None:
    aborted = errors.PredictionAborted("stopped", prediction_id="p1")
    permanent = aborted.as_permanent()
    assert (permanent.resubmittable, permanent.prediction_id) == (False, "p1")
    assert str(permanent) == "stopped"
    assert aborted.resubmittable
    assert not errors.UpstreamError("busy").as_permanent().transient


@pytest.mark.parametrize(
    ("failures", "pause"), [(-1, 2), (0, 2), (1, 2), (2, 4), (3, 8), (4, 10), (10_000, 10)]
)
def test_pauses_double_up_to_the_longest(failures: int, pause: float) -> None:
    assert errors.backoff(failures, 10, first=2) == pause
    assert errors.backoff(failures, 10, first=2, minimum=9) == max(9, pause)
