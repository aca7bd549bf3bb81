from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.api.model_inputs import file_fields
from airflow_provider_quickrouter.api.references import BY_NAME, LISTED
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import FLUX, KEY, PROMPT, STABLE_DIFFUSION, Client

BOTH = pytest.mark.parametrize("prefix", ["/replicate/v1", "/v1"])
INPUT = {"input": {"prompt": PROMPT}}


@pytest.fixture
def guarded() -> Iterator[Client]:
    with Sandbox(api_key="right") as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


def fields_of(answer: requests.Response) -> set[str]:
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert set(body) == {"title", "detail", "status", "invalid_fields"}
    return {problem["field"] for problem in body["invalid_fields"]}


@BOTH
def test_a_prediction_is_created_by_version_and_read(client: Client, prefix: str) -> None:
    answer = client.send("POST", f"{prefix}/predictions", {"version": STABLE_DIFFUSION, **INPUT})
    body = answer.json()
    assert (answer.status_code, body["status"]) == (201, "starting")
    assert re.fullmatch("[a-z0-9]{26}", body["id"])
    assert f"{body['model']}:{body['version']}" == STABLE_DIFFUSION
    assert body["input"] == {"prompt": PROMPT}
    shown = client.send("GET", f"{prefix}/predictions/{body['id']}")
    assert (shown.status_code, shown.json()["id"]) == (200, body["id"])


@BOTH
def test_a_prediction_is_created_by_model(client: Client, prefix: str) -> None:
    answer = client.send("POST", f"{prefix}/models/{FLUX}/predictions", INPUT)
    body = answer.json()
    assert (answer.status_code, body["model"], body["version"]) == (201, FLUX, "hidden")
    assert isinstance(client.wait(body["id"])["output"], str)


@pytest.mark.parametrize(
    ("version", "model", "shown"), [("a/b", "a/b", "hidden"), ("f" * 64, "sandbox/model", "f" * 64)]
)
def test_a_version_may_be_a_name_or_a_hash(client: Client, version: str, model: str, shown: str) -> None:
    answer = client.send("POST", "/v1/predictions", {"version": version, **INPUT})
    assert (answer.json()["model"], answer.json()["version"]) == (model, shown)


def test_a_prediction_runs_to_its_end(client: Client) -> None:
    body = client.wait(client.create_id())
    assert body["status"] == "succeeded"
    assert body["output"] == [f"{client.sandbox.url}/files/{body['id']}/out-0.png"]


@pytest.mark.parametrize("version", ["a", "a/b:123", "f" * 63, "a/b:" + "F" * 64, 5, None, "../b"])
def test_a_wrong_version_is_refused(client: Client, version: Any) -> None:
    answer = client.send("POST", "/replicate/v1/predictions", {"version": version, **INPUT})
    assert fields_of(answer) == {"version"}


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"input": {"x": NaN}}', rb'{"input": {"x": "\ud800"}}', b"[" * 100_000]
)
def test_what_is_not_good_json_is_refused(client: Client, text: bytes) -> None:
    url = f"{client.sandbox.url}/v1/models/a/b/predictions"
    answer = client.session.post(url, data=text, headers=KEY, timeout=10)
    assert answer.status_code == 400


def test_unknown_root_keys_are_refused(client: Client) -> None:
    body = {"version": STABLE_DIFFUSION, **INPUT, "model": "a/b", "x": 1}
    assert fields_of(client.send("POST", "/v1/predictions", body)) == {"model", "x"}
    by_model = client.send("POST", "/v1/models/a/b/predictions", {"version": "a/b", **INPUT})
    assert fields_of(by_model) == {"version"}


def test_webhook_and_stream_are_root_keys(client: Client) -> None:
    more = {"webhook": "https://a", "webhook_events_filter": ["completed"], "stream": False}
    answer = client.send("POST", "/v1/predictions", {"version": "a/b", **INPUT, **more})
    assert answer.status_code == 201


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": None}])
def test_an_input_is_required(client: Client, body: dict[str, Any]) -> None:
    assert fields_of(client.send("POST", "/v1/models/a/b/predictions", body)) == {"input"}


@pytest.mark.parametrize("body", [None, [], "text"])
def test_a_body_that_is_no_object_is_refused(client: Client, body: Any) -> None:
    assert client.send("POST", "/v1/predictions", body).status_code == 400


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"seed": None}, "input.seed"),
        ({"width": 100}, "input.width"),
        ({"height": "768"}, "input.height"),
        ({"width": 768.0}, "input.width"),
        ({"width": 128_000}, "input.width"),
        ({"guidance_scale": 21}, "input.guidance_scale"),
        ({"guidance_scale": True}, "input.guidance_scale"),
        ({"num_inference_steps": 0}, "input.num_inference_steps"),
        ({"num_outputs": 5}, "input.num_outputs"),
    ],
)
def test_a_wrong_input_is_refused_by_name(client: Client, given: dict[str, Any], field: str) -> None:
    assert fields_of(client.create(given)) == {field}
    assert client.sandbox.creates == 0


