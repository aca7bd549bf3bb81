"""Faults that depend on the GETs before: decided without a server, then seen over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import NONE, ODD_RESPONSES, Faults
from airflow_provider_quickrouter.sandbox.predictions import Record
from airflow_provider_quickrouter.sandbox.schedule import Gets
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client

MOVED = Faults(odd_response="moved")
LONG = {"response": "forbidden", "seconds": 60}


def record(**faults: Any) -> Record:
    return Record("abc", "a/b", "hidden", {}, 1, 0.0, 0.0, 0.0, faults=Faults(**faults))


def test_odd_responses_begin_with_the_first_get_and_end_after_their_seconds() -> None:
    gets, odd = Gets(), record(odd_gets={"response": "moved", "seconds": 5})

    assert [gets.faults_of(odd, now) for now in (100, 104.9, 105, 106)] == [MOVED] * 2 + [NONE] * 2


def test_odd_responses_begin_with_the_first_get_after_a_good_one() -> None:
    gets, odd = Gets(), record(odd_gets={"response": "moved", "seconds": 5, "after": 1})

    assert gets.faults_of(odd, 100) is NONE
    gets.note_good(odd)
    assert [gets.faults_of(odd, now) for now in (110, 114, 115)] == [MOVED, MOVED, NONE]


def test_the_first_gets_are_held() -> None:
    gets, hung = Gets(), record(hung_gets={"times": 2, "seconds": 30})

    assert [gets.faults_of(hung, 0).hang for _ in range(3)] == [30, 30, None]


def test_a_prediction_from_before_a_restart_has_no_such_faults_any_more() -> None:
    gets, odd = Gets(), record(odd_gets=LONG, hung_gets={"times": 2, "seconds": 30})
    gets.end(odd.id)

    assert gets.faults_of(odd, 0) is NONE


def test_a_prediction_without_such_faults_has_none() -> None:
    assert Gets().faults_of(record(fail="E1"), 0) is NONE


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def running(state: Path) -> Iterator[Client]:
    with Sandbox(state=state, processing=0.0) as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


EXPECTED = {
    "unauthorized": (401, "application/json"),
    "forbidden": (403, "application/json"),
    "challenge_page": (403, "text/html"),
    "not_found": (404, "application/json"),
    "not_found_page": (404, "text/html"),
    "not_found_text": (404, "text/plain"),
    "not_allowed_page": (405, "text/html"),
    "moved": (302, None),
}


@pytest.mark.parametrize("name", ODD_RESPONSES)
def test_an_odd_response_has_its_status_and_its_kind_of_body(client: Client, name: str) -> None:
    response = client.get(client.create_id(), {"odd_response": name})
    kind = response.headers.get("content-type", "").partition(";")[0] or None
    assert (response.status_code, kind) == EXPECTED[name]
    assert response.headers.get("location") == ("/login" if name == "moved" else None)


def test_every_get_in_an_episode_gets_the_odd_response_and_no_planned_one(client: Client) -> None:
    prediction_id = client.create_id(odd_gets=LONG)
    assert [client.get(prediction_id).status_code for _ in range(3)] == [403] * 3


def test_an_episode_waits_for_a_get_whose_response_arrived_whole(client: Client) -> None:
    prediction_id = client.create_id(odd_gets={**LONG, "after": 1})
    for faults in ({"status": 502}, {"body": "cut"}):
        client.get(prediction_id, faults)
    with pytest.raises(requests.ConnectionError):
        client.get(prediction_id, {"drop": "after"})
    assert [client.get(prediction_id).status_code for _ in range(3)] == [200, 403, 403]


def test_a_held_response_does_not_come_and_the_next_one_does(client: Client) -> None:
    prediction_id = client.create_id(hung_gets={"times": 1, "seconds": 60})
    with pytest.raises(requests.ReadTimeout):
        client.send("GET", f"/v1/predictions/{prediction_id}", timeout=0.3)
    assert client.get(prediction_id).status_code == 200


def test_clearing_the_sandbox_begins_the_gets_again(client: Client) -> None:
    client.get(client.create_id(odd_gets=LONG))
    client.sandbox.clear()
    assert client.get(client.create_id()).status_code == 200


def test_a_restart_ends_the_episodes(state: Path) -> None:
    for client in running(state):
        prediction_id = client.create_id(odd_gets=LONG)
        assert client.get(prediction_id).status_code == 403
    for client in running(state):
        assert client.get(prediction_id).status_code == 200
