"""Every bad answer of the API: which error it is, and whether Airflow tries again.

``CREATE``: the answer to a create (submit and run). ``WAIT``: the answer to each question about a
prediction (run, sensor). There ``retries`` means that it was waited out for ten minutes before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.polling import NOT_FOUND_GRACE, PATIENCE, RESEND_LIMIT
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.policies.retry import QuickRouterRetryPolicy
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.conftest import connect
from tests.hooks.answering import ID, Answer, Network, answering
from tests.tasks import Clock, Store, TaskInstance, context_of, run


def gateway(message: str, code: object = "") -> Any:
    return {"error": {"message": message, "type": "new_api_error", "param": "", "code": code}}


def replicate(status: int, title: str, **more: Any) -> Any:
    return {"title": title, "detail": "See the documentation.", "status": status, **more}


@dataclass(frozen=True)
class Row:
    """One line of the table. ``asked``: seconds that a 429 asks for."""

    says: str
    answer: Answer | Network
    create: str
    create_retries: bool
    wait: str
    wait_retries: bool
    asked: float | None = None


def fails(says: str, answer: Answer, error: str) -> Row:
    return Row(says, answer, error, False, error, False)


def unsure(says: str, answer: Answer | Network, wait: str = "UpstreamError") -> Row:
    return Row(says, answer, "UncertainCreateError", False, wait, True)


def limit(says: str, answer: Answer, asked: float | None) -> Row:
    return Row(says, answer, "RateLimitError", True, "RateLimitError", True, asked)


PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
SLOW = "Request was throttled."
SATURATED = "Current group upstream load is saturated, please try again later"
NEVER_SERVED = "当前分组 default 下对于模型 sd 无可用渠道"
INVALID = [{"field": "input.width", "description": "must be a multiple of 64"}]

TABLE = [
    fails("400", Answer(400, gateway("invalid JSON")), "InvalidRequestError"),
    fails("413", Answer(413, PAGE), "InvalidRequestError"),
    fails(
        "422",
        Answer(422, replicate(422, "Input validation failed", invalid_fields=INVALID)),
        "InvalidRequestError",
    ),
    fails("401", Answer(401, gateway("无效的令牌")), "AuthenticationError"),
    fails("402", Answer(402, replicate(402, "Insufficient credit")), "QuotaError"),
    fails("403, no money", Answer(403, gateway("-", "insufficient_user_quota")), "QuotaError"),
    fails(
        "403, key's quota",
        Answer(403, gateway("-", "pre_consume_token_quota_failed")),
        "QuotaError",
    ),
    fails("403, local quota", Answer(403, gateway("-", "local:insufficient_quota")), "QuotaError"),
    fails("403, 余额", Answer(403, gateway("用户余额不足")), "QuotaError"),
    fails("403", Answer(403, gateway("This token has no access")), "PermissionDeniedError"),
    fails("403, page", Answer(403, PAGE), "PermissionDeniedError"),
    fails("404", Answer(404, replicate(404, "Not found")), "NotFoundError"),
    fails("404, route", Answer(404, gateway("Invalid URL (POST /x)")), "NotFoundError"),
    fails("302", Answer(302, "", {"Location": "https://elsewhere/"}), "RedirectError"),
    unsure("408", Answer(408, gateway("timeout"))),
    unsure("500", Answer(500, gateway("do request failed", "do_request_failed"))),
    unsure("502, page", Answer(502, PAGE)),
    unsure("503", Answer(503, "")),
    unsure("504, page", Answer(504, PAGE)),
    unsure("524", Answer(524, PAGE)),
    limit("429, header", Answer(429, replicate(429, SLOW), {"Retry-After": "7"}), 7),
    limit("429, body", Answer(429, replicate(429, SLOW, retry_after=8)), 8),
    limit("429, text", Answer(429, gateway(f"{SLOW} Your rate limit resets in ~30s.")), 30),
    limit("429, other text", Answer(429, gateway("Expected available in 1 second.")), 1),
    limit("429, bare", Answer(429, gateway(SATURATED)), None),
    limit("429, long", Answer(429, gateway(SLOW), {"Retry-After": "3600"}), 3600),
    fails("503, no model", Answer(503, gateway("-", "model_not_found")), "NoChannelError"),
    fails("503, no channel", Answer(503, gateway(NEVER_SERVED)), "NoChannelError"),
    unsure("200, no success", Answer(200, {"success": False, "message": "upstream error"})),
    unsure("200, code 500", Answer(200, {"code": 500, "message": "error", "data": None})),
    fails("200, code 401", Answer(200, {"code": 401, "message": "no"}), "AuthenticationError"),
    fails("200, code 403", Answer(200, {"code": "403", "message": "no"}), "PermissionDeniedError"),
    limit("200, code 429", Answer(200, {"code": 429, "message": "slow"}), None),
    fails(
        "200, no channel",
        Answer(200, {"success": False, "message": "no available channel"}),
        "NoChannelError",
    ),
    unsure("200, page", Answer(200, PAGE)),
    unsure("200, empty", Answer(200, "")),
    unsure("200, no id", Answer(200, {"status": "starting"})),
    unsure("200, a list", Answer(200, [])),
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
def test_the_answer_to_a_create(
    row: Row, make: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(row.answer) as (url, methods):
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
    elif row.answer is not Network.REFUSED:
        assert (methods, clock.pauses) == (["POST"], [])


@each_row
@pytest.mark.parametrize("make", [create_and_wait, poke, deferred])
def test_the_answers_to_a_waiting_task(
    row: Row, make: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, creates = clock.now, make is create_and_wait
    with answering(row.answer, accepts=creates) as (url, methods):
        connect(monkeypatch, host=url)
        with pytest.raises(AirflowException) as failed:
            run(make, TaskInstance(Store(), 1, 2))
    check(failed.value, row.wait, row.wait_retries, row.asked)
    waited = clock.now - began
    if row.wait_retries:
        assert PATIENCE <= waited < PATIENCE + 310
        assert all(pause >= min(row.asked or 0, 300) for pause in clock.pauses[creates or 1 :])
    elif row.wait == "NotFoundError":
        assert NOT_FOUND_GRACE <= waited < 3 * NOT_FOUND_GRACE
    else:
        # Who made the prediction gives it up, and looks once more how that ended.
        assert methods.count("GET") == (2 if creates else 1)
    assert len(methods) < 60
