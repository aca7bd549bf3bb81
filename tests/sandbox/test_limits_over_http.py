from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client

LIMIT_HEADERS = {"ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture
def limited() -> Iterator[Client]:
    """Give a sandbox that lets one create and one other call through, and more only much later."""
    sandbox = Sandbox(creates_per_minute=1, calls_per_minute=1)
    with sandbox, requests.Session() as session:
        yield Client(sandbox, session)


def refused(client: Client, method: str, path: str) -> requests.Response:
    """Send twice, and return the second answer."""
    client.send(method, path)
    answer = client.send(method, path)
    assert answer.status_code == 429
    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_prefix_refuses_in_its_own_words_and_tells_the_wait(limited: Client, method: str) -> None:
    gateway = refused(limited, method, "/replicate/v1/predictions")
    replicate = refused(limited, method, "/v1/predictions")
    waits = [int(answer.headers["retry-after"]) for answer in (gateway, replicate)]
    assert all(50 < wait <= 60 for wait in waits)
    words = [f"Request was throttled. Expected available in {wait} seconds." for wait in waits]
    assert gateway.json()["error"]["message"] == words[0]
    assert replicate.json() == {"title": "Too many requests", "detail": words[1], "status": 429}


def test_a_refused_create_is_not_accepted(limited: Client) -> None:
    statuses = [limited.create().status_code for _ in range(10)]
    assert statuses == [201] + [429] * 9
    assert limited.sandbox.creates == len(limited.sandbox.predictions) == 1
    assert limited.sandbox.counts["requests"] == {"create": 10}
    assert [entry.status for entry in limited.sandbox.requests] == statuses


def test_creates_leave_the_other_calls_alone(limited: Client) -> None:
    refused(limited, "POST", "/v1/predictions")
    assert limited.send("GET", "/v1/predictions").status_code == 200


def test_every_answer_tells_what_is_left_of_its_limit(limited: Client) -> None:
    answers = [
        limited.create(),
        limited.create(),
        limited.send("GET", "/v1/predictions/unknown"),
        limited.send("GET", "/nowhere"),
    ]
    assert [answer.status_code for answer in answers] == [201, 429, 404, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["0"] * 4
    assert all(50 < int(answer.headers["ratelimit-reset"]) <= 60 for answer in answers)


@pytest.mark.parametrize("faults", [{"status": 503}, {"fial": 1}])
def test_what_goes_wrong_tells_what_is_left_too(limited: Client, faults: dict[str, Any]) -> None:
    answer = limited.send("GET", "/v1/models", faults=faults)
    assert answer.status_code in (503, 400)
    assert set(answer.headers) >= LIMIT_HEADERS


def test_an_answer_with_no_limit_of_its_own_tells_of_none(client: Client) -> None:
    assert not LIMIT_HEADERS & set(client.create().headers)
    with Sandbox(creates_per_minute=60) as sandbox, requests.Session() as session:
        told = Client(sandbox, session).send("GET", "/v1/models")
    assert not LIMIT_HEADERS & set(told.headers)


def test_files_pages_and_controls_have_no_limit(limited: Client) -> None:
    refused(limited, "GET", "/v1/models")
    for path in ("/", "/sandbox/counts", "/sandbox/predictions", "/sandbox/requests"):
        assert limited.send("GET", path).status_code == 200


def test_a_refused_call_uses_up_no_fault() -> None:
    with Sandbox(calls_per_minute=120) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        for _ in range(3):
            client.send("GET", "/v1/models")
        sandbox.set_faults(Faults(status=418), times=1)
        statuses = (client.send("GET", "/v1/models").status_code for _ in count())
        assert next(status for status in statuses if status != 429) == 418


def test_clearing_gives_the_limits_back(limited: Client) -> None:
    refused(limited, "POST", "/v1/predictions")
    limited.sandbox.clear()
    assert limited.create().status_code == 201


def test_a_sandbox_with_an_impossible_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0, got 0"):
        Sandbox(calls_per_minute=0)
