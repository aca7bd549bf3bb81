from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client

BOTH = pytest.mark.parametrize("prefix", ["/replicate/v1", "/v1"])


@BOTH
def test_predictions_are_listed_newest_first_a_hundred_a_page(client: Client, prefix: str) -> None:
    ids = [client.create_id() for _ in range(205)]
    pages = [client.send("GET", f"{prefix}/predictions").json()]
    while pages[-1]["next"]:
        assert pages[-1]["next"].startswith(f"{client.sandbox.url}{prefix}/predictions?cursor=")
        pages.append(client.send("GET", pages[-1]["next"].removeprefix(client.sandbox.url)).json())
    assert [len(page["results"]) for page in pages] == [100, 100, 5]
    assert [result["id"] for page in pages for result in page["results"]] == ids[::-1]
    assert pages[0]["previous"] is None
    back = client.send("GET", pages[2]["previous"].removeprefix(client.sandbox.url)).json()
    assert [r["id"] for r in back["results"]] == [r["id"] for r in pages[1]["results"]]


def test_a_page_stays_the_same_when_predictions_come_and_are_cancelled(client: Client) -> None:
    ids = [client.create_id(never=True) for _ in range(102)]
    older = client.send("GET", "/v1/predictions").json()["next"].removeprefix(client.sandbox.url)
    client.create_id()
    client.send("POST", f"/v1/predictions/{ids[1]}/cancel")
    results = client.send("GET", older).json()["results"]
    assert [(result["id"], result["status"]) for result in results] == [
        (ids[1], "canceled"),
        (ids[0], "processing"),
    ]


def test_a_wrong_cursor_is_refused(client: Client) -> None:
    assert client.send("GET", "/v1/predictions?cursor=x").status_code == 400
    assert client.send("GET", "/v1/predictions?cursor=0").json()["results"] == []


def test_lists_are_counted_under_their_own_kind(client: Client) -> None:
    for path in ("/v1/predictions", "/replicate/v1/predictions?cursor=5", "/v1/models"):
        client.send("GET", path)
    assert client.sandbox.counts["requests"] == {"list": 2, "other": 1}


def test_a_list_without_predictions_is_empty(client: Client) -> None:
    body = client.send("GET", "/v1/predictions").json()
    assert body == {"previous": None, "next": None, "results": []}


def test_many_pages_at_once_are_all_answered(client: Client) -> None:
    ids = [client.create_id() for _ in range(120)]
    with ThreadPoolExecutor(8) as clients:
        pages = list(clients.map(lambda _: client.send("GET", "/v1/predictions").json(), range(40)))
    assert all([r["id"] for r in page["results"]] == ids[:19:-1] for page in pages)


def test_pages_are_answered_after_a_start_anew() -> None:
    sandbox = Sandbox()
    for _ in range(2):
        with sandbox, requests.Session() as session, ThreadPoolExecutor(8) as clients:
            send = partial(Client(sandbox, session).send, "GET")
            answers = clients.map(send, ["/v1/predictions"] * 40)
            assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("status", [404, 405, 501])
def test_the_list_may_not_exist_for_some_requests(client: Client, status: int) -> None:
    prediction_id = client.create_id()
    client.sandbox.set_faults(Faults(no_list=status), times=3)
    gateway = client.send("GET", "/replicate/v1/predictions")
    replicate = client.send("GET", "/v1/predictions?cursor=1")
    assert (gateway.status_code, replicate.status_code) == (status, status)
    assert set(gateway.json()) == {"error"}
    assert set(replicate.json()) == {"title", "detail", "status"}
    assert client.get(prediction_id).status_code == 200
    assert client.send("GET", "/v1/predictions").status_code == 200


def test_a_sandbox_may_have_no_list_at_all() -> None:
    with Sandbox(faults=Faults(no_list=404)) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        assert client.get(client.create_id()).status_code == 200
        assert client.send("GET", "/v1/predictions").status_code == 404
