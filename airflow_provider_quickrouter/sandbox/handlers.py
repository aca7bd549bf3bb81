"""The API's routes, and the validation of create requests.

There are only a few rules for inputs: enough for each kind of refusal, not a description of the
models.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from airflow_provider_quickrouter.sandbox import protocol
from airflow_provider_quickrouter.sandbox.bodies import body_of
from airflow_provider_quickrouter.sandbox.faults import LASTING, NONE, Faults, is_number
from airflow_provider_quickrouter.sandbox.gateway import HIDDEN, Gateway, names_of_version
from airflow_provider_quickrouter.sandbox.predictions import Record
from airflow_provider_quickrouter.sandbox.protocol import Call, Dialect

# Seconds between two checks while a response is delayed, since the prediction may be canceled.
TICK = 0.05
ROOTS = frozenset({"input", "webhook", "webhook_events_filter", "stream"})
MAX_SIDE = 2048
MAX_WAIT = 60
MIN_CANCEL_AFTER = 5.0

MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
VERSION = re.compile(rf"{MODEL.pattern}(:[0-9a-f]{{64}})?|[0-9a-f]{{64}}")
PREFER_WAIT = re.compile(r"\bwait(?:\s*=\s*(\d+))?\b")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

TOKENS = {"total_granted": 1_000_000, "total_used": 0, "total_available": 1_000_000}
TOKEN = {"object": "token_usage", "name": "sandbox", **TOKENS, "unlimited_quota": True}
USAGE = {"code": True, "message": "ok", "data": {**TOKEN, "expires_at": 0}}

# An item of `invalid_fields`.
Problem = dict[str, str]
# A response, and the id of the prediction that the request created or named.
Handled = tuple[Response, str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for one input: ``good`` checks it, ``wording`` completes "must be ..."."""

    name: str
    wording: str
    good: Callable[[Any], bool]
    required: bool = False


def _number(name: str, low: float, high: float) -> Rule:
    wording = f"a number from {low:g} to {high:g}"
    return Rule(name, wording, lambda v: is_number(v) and low <= v <= high)


def _whole(name: str, low: int, high: int, multiple: int = 1) -> Rule:
    wording = f"an integer from {low} to {high}" + (f", a multiple of {multiple}" * (multiple > 1))
    return Rule(name, wording, lambda v: type(v) is int and low <= v <= high and v % multiple == 0)


def _text(name: str, wording: str = "a text", *, required: bool = True) -> Rule:
    return Rule(name, wording, lambda v: isinstance(v, str) and v != "", required)


def _file(name: str, *, required: bool = True) -> Rule:
    return _text(name, "one file, as a URL or data URI", required=required)


FOR_ALL = (_whole("width", 8, MAX_SIDE), _whole("height", 8, MAX_SIDE), _whole("num_outputs", 1, 8))
TWO_IMAGES = ("input_image_1", "input_image_2")
KONTEXT = (_text("prompt"), _file("input_image", required=False), _whole("safety_tolerance", 0, 6))
FILL = (_text("prompt"), _file("image"), _file("mask", required=False))
# Models with rules; all others accept any input.
BY_MODEL: dict[str, tuple[Rule, ...]] = {
    "stability-ai/stable-diffusion": (
        _whole("width", 64, MAX_SIDE, multiple=64),
        _whole("height", 64, MAX_SIDE, multiple=64),
        _number("guidance_scale", 1, 20),
        _whole("num_inference_steps", 1, 500),
        _whole("num_outputs", 1, 4),
    ),
    "stability-ai/sdxl": (_number("guidance_scale", 1, 50), _whole("num_inference_steps", 1, 500)),
    "stability-ai/stable-diffusion-img2img": (_file("image"),),
    "stability-ai/stable-diffusion-inpainting": (_file("image"), _file("mask")),
    "nightmareai/real-esrgan": (_file("image"), _number("scale", 0, 10)),
    "black-forest-labs/flux-kontext-max": KONTEXT,
    "black-forest-labs/flux-kontext-pro": KONTEXT,
    "black-forest-labs/flux-fill-pro": FILL,
    "black-forest-labs/flux-fill-dev": FILL,
    "flux-kontext-apps/multi-image-kontext-max": (_text("prompt"), *map(_file, TWO_IMAGES)),
}

