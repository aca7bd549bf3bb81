"""The API's routes: each handler takes a call and the faults that last, and returns an answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from airflow_provider_quickrouter.sandbox import answers
from airflow_provider_quickrouter.sandbox.bodies import body_of
from airflow_provider_quickrouter.sandbox.calls import Call
from airflow_provider_quickrouter.sandbox.checks import (
    BY_MODEL,
    MODEL,
    Problem,
    check_input,
    check_root,
    parse_cancel_after,
    parse_wait,
)
from airflow_provider_quickrouter.sandbox.faults import LASTING, NONE, Faults
from airflow_provider_quickrouter.sandbox.gateway import HIDDEN, Gateway, names_of_version
from airflow_provider_quickrouter.sandbox.predictions import Record

TICK = 0.05
"""Seconds after which a held answer looks again, for somebody may have cancelled meanwhile."""

USAGE = {
    "code": True,
    "message": "ok",
    "data": {
        "object": "token_usage",
        "name": "sandbox",
        "total_granted": 1_000_000,
        "total_used": 0,
        "total_available": 1_000_000,
        "unlimited_quota": True,
        "expires_at": 0,
    },
}


Handled = tuple[Response, str | None]
"""An answer, and the id of the prediction that it made or named."""


async def handle(gateway: Gateway, call: Call, faults: Faults) -> Handled:
    """Answer a call as the API does when nothing but a prediction can go wrong."""
    refused = _refused_at_the_door(call, gateway.settings.api_key)
    if refused is not None:
        return refused, call.prediction_id
    match (call.method, *call.parts):
        case ("POST", "predictions"):
            return await create(gateway, call, faults, None)
        case ("POST", "models", owner, name, "predictions"):
            return await create(gateway, call, faults, f"{owner}/{name}")
        case ("POST", "predictions", prediction_id, "cancel"):
            return await cancel(gateway, call, faults, prediction_id), prediction_id
        case ("GET", "predictions"):
            return await list_page(gateway, call, faults), None
    return _handle_quickly(gateway, call, faults), call.prediction_id


def _handle_quickly(gateway: Gateway, call: Call, faults: Faults) -> Response:
    match (call.method, *call.parts):
        case ("GET", "predictions", prediction_id):
            return show(gateway, call, faults, prediction_id)
        case ("GET", "models"):
            models = [{"id": name, "object": "model"} for name in BY_MODEL]
            return JSONResponse({"object": "list", "data": models})
        case ("GET", "/api/usage/token/" | "/api/usage/token"):
            return JSONResponse(USAGE)
    return answers.invalid_url(call.method, call.path)


async def create(gateway: Gateway, call: Call, faults: Faults, model: str | None) -> Handled:
    """Accept a prediction, and hold the answer as long as ``Prefer: wait`` asks."""
    refused = _refused_create(call, model)
    if refused is not None:
        return refused, None
    now, limit = time.time(), parse_cancel_after(call.headers.get("cancel-after"))
    deadline = None if limit is None else now + limit
    names = (model, HIDDEN) if model is not None else names_of_version(call.body["version"])
    record = await gateway.accept(call.body["input"], names, faults, now, deadline)
    wait = parse_wait(call.headers.get("prefer"))
    if wait is not None:
        record, now = await _held(gateway, record, now + wait)
    return _shown_as(record, now, call, faults, 201), record.id


def show(gateway: Gateway, call: Call, faults: Faults, prediction_id: str) -> Response:
    """Answer a prediction as it is now."""
    record, now = gateway.predictions.get(prediction_id), time.time()
    if record is None:
        return answers.not_found(call.dialect)
    record = _shown(record, faults)
    if now < record.created_at + (record.faults.not_found_for or 0):
        return answers.not_found(call.dialect)
    return _shown_as(record, now, call, faults)


async def cancel(gateway: Gateway, call: Call, faults: Faults, prediction_id: str) -> Response:
    """Cancel a prediction and answer it."""
    if faults.no_cancel is not None:
        return answers.error(call.dialect, faults.no_cancel, "Not available", "No such route")
    record, now = gateway.predictions.get(prediction_id), time.time()
    if record is None:
        return answers.not_found(call.dialect)
    record = await gateway.cancel(record, now)
    return _shown_as(_shown(record, faults), now, call, faults)


async def list_page(gateway: Gateway, call: Call, faults: Faults) -> Response:
    """Answer a page of predictions, newest first."""
    if faults.no_list is not None:
        return answers.error(call.dialect, faults.no_list, "Not available", "No such route")
    cursor = parse_qs(call.query).get("cursor", [None])[0]
    if cursor is not None and not cursor.isdecimal():
        return answers.replicate_error(400, "Bad request", "The cursor is not one of this API's")
    async with gateway.paging:
        answer = _page(gateway, call, faults, None if cursor is None else int(cursor))
        await asyncio.sleep(0)  # a page costs as much as twenty status requests: these go between
    return answer


def _page(gateway: Gateway, call: Call, faults: Faults, end: int | None) -> Response:
    records, older, newer = gateway.predictions.page(end)
    now, url = time.time(), f"{call.base_url}{call.path}"
    skew = faults.clock_skew or 0.0
    results = [body_of(record, now, call.base_url, skew) for record in records]
    return answers.LenientJSONResponse(
        {"previous": _page_url(url, newer), "next": _page_url(url, older), "results": results}
    )


async def _held(gateway: Gateway, record: Record, until: float) -> tuple[Record, float]:
    """Wait until the prediction is over, or ``until``; return it, and the time."""
    while (now := time.time()) < min(until, record.ends_at):
        await asyncio.sleep(min(TICK, max(0.001, min(until, record.ends_at) - now)))
        record = gateway.predictions.get(record.id) or record
    return record, now


def _shown_as(
    record: Record, now: float, call: Call, faults: Faults, status: int = 200
) -> Response:
    body = body_of(record, now, call.base_url, faults.clock_skew or 0.0)
    return answers.LenientJSONResponse(body, status)


def _shown(record: Record, faults: Faults) -> Record:
    lasting = faults.only(LASTING)
    return record if lasting is NONE else replace(record, faults=record.faults | lasting)


def _refused_create(call: Call, model: str | None) -> Response | None:
    """Return the refusal of a create that is wrong in any way."""
    if model is not None and not MODEL.fullmatch(model):
        return answers.not_found(call.dialect)
    if not isinstance(call.body, dict):
        return answers.replicate_error(400, "Bad request", "The body must be a JSON object")
    problems = check_root(call.body, on_model_route=model is not None)
    if not problems:
        name = names_of_version(call.body["version"])[0] if model is None else model
        problems = check_input(name, call.body["input"])
    if problems:
        return _refused(problems)
    try:
        parse_wait(call.headers.get("prefer"))
        parse_cancel_after(call.headers.get("cancel-after"))
    except ValueError as wrong:
        return answers.replicate_error(422, "Invalid header", str(wrong))
    return None


def _refused(problems: list[Problem]) -> Response:
    detail = "".join(f"- {problem.field}: {problem.description}\n" for problem in problems)
    fields: list[Any] = [problem.as_json() for problem in problems]
    return answers.replicate_error(422, "Input validation failed", detail, invalid_fields=fields)


def _refused_at_the_door(call: Call, api_key: str | None) -> Response | None:
    """Return the refusal of a client without a name (by the firewall) or without a good key."""
    agent = call.headers.get("user-agent", "")
    if agent == "" or agent.startswith("Python-urllib"):
        return answers.html_page(403)
    scheme, _, key = call.headers.get("authorization", "").partition(" ")
    good = scheme.lower() == "bearer" and key.strip() and api_key in (None, key.strip())
    return None if good else answers.unauthorised(call.dialect)


def _page_url(url: str, place: int | None) -> str | None:
    return None if place is None else f"{url}?cursor={place}"
