"""A gateway whose clock is wrong: its times are, while the sandbox's own bookkeeping is right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client

SKEW = -86_400.0
"""A day: no machine is so slow that a test takes it for the true time."""

TIMES = ("created_at", "started_at", "completed_at")


@pytest.fixture
def slow_clock() -> Iterator[Client]:
    faults = Faults(clock_skew=SKEW)
    with Sandbox(faults=faults, processing=0.0) as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


def differs(instant: float) -> float:
    """Return by how many seconds an instant differs from now, in whole hours."""
    return round((instant - time.time()) / 3600) * 3600.0


def epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def test_all_times_of_a_prediction_are_those_of_the_wrong_clock(slow_clock: Client) -> None:
    body = slow_clock.wait(slow_clock.create_id())
    (listed,) = slow_clock.send("GET", "/v1/predictions").json()["results"]
    for shown in (body, listed):
        assert [differs(epoch(shown[name])) for name in TIMES] == [SKEW] * 3


def test_the_deadline_is_shown_by_the_wrong_clock_and_kept_by_the_right_one(slow_clock: Client) -> None:
    body = slow_clock.create(headers={"Cancel-After": "2h"}).json()
    assert differs(epoch(body["deadline"])) == SKEW + 7200
    assert slow_clock.wait(body["id"])["status"] == "succeeded"


def test_the_header_date_is_that_of_the_wrong_clock(slow_clock: Client) -> None:
    responses = [slow_clock.create(), slow_clock.send("GET", "/v1/models"), slow_clock.get("x")]
    dates = [parsedate_to_datetime(response.headers["date"]).timestamp() for response in responses]
    assert [differs(date) for date in dates] == [SKEW] * 3


def test_the_date_of_a_retry_after_is_that_of_the_wrong_clock(slow_clock: Client) -> None:
    response = slow_clock.create(faults={"rate_limit": "date"})
    assert differs(parsedate_to_datetime(response.headers["retry-after"]).timestamp()) == SKEW


def test_the_sandbox_s_own_bookkeeping_has_true_times(slow_clock: Client) -> None:
    slow_clock.wait(slow_clock.create_id())
    response = slow_clock.send("GET", "/sandbox/predictions")
    (entry,) = response.json()
    assert [differs(epoch(entry[name])) for name in TIMES] == [0.0] * 3
    assert differs(parsedate_to_datetime(response.headers["date"]).timestamp()) == 0.0
    assert differs(slow_clock.sandbox.requests[0].at) == 0.0


def test_a_clock_may_be_wrong_for_one_request_only(client: Client) -> None:
    prediction_id = client.create_id()
    wrong = client.get(prediction_id, {"clock_skew": SKEW})
    right = client.get(prediction_id)
    for response, skew in ((wrong, SKEW), (right, 0.0)):
        assert differs(epoch(response.json()["created_at"])) == skew
        assert len(response.raw.headers.getlist("date")) == 1
        assert differs(parsedate_to_datetime(response.headers["date"]).timestamp()) == skew