MODELS = {"object": "list", "data": [{"id": name, "object": "model"} for name in BY_MODEL]}
FIXED = {"models": MODELS, "/api/usage/token": USAGE, "/api/usage/token/": USAGE}


async def handle(gateway: Gateway, call: Call, faults: Faults) -> Handled:
    """Handle a request as the API does, without faults of the connection."""
    refused = _refused_client(call, gateway.settings.api_key)
    if refused is not None:
        return refused, call.prediction_id
    match (call.method, *call.parts):
        case ("POST", "predictions"):
            return await _create(gateway, call, faults, None)
        case ("POST", "models" | "deployments" as route, owner, name, "predictions"):
            return await _create(gateway, call, faults, f"{owner}/{name}", route == "deployments")
        case ("POST", "predictions", prediction_id, "cancel"):
            response = await _cancel(gateway, call, faults, prediction_id)
        case ("GET", "predictions", prediction_id):
            response = _show(gateway, call, faults, prediction_id)
        case ("GET", "predictions"):
            response = await _list_page(gateway, call, faults)
        case ("GET", part) if part in FIXED:
            response = JSONResponse(FIXED[part])
        case _:
            response = protocol.unknown_route(call)
    return response, call.prediction_id


def _refused_client(call: Call, api_key: str | None) -> Response | None:
    agent = call.headers.get("user-agent", "")
    # The real gateway's firewall refuses the default user agents of HTTP libraries.
    if agent == "" or agent.startswith("Python-urllib"):
        return protocol.html_page(403)
    scheme, _, key = call.headers.get("authorization", "").partition(" ")
    good = scheme.lower() == "bearer" and key.strip() and api_key in (None, key.strip())
    return None if good else protocol.unauthorised(call.dialect)


async def _create(
    gateway: Gateway, call: Call, faults: Faults, name: str | None, deployed: bool = False
) -> Handled:
    """Accept a prediction, and delay the response as long as ``Prefer: wait`` says.

    ``name`` is that of a model or, if ``deployed``, of a deployment; None for a version in the body.
    """
    if deployed and call.dialect is Dialect.GATEWAY:
        return protocol.unknown_route(call), None
    refused = _refused_create(call, name)
    if refused is not None:
        return refused, None
    try:
        wait = _parse_wait(call.headers.get("prefer"))
        limit = _parse_cancel_after(call.headers.get("cancel-after"))
    except ValueError as wrong:
        return protocol.replicate_error(422, "Invalid header", str(wrong)), None
    now = time.time()
    deadline = None if limit is None else now + limit
    names = (name, HIDDEN) if name is not None else names_of_version(call.body["version"])
    record = await gateway.accept(call.body["input"], names, faults, now, deadline, deployed)
    until = now + wait
    while wait and (now := time.time()) < (end := min(until, record.ends_at)):
        await asyncio.sleep(min(TICK, max(0.001, end - now)))
        record = gateway.predictions.get(record.id) or record  # None after a clear
    return _response(record, now, call, faults, 201), record.id


def _show(gateway: Gateway, call: Call, faults: Faults, prediction_id: str) -> Response:
    record, now = gateway.predictions.get(prediction_id), time.time()
    if record is None:
        return protocol.not_found(call.dialect)
    record = _with_lasting(record, faults)
    if now < record.created_at + (record.faults.not_found_for or 0):
        return protocol.not_found(call.dialect)
    return _response(record, now, call, faults)


async def _cancel(gateway: Gateway, call: Call, faults: Faults, prediction_id: str) -> Response:
    if faults.no_cancel is not None:
        return protocol.error(call.dialect, faults.no_cancel, "Not available", "No such route")
    record, now = gateway.predictions.get(prediction_id), time.time()
    if record is None:
        return protocol.not_found(call.dialect)
    record = await gateway.cancel(record, now)
    return _response(_with_lasting(record, faults), now, call, faults)


async def _list_page(gateway: Gateway, call: Call, faults: Faults) -> Response:
    """Return a page of predictions, newest first."""
    if faults.no_list is not None:
        return protocol.error(call.dialect, faults.no_list, "Not available", "No such route")
    cursor = parse_qs(call.query).get("cursor", [None])[0]
    if cursor is not None and not cursor.isdecimal():
        return protocol.replicate_error(400, "Bad request", "The cursor is not one of this API's")
    async with gateway.paging:
        records, *places = gateway.predictions.page(None if cursor is None else int(cursor))
        now, skew, url = time.time(), faults.clock_skew or 0.0, f"{call.base_url}{call.path}"
        older, newer = (None if place is None else f"{url}?cursor={place}" for place in places)
        results = [body_of(record, now, call.base_url, skew) for record in records]
        page = {"previous": newer, "next": older, "results": results}
        response = protocol.LenientJSONResponse(page)
        await asyncio.sleep(0)  # a page takes as long as twenty polls: handle polls in between
    return response