@pytest.mark.parametrize("reference", LISTED, ids=lambda reference: reference.partition(":")[0])
def test_a_list_is_refused_where_a_model_takes_one_file(client: Client, reference: str) -> None:
    fields = [name for name, is_file in file_fields(reference).items() if is_file]
    given = {"prompt": PROMPT, **dict.fromkeys(fields, "https://x.example/cat.png")}
    lists = {"prompt": PROMPT, **{name: [given[name]] for name in fields}}
    by_name = reference in BY_NAME
    path = f"/v1/models/{reference}/predictions" if by_name else "/v1/predictions"
    root = {} if by_name else {"version": reference}
    assert client.send("POST", path, {**root, "input": given}).status_code == 201
    if fields:
        answer = client.send("POST", path, {**root, "input": lists})
        assert fields_of(answer) == {f"input.{name}" for name in fields}
        assert "must be one file, as a URL or data URI" in answer.json()["detail"]


@pytest.mark.parametrize("reference", LISTED[:4], ids=lambda reference: reference.partition(":")[0])
def test_a_version_without_its_model_is_checked_like_the_model(client: Client, reference: str) -> None:
    model, _, digest = reference.partition(":")
    wrong = {"prompt": PROMPT, "guidance_scale": 900, "num_outputs": 900, "image": []}
    answers = [
        client.send("POST", "/v1/predictions", {"version": version, "input": wrong})
        for version in (reference, digest)
    ]
    assert fields_of(answers[0]) == fields_of(answers[1])
    right = {"prompt": PROMPT, "image": "https://x/a.png", "mask": "https://x/b.png"}
    made = client.send("POST", "/v1/predictions", {"version": digest, "input": right}).json()
    assert (made["model"], made["version"]) == (model, digest)


def test_a_missing_input_is_refused_by_name(client: Client) -> None:
    answer = client.send("POST", f"/v1/models/{FLUX}/predictions", {"input": {}})
    assert fields_of(answer) == {"input.prompt"}
    assert "- input.prompt: prompt is required\n" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["Bearer wrong", "Bearer ", "right", "Basic right", None])
def test_only_the_right_key_is_good(guarded: Client, key: str | None) -> None:
    answer = guarded.send("GET", "/v1/models", headers={"Authorization": key})
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    right = {"Authorization": "Bearer right"}
    assert guarded.send("GET", "/v1/models", headers=dict(right)).status_code == 200


def test_each_prefix_refuses_a_key_in_its_own_words(guarded: Client) -> None:
    gateway = guarded.send("GET", "/replicate/v1/predictions/x")
    replicate = guarded.send("GET", "/v1/predictions/x")
    assert (gateway.status_code, replicate.status_code) == (401, 401)
    assert "error" in gateway.json()
    assert set(replicate.json()) == {"title", "detail", "status"}


def test_without_a_key_of_its_own_any_key_but_none_is_good(client: Client) -> None:
    assert client.send("GET", "/v1/models").status_code == 200
    nobody: dict[str, str | None] = {"Authorization": None}
    assert client.send("GET", "/v1/models", headers=nobody).status_code == 401


@pytest.mark.parametrize("agent", ["", "Python-urllib/3.11"])
def test_a_client_without_a_good_name_meets_the_firewall(client: Client, agent: str) -> None:
    answer = client.create(headers={"User-Agent": agent})
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert client.sandbox.creates == 0


def test_a_client_without_any_name_meets_the_firewall(client: Client) -> None:
    with closing(HTTPConnection("127.0.0.1", client.sandbox.port, timeout=5)) as connection:
        connection.request("GET", "/v1/models", headers={"Authorization": "Bearer any"})
        assert connection.getresponse().status == 403


def test_every_answer_has_a_request_id_of_its_own(client: Client) -> None:
    paths = ("/v1/models", "/nowhere", "/", "/replicate/v1/predictions/x")
    ids = {client.send("GET", path).headers["x-oneapi-request-id"] for path in paths}
    assert len(ids) == len(paths)


