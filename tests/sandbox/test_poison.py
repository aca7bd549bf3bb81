"""Values that databases refuse: where they stand in a prediction, and how they cross HTTP."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_quickrouter.sandbox.bodies import BEYOND_64_BITS, TEXT, poisoned
from airflow_provider_quickrouter.sandbox.faults import POISONED

from .client import KEY, Client

BODY = {"output": ["a.png"], "error": "E1", "logs": "seed", "metrics": {"total_time": 1.0}}
UNFINISHED: dict[str, Any] = {"output": None, "error": None, "logs": "", "metrics": {}}


def places(body: dict[str, Any]) -> set[str]:
    """Return the parts of a body that hold the poisonous text."""
    return {name for name, value in body.items() if json.dumps(TEXT)[1:-1] in json.dumps(value)}


@pytest.mark.parametrize("place", ["output", "error", "logs", "metrics"])
def test_one_part_is_poisoned(place: str) -> None:
    assert places(poisoned(BODY, place)) == {place}


def test_everywhere_means_all_parts_and_the_header_alone_none() -> None:
    assert places(poisoned(BODY, "everywhere")) == set(BODY)
    assert poisoned(BODY, "header") == BODY
    assert poisoned(BODY, None) == BODY


def test_a_part_that_is_empty_stays_empty() -> None:
    assert poisoned(UNFINISHED, "everywhere") == UNFINISHED


def test_the_pictures_stay_and_metrics_hold_more_than_64_bits() -> None:
    body = poisoned(BODY, "everywhere")
    assert body["output"][0] == "a.png"
    assert body["metrics"]["beyond_64_bits"] == BEYOND_64_BITS > 2**64
    assert poisoned({**BODY, "output": "a.png"}, "output")["output"][0] == "a.png"


def test_a_poisoned_text_holds_nul_and_half_a_surrogate_pair() -> None:
    assert "\x00" in TEXT
    with pytest.raises(UnicodeEncodeError):
        TEXT.encode()


@pytest.mark.parametrize("place", POISONED)
def test_a_poisoned_prediction_ends_as_it_would_without_poison(client: Client, place: str) -> None:
    good = client.wait(client.create_id(poison=place))
    failed = client.wait(client.create_id(poison=place, fail="E1"))
    assert (good["status"], failed["status"]) == ("succeeded", "failed")
    assert places(good) == {"output", "logs", "metrics"} & poisoned_parts(place)
    assert places(failed) == {"error", "logs", "metrics"} & poisoned_parts(place)


def poisoned_parts(place: str) -> set[str]:
    return set(BODY) if place == "everywhere" else {place}


def test_a_poisoned_prediction_is_sparse_listed_and_kept_in_the_ledger(client: Client) -> None:
    prediction_id = client.create_id(poison="everywhere")
    client.wait(prediction_id)
    sparse = client.get(prediction_id, {"body": "sparse"}).json()
    (listed,) = client.send("GET", "/v1/predictions").json()["results"]
    (entry,) = client.send("GET", "/sandbox/predictions").json()
    assert [TEXT in body["output"] for body in (sparse, listed, entry)] == [True] * 3
    assert client.sandbox.predictions[0]["output"] == entry["output"]


def test_a_poisoned_prediction_has_a_page(client: Client) -> None:
    prediction_id = client.create_id(poison="everywhere", fail="E1")
    client.wait(prediction_id)
    for path in ("/", f"/predictions/{prediction_id}"):
        assert client.send("GET", path).status_code == 200


def test_the_request_id_of_a_poisoned_prediction_is_not_utf_8_also_in_an_error(client: Client) -> None:
    prediction_id = client.create_id(poison="header")
    for faults in ({}, {"odd_response": "forbidden"}):
        with pytest.raises(UnicodeDecodeError):
            raw_request_id(client, prediction_id, faults).decode()
    assert raw_request_id(client, client.create_id(), {}).decode().startswith("sandbox-")


def raw_request_id(client: Client, prediction_id: str, faults: dict[str, Any]) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(client.sandbox.url).netloc, timeout=10)
    headers = {**KEY, "User-Agent": "test", "X-Sandbox-Faults": json.dumps(faults)}
    connection.request("GET", f"/v1/predictions/{prediction_id}", headers=headers)
    value = connection.getresponse().getheader("X-Oneapi-Request-Id", "")
    connection.close()
    return str(value).encode("latin-1")