def _response(record: Record, now: float, call: Call, faults: Faults, status: int = 200) -> Response:
    body = body_of(record, now, call.base_url, faults.clock_skew or 0.0)
    return protocol.LenientJSONResponse(body, status)


def _with_lasting(record: Record, faults: Faults) -> Record:
    """Return the prediction with the faults of this request that apply to predictions."""
    lasting = faults.only(LASTING)
    return record if lasting is NONE else replace(record, faults=record.faults | lasting)


def _refused_create(call: Call, model: str | None) -> Response | None:
    """Return the refusal of a create request, None if it is valid."""
    if model is not None and not MODEL.fullmatch(model):
        return protocol.not_found(call.dialect)
    if not isinstance(call.body, dict):
        return protocol.replicate_error(400, "Bad request", "The body must be a JSON object")
    problems = _check_root(call.body, on_model_route=model is not None)
    if not problems:
        name = names_of_version(call.body["version"])[0] if model is None else model
        problems = _check_input(name, call.body["input"])
    if not problems:
        return None
    detail = "".join(f"- {problem['field']}: {problem['description']}\n" for problem in problems)
    title = "Input validation failed"
    return protocol.replicate_error(422, title, detail, invalid_fields=problems)


def _check_root(body: dict[str, Any], *, on_model_route: bool) -> list[Problem]:
    allowed = ROOTS if on_model_route else ROOTS | {"version"}
    unknown = "additional_property_not_allowed"
    problems = [
        _problem(key, unknown, f"Additional property {key} is not allowed")
        for key in body
        if key not in allowed
    ]
    version = body.get("version")
    if not on_model_route and version is None:
        problems.append(_problem("version", "required", "version is required"))
    elif not on_model_route and not (isinstance(version, str) and VERSION.fullmatch(version)):
        wording = "version must be owner/name, owner/name:<64 hex> or <64 hex>"
        problems.append(_problem("version", "invalid_version", wording))
    if not isinstance(body.get("input"), dict):
        problems.append(_problem("input", "required", "input is required and must be an object"))
    return problems


def _check_input(model: str, given: dict[str, Any]) -> list[Problem]:
    nulls = [name for name, value in given.items() if value is None]
    if nulls:
        return [_problem(f"input.{n}", "invalid_type", f"{n} must not be null") for n in nulls]
    problems: dict[str, Problem] = {}
    for rule in BY_MODEL.get(model, ()) + FOR_ALL:
        path = f"input.{rule.name}"
        if rule.required and rule.name not in given:
            problems[path] = _problem(path, "required", f"{rule.name} is required")
        elif rule.name in given and not rule.good(given[rule.name]):
            problems[path] = _problem(path, "invalid", f"{rule.name} must be {rule.wording}")
    return list(problems.values())  # general rules replace problems of the model's rules


def _problem(field: str, kind: str, description: str) -> Problem:
    return {"type": kind, "field": field, "description": description}


def _parse_wait(prefer: str | None) -> float:
    """Return the seconds of ``Prefer: wait=N`` (60 for a bare ``wait``), 0 without it.

    :raises ValueError: when N is not from 1 to 60.
    """
    found = PREFER_WAIT.search(prefer or "")
    if found is None:
        return 0.0
    seconds = int(found[1] or MAX_WAIT)
    if not 1 <= seconds <= MAX_WAIT:
        raise ValueError("Prefer: wait must be from 1 to 60 seconds")
    return float(seconds)


def _parse_cancel_after(text: str | None) -> float | None:
    """Return the seconds of ``Cancel-After`` (``90s``, ``2m``, ``1h30m``), ``None`` without it.

    :raises ValueError: when it is not a duration, or less than 5 s.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = float(hours * 3600 + minutes * 60 + seconds)
    if total < MIN_CANCEL_AFTER:
        raise ValueError("Cancel-After must be a duration such as 90s or 1h30m, at least 5s")
    return total
