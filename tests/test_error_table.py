"""Every bad response of the API: which error it is, and whether Airflow tries again.

``create``: the response to a create request (submit and run). ``wait``: the response to each poll
of a prediction that is known to exist (run). ``first``: the response to each poll of a sensor,
which has not seen its prediction yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import RESEND_LIMIT
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.policies.retry import QuickRouterRetryPolicy
from airflow_provider_quickrouter.polling.poll import GONE_AFTER, PATIENCE
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.conftest import connect
from tests.hooks.answering import ID, Network, Response, answering
from tests.tasks import Clock, Store, TaskInstance, context_of, run


def gateway(message: str, code: object = "") -> Any:
    return {"error": {"message": message, "type": "new_api_error", "param": "", "code": code}}


def replicate(status: int, title: str, **more: Any) -> Any:
    return {"title": title, "detail": "See the documentation.", "status": status, **more}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :ivar asked: seconds that a 429 asks for.
    :ivar first: the error that ends a sensor's wait at once; "" where it is waited out as ``wait``.
    """

    says: str
    response: Response | Network
    create: str
    create_retries: bool
    wait: str
    wait_retries: bool
    asked: float | None = None
    first: str = ""


def fails(says: str, response: Response, error: str) -> Row:
    """Fail after a create request; wait out after a poll, as it says nothing of a prediction."""
    return Row(says, response, error, False, "UpstreamError", True)


def refused(says: str, response: Response, error: str) -> Row:
    """Fail also at a sensor's first poll: key, account or permissions are wrong."""
    return Row(says, response, error, False, "UpstreamError", True, first=error)


def gone(says: str, response: Response) -> Row:
    """Fail also after a poll, if that lasts for a minute: the API does not know the prediction."""
    return Row(says, response, "NotFoundError", False, "NotFoundError", False)


def unsure(says: str, response: Response | Network, wait: str = "UpstreamError") -> Row:
    return Row(says, response, "UncertainCreateError", False, wait, True)


def limit(says: str, response: Response, asked: float | None) -> Row:
    return Row(says, response, "RateLimitError", True, "RateLimitError", True, asked)


PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
SLOW = "Request was throttled."
SATURATED = "Current group upstream load is saturated, please try again later"
NEVER_SERVED = "当前分组 default 下对于模型 sd 无可用渠道"
INVALID = [{"field": "input.width", "description": "must be a multiple of 64"}]

TABLE = [
    fails("400", Response(400, gateway("invalid JSON")), "InvalidRequestError"),
    fails("413", Response(413, PAGE), "InvalidRequestError"),
    fails(
        "422",
        Response(422, replicate(422, "Input validation failed", invalid_fields=INVALID)),
        "InvalidRequestError",
    ),
    refused("401", Response(401, gateway("无效的令牌")), "AuthenticationError"),
    refused("401, page", Response(401, PAGE), "AuthenticationError"),
    refused("402", Response(402, replicate(402, "Insufficient credit")), "QuotaError"),
    refused("403, no money", Response(403, gateway("-", "insufficient_user_quota")), "QuotaError"),
    refused("403, key's quota", Response(403, gateway("-", "pre_consume_token_quota_failed")), "QuotaError"),
    refused("403, local quota", Response(403, gateway("-", "local:insufficient_quota")), "QuotaError"),
    refused("403, 余额", Response(403, gateway("用户余额不足")), "QuotaError"),
    refused("403", Response(403, gateway("This token has no access")), "PermissionDeniedError"),
    fails("403, page", Response(403, PAGE), "PermissionDeniedError"),
    gone("404", Response(404, replicate(404, "Not found"))),
    gone("404, route", Response(404, gateway("Invalid URL (POST /x)"))),
    gone("410", Response(410, replicate(410, "Gone"))),
    gone("400, unknown task", Response(400, gateway("task not exist", "task_not_exist"))),
    fails("404, page", Response(404, PAGE), "NotFoundError"),
    fails("405, page", Response(405, PAGE), "InvalidRequestError"),
    fails("302", Response(302, "", {"Location": "https://elsewhere/"}), "RedirectError"),
    unsure("408", Response(408, gateway("timeout"))),
    unsure("500", Response(500, gateway("do request failed", "do_request_failed"))),
    unsure("502, page", Response(502, PAGE)),
    unsure("503", Response(503, "")),
    unsure("504, page", Response(504, PAGE)),
    unsure("524", Response(524, PAGE)),
    Row("521", Response(521, PAGE), "NotConnectedError", True, "NotConnectedError", True),
    limit("429, header", Response(429, replicate(429, SLOW), {"Retry-After": "7"}), 7),
    limit("429, body", Response(429, replicate(429, SLOW, retry_after=8)), 8),
    limit("429, text", Response(429, gateway(f"{SLOW} Your rate limit resets in ~30s.")), 30),
    limit("429, other text", Response(429, gateway("Expected available in 1 second.")), 1),
    limit("429, bare", Response(429, gateway(SATURATED)), None),
    limit("429, long", Response(429, gateway(SLOW), {"Retry-After": "3600"}), 3600),
    fails("503, no model", Response(503, gateway("-", "model_not_found")), "NoChannelError"),
    fails("503, no channel", Response(503, gateway(NEVER_SERVED)), "NoChannelError"),
    unsure("200, no success", Response(200, {"success": False, "message": "upstream error"})),
    unsure("200, code 500", Response(200, {"code": 500, "message": "error", "data": None})),
    refused("200, code 401", Response(200, {"code": 401, "message": "no"}), "AuthenticationError"),
    refused("200, code 403", Response(200, {"code": "403", "message": "no"}), "PermissionDeniedError"),
    limit("200, code 429", Response(200, {"code": 429, "message": "slow"}), None),
    fails(
        "200, no channel",
        Response(200, {"success": False, "message": "no available channel"}),
        "NoChannelError",
    ),
    unsure("200, page", Response(200, PAGE)),
    unsure("200, empty", Response(200, "")),
    unsure("200, no id", Response(200, {"status": "starting"})),
    unsure("200, a list", Response(200, [])),
    Row("refused", Network.REFUSED, "NotConnectedError", True, "NotConnectedError", True),
    unsure("reset", Network.DROPPED, "ConnectionLostError"),
]
each_row = pytest.mark.parametrize("row", TABLE, ids=[row.says for row in TABLE])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def create(**arguments: Any) -> Any:
    given: Any = {"task_id": "t", "input": {"prompt": "a cat"}, "version": STABLE_DIFFUSION}
    return QuickRouterSubmitPredictionOperator(**given | arguments)