@BOTH
def test_an_unknown_id_is_not_found(client: Client, prefix: str) -> None:
    assert client.send("GET", f"{prefix}/predictions/unknown").status_code == 404
    assert client.send("POST", f"{prefix}/predictions/unknown/cancel").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predictions"),
        ("GET", "/replicate/predictions/x"),
        ("POST", "/v2/predictions"),
        ("DELETE", "/v1/predictions/x"),
        ("GET", "/replicate/v1/predictions/x/cancel"),
        ("POST", "/replicate/v1/models/a/predictions"),
        ("GET", "/replicate/v1/predictions/a/b/c"),
        ("GET", "/sandbox/unknown"),
    ],
)
def test_an_unknown_route_is_not_found(client: Client, method: str, path: str) -> None:
    answer = client.send(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL ({method} {path})"


def test_a_model_that_is_no_name_is_not_found(client: Client) -> None:
    assert client.send("POST", "/v1/models/-/../predictions", INPUT).status_code == 404
    assert client.send("POST", "/v1/models/-a/b/predictions", INPUT).status_code == 404


def test_free_calls_test_a_key(client: Client) -> None:
    models = client.send("GET", "/v1/models").json()
    assert models["object"] == "list"
    assert FLUX in [model["id"] for model in models["data"]]
    usage = client.send("GET", "/api/usage/token/").json()
    assert usage["data"]["object"] == "token_usage"


def test_a_cancel_ends_a_running_prediction(client: Client) -> None:
    prediction_id = client.create_id(never=True)
    answer = client.send("POST", f"/replicate/v1/predictions/{prediction_id}/cancel", {})
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert client.get(prediction_id).json()["status"] == "canceled"


def test_a_cancel_does_not_change_what_is_over(client: Client) -> None:
    prediction_id = client.create_id()
    client.wait(prediction_id)
    answer = client.send("POST", f"/replicate/v1/predictions/{prediction_id}/cancel")
    assert answer.json()["status"] == "succeeded"


def test_the_gateway_has_no_deployments(client: Client) -> None:
    answer = client.send("POST", "/replicate/v1/deployments/acme/shop/predictions", {"input": {}})
    assert answer.status_code == 404
    assert "Invalid URL" in answer.text


def test_an_answer_waits_for_the_end(client: Client) -> None:
    answer = client.create(headers={"Prefer": "wait=10"})
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")


def test_an_answer_waits_no_longer_than_asked(client: Client) -> None:
    answer = client.create({"sandbox": {"never": True}}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (201, "processing")


@pytest.mark.parametrize("prefer", ["wait=0", "wait=61"])
def test_a_wait_out_of_range_is_refused(client: Client, prefer: str) -> None:
    assert client.create(headers={"Prefer": prefer}).status_code == 422


@pytest.mark.parametrize("text", ["4s", "0", "", "soon", "-5s", "1d"])
def test_a_wrong_cancel_after_is_refused(client: Client, text: str) -> None:
    assert client.create(headers={"Cancel-After": text}).status_code == 422


def test_a_cancel_after_is_shown_as_the_deadline(client: Client) -> None:
    body = client.create(headers={"Cancel-After": "1h30m"}).json()
    assert body["created_at"][14:16] != body["deadline"][14:16]
    assert client.create().json()["deadline"] is None


def test_the_ledger_is_whole_however_long(client: Client) -> None:
    ids = [client.create_id() for _ in range(201)]
    assert [body["id"] for body in client.send("GET", "/sandbox/predictions").json()] == ids
    listed = client.send("GET", "/sandbox/requests").json()["requests"]
    assert [entry["prediction_id"] for entry in listed] == ids


def test_requests_are_listed_without_the_key(client: Client) -> None:
    before = time.time()
    prediction_id = client.create_id()
    client.get(prediction_id)
    listed = client.send("GET", "/sandbox/requests").json()
    create, get = listed["requests"]
    assert listed["creates"] == 1
    assert (create["method"], create["path"]) == ("POST", "/replicate/v1/predictions")
    assert (create["status"], create["prediction_id"]) == (201, prediction_id)
    assert create["body"]["input"] == {"prompt": PROMPT}
    assert create["headers"]["authorization"] == "Bearer ***"
    assert create["headers"]["content-type"] == "application/json"
    assert before <= create["at"] <= get["at"] <= time.time()
    assert (get["body"], get["status"], get["prediction_id"]) == (None, 200, prediction_id)


def test_a_key_without_its_scheme_is_hidden_too(client: Client) -> None:
    client.send("GET", "/v1/models", headers={"Authorization": "secret"})
    assert "secret" not in str(client.sandbox.requests)


def test_the_list_of_requests_is_cleared(client: Client) -> None:
    client.create_id()
    assert client.send("DELETE", "/sandbox/requests").status_code == 204
    assert client.send("GET", "/sandbox/requests").json() == {"creates": 0, "requests": []}


def test_files_pages_and_controls_are_not_listed(client: Client) -> None:
    for path in ("/", "/files/x/out-0.png", "/predictions/x", "/sandbox/predictions"):
        client.send("GET", path)
    assert client.sandbox.requests == []


def test_all_predictions_are_shown_oldest_first(client: Client) -> None:
    ids = [client.create_id() for _ in range(3)]
    shown = client.send("GET", "/sandbox/predictions").json()
    assert [body["id"] for body in shown] == ids
    assert [body["id"] for body in client.sandbox.predictions] == ids


def test_a_hundred_creates_at_once_have_a_hundred_ids(client: Client) -> None:
    assert len({client.create_id() for _ in range(100)}) == client.sandbox.creates == 100
