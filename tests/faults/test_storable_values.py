"""Responses that hold what no database stores. All that an attempt leaves must be storable."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from tests.faults.clock import Clock
from tests.faults.dags import run_operator, sensor, worker_and_deferred
from tests.faults.gateway import DEFAULT, FIRST_ID, OUTPUT, Gateway
from tests.faults.responses import HTML, MODEL, PLAIN_TEXT, Response, json_response, prediction
from tests.faults.running import TaskInstance, error_of, run_task
from tests.faults.storable import unstorable_parts, why_not_storable
from tests.faults.triggers import wait_for_all

NUL, SURROGATE, HUGE = "a\0b", "a\ud83db", 10**30


def ended(status: str = "succeeded", **fields: Any) -> Response:
    return json_response(prediction(FIRST_ID, status, **({"output": ["x"]} | fields)))


def failed(**fields: Any) -> Response:
    return ended("failed", output=None, **fields)


RESPONSES = {
    "NUL in the output": ended(output=[NUL]),
    "unpaired surrogate in the output": ended(output=[SURROGATE]),
    "integer beyond 64 bits in the output": ended(output=[HUGE]),
    "NUL in a key of the output": ended(output={NUL: 1}),
    "unpaired surrogate in a key of the output": ended(output={SURROGATE: 1}),
    "NUL in the error": failed(error=NUL),
    "unpaired surrogate in the error": failed(error=SURROGATE),
    "NUL in the metrics": ended(metrics={"predict_time": 1.0, NUL: NUL}),
    "integer beyond 64 bits in the metrics": ended(metrics={"predict_time": 10**400}),
    "NUL in the model": ended(model=NUL),
    "unpaired surrogate in the model": ended(model=SURROGATE),
    "NUL in the version": ended(model=None, version=NUL),
    "unpaired surrogate in the version": ended(model=None, version=SURROGATE),
    "NUL in the logs of a failure": failed(error="no", logs=NUL),
    "NUL in the status": json_response(prediction(FIRST_ID, "processing") | {"status": NUL}),
    "Infinity and NaN": ended(output=[float("inf"), float("nan"), "x"]),
    "NUL in the detail of a 422": json_response({"detail": NUL}, 422),
    "unpaired surrogate in a 422 that is a JSON string": json_response(b'"no \\ud83d"', 422),
    "NUL in a 422 that is a JSON string": json_response(b'"no \\u0000"', 422),
    "NUL in a 422 of plain text": Response(422, b"no\0", (PLAIN_TEXT,)),
    "NUL in the title of a page": Response(403, b"<html><title>a\0b</title>", (HTML,)),
    "request id that is not UTF-8": json_response(
        {"detail": "no"}, 422, ("X-Oneapi-Request-Id", b"caf\xe9\xff")
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
@worker_and_deferred
def test_all_that_a_run_leaves_is_storable_whatever_a_poll_returns(
    name: str, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    ti, gateway.on_poll = TaskInstance(), RESPONSES[name]
    error = error_of(run_operator(deferrable=deferrable, timeout=720), ti)
    assert unstorable_parts(ti, error) == {}


@pytest.mark.parametrize(
    "fields",
    [{"model": SURROGATE}, {"model": NUL}, {"version": NUL, "model": None}, {"model": HUGE}],
    ids=repr,
)
def test_a_task_can_be_deferred_whatever_the_create_request_returns(
    fields: dict[str, Any], gateway: Gateway, fast: Clock
) -> None:
    ti = TaskInstance()
    gateway.on_create = lambda _: json_response(gateway.describe(gateway.accept(), **fields), 201)
    error = error_of(run_operator(deferrable=True, timeout=720), ti)
    assert unstorable_parts(ti, error) == {}
    assert ti.xcoms["return_value"] == OUTPUT


@pytest.mark.parametrize("fields", [{"model": SURROGATE}, {"model": NUL}], ids=repr)
def test_a_sensor_can_be_deferred_whatever_its_first_poll_returns(
    fields: dict[str, Any], gateway: Gateway, fast: Clock
) -> None:
    ti, prediction_id = TaskInstance(), gateway.accept()
    processing = gateway.describe(prediction_id, status="processing", **fields)
    gateway.on_poll = [json_response(processing), DEFAULT]
    error = error_of(sensor(prediction_id, deferrable=True), ti)
    assert unstorable_parts(ti, error) == {}


def test_a_create_request_that_returns_an_invalid_id_is_uncertain(gateway: Gateway) -> None:
    gateway.on_create = json_response(prediction("p\ud83d", "starting"), 201)
    with pytest.raises(errors.UncertainCreateError) as raised:
        QuickRouterHook().create_prediction({"prompt": "x"}, version=MODEL)
    assert why_not_storable(str(raised.value)) is None


@worker_and_deferred
def test_a_poll_that_returns_an_invalid_id_is_repeated(
    deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    gateway.on_poll = [json_response(prediction("p\ud83d", output=["x"])), DEFAULT]
    assert run_task(run_operator(deferrable=deferrable)) == OUTPUT


STRINGS = (
    "\0",
    "\ud800",
    "\udfff",
    "\x1b[31m",
    "\u2028",
    "word ",
    "é",
    "\U0001f600",
    "\ufffe",
    "x" * 300,
    "",
)
FIELDS = ("output", "error", "metrics", "model", "version", "logs", "started_at", "completed_at")
ERROR_STATUSES = (400, 401, 402, 403, 404, 405, 413, 422, 429, 431, 500, 503)


def odd_string(chance: random.Random) -> str:
    return "".join(chance.choice(STRINGS) for _ in range(chance.randint(1, 4)))


def odd_json(chance: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: odd_string(chance),
        lambda: chance.choice([2**64, -(2**70), 10**400, 1e308, -0.0, True, None]),
        lambda: chance.randint(-5, 5),
    ]
    if depth < 3:
        kinds += [
            lambda: [odd_json(chance, depth + 1) for _ in range(3)],
            lambda: {odd_string(chance): odd_json(chance, depth + 1) for _ in range(2)},
        ]
    return chance.choice(kinds)()


def odd_response(chance: random.Random, prediction_id: str) -> Response:
    request_id = bytes(chance.choice([0x41, 0xFF, 0xE9, 0x80, 0x20]) for _ in range(6)) + b"x"
    header = ("X-Oneapi-Request-Id", request_id)
    if chance.random() < 0.6:
        fields = {name: odd_json(chance) for name in FIELDS if chance.random() < 0.5}
        status = chance.choice(["succeeded", "failed", "canceled"])
        return json_response(prediction(prediction_id, status) | {"output": ["x"]} | fields, 200, header)
    return odd_error(chance, header)


def odd_error(chance: random.Random, header: tuple[str, bytes]) -> Response:
    status, message = chance.choice(ERROR_STATUSES), odd_string(chance)
    bodies = [
        message,
        {"detail": message},
        {"error": {"message": message, "code": message}},
        {"error": [message]},
        {"title": HUGE, "message": odd_json(chance)},
    ]
    body = chance.choice(bodies)
    if chance.random() < 0.3:
        title = f"<title>{message}</title>".encode(errors="replace")
        return Response(status, title, (HTML, header))
    return json_response(body, status, header)


def test_the_events_of_150_odd_responses_are_storable(gateway: Gateway) -> None:
    chance = random.Random(2026)
    ids = [gateway.accept() for _ in range(150)]
    responses = {prediction_id: odd_response(chance, prediction_id) for prediction_id in ids}
    gateway.on_poll = lambda request: responses[request.prediction_id]
    # Shortly after its begin a wait tolerates a 404: these waits are older.
    ends = wait_for_all(ids, seconds=6, age=60)
    assert len(ends) == 150
    found = {responses[each].raw()[:400]: why_not_storable(ends[each].payload) for each in ids}
    assert {raw: why for raw, why in found.items() if why} == {}


def test_all_that_a_worker_leaves_after_100_odd_responses_is_storable(gateway: Gateway) -> None:
    chance, found = random.Random(7), []
    names = ("output", "error", "metrics", "model", "logs")
    for _ in range(100):
        fields = {name: odd_json(chance) for name in names if chance.random() < 0.6}
        status = chance.choice(["succeeded", "failed"])
        body = prediction(gateway.accept(), status) | {"output": ["x"]} | fields
        gateway.on_create, gateway.on_poll = json_response(body, 201), json_response(body)
        ti = TaskInstance()
        error = error_of(run_operator(), ti)
        if unstorable := unstorable_parts(ti, error):
            found.append((unstorable, json.dumps(fields)))
    assert found == []