def create_and_wait() -> Any:
    given: Any = {"task_id": "t", "input": {"prompt": "a cat"}, "version": STABLE_DIFFUSION}
    return QuickRouterRunPredictionOperator(**given, deferrable=False)


def poke() -> Any:
    return QuickRouterPredictionSensor(task_id="t", prediction_id=ID, deferrable=False)


def deferred() -> Any:
    return QuickRouterPredictionSensor(task_id="t", prediction_id=ID, deferrable=True)


def check(error: Any, name: str, retries: bool, asked: float | None) -> None:
    assert isinstance(error, getattr(errors, name))
    assert type(error).__name__ == name
    assert isinstance(error, AirflowFailException) is not retries
    assert error.retry_after == asked
    decision = QuickRouterRetryPolicy().evaluate(error, 1, 3)
    delay = decision.retry_delay.total_seconds() if decision.retry_delay else None
    assert delay == ((asked or 30) if retries else None)


@each_row
@pytest.mark.parametrize("make", [create, create_and_wait])
def test_the_answer_to_a_create(row: Row, make: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(row.response) as (url, methods):
        connect(monkeypatch, host=url)
        with DAG("test"):
            task = make()
        with pytest.raises(AirflowException) as failed:
            task.execute(context_of(task, TaskInstance(Store(), 1, 2)))
    check(failed.value, row.create, row.create_retries, row.asked)
    assert sum(clock.pauses) <= RESEND_LIMIT
    if row.create_retries:
        assert all(pause >= (row.asked or 1) for pause in clock.pauses)
        assert bool(clock.pauses) is ((row.asked or 1) < RESEND_LIMIT)
    elif row.create == "UncertainCreateError":
        # It is looked for in the API's list, which this gateway does not have.
        assert methods[0] == "POST"
        assert set(methods[1:]) == {"GET"}
        assert sum(clock.pauses) < 30
    elif row.response is not Network.REFUSED:
        assert (methods, clock.pauses) == (["POST"], [])


@each_row
@pytest.mark.parametrize("make", [create_and_wait, poke, deferred])
def test_the_answers_to_a_waiting_task(
    row: Row, make: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, creates = clock.now, make is create_and_wait
    with answering(row.response, accepts=creates) as (url, methods):
        connect(monkeypatch, host=url)
        with pytest.raises(AirflowException) as failed:
            run(make, TaskInstance(Store(), 1, 2))
    waited = clock.now - began
    if row.first and not creates:
        check(failed.value, row.first, False, row.asked)
        assert methods == ["GET"]
        return
    check(failed.value, row.wait, row.wait_retries, row.asked)
    if row.wait_retries:
        assert PATIENCE <= waited < PATIENCE + 310
        assert all(pause >= min(row.asked or 0, 300) for pause in clock.pauses[creates or 1 :])
    else:
        assert GONE_AFTER <= waited < 3 * GONE_AFTER
    assert methods.count("POST") == creates  # nothing is canceled: a later attempt resumes it
    assert len(methods) < 60


@pytest.mark.parametrize("row", [row for row in TABLE if row.first], ids=lambda row: row.says)
@pytest.mark.parametrize("make", [poke, deferred])
def test_what_ends_a_first_poll_is_waited_out_once_there_was_a_good_response(
    row: Row, make: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = clock.now
    with answering(row.response, good=1) as (url, methods):
        connect(monkeypatch, host=url)
        with pytest.raises(AirflowException) as failed:
            run(make, TaskInstance(Store(), 1, 2))
    check(failed.value, row.wait, row.wait_retries, row.asked)
    assert clock.now - began >= PATIENCE
    assert set(methods) == {"GET"}
