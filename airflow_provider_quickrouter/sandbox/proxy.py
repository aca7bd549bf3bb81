"""The faulty proxy before the gateway: what it refuses, and how it spoils a good answer."""

from __future__ import annotations

import json

from starlette.responses import HTMLResponse, RedirectResponse, Response

from airflow_provider_quickrouter.sandbox import answers
from airflow_provider_quickrouter.sandbox.answers import Dialect
from airflow_provider_quickrouter.sandbox.calls import GET, LIST, OTHER, Call, parse_json
from airflow_provider_quickrouter.sandbox.chaos import subject_of
from airflow_provider_quickrouter.sandbox.faults import (
    ABOUT_ANSWERS,
    NONE,
    FaultError,
    Faults,
    own_faults,
    parse_faults,
)
from airflow_provider_quickrouter.sandbox.gateway import Gateway

FAULTS_HEADER = "x-sandbox-faults"
DEFAULT_RETRY_AFTER = 1.0
SPARSE = ("id", "status", "output")


def faults_for(gateway: Gateway, call: Call, now: float) -> Faults:
    """Return the faults of a call, and count it where they are scheduled.

    The call's own header goes before the prediction's input, that before the schedule, that before
    chaos, and that before the sandbox's settings. A call for which any of the first three asks for
    a fault of the answer gets none by chaos.

    :raises FaultError: when the header or the input asks for faults that do not exist.
    """
    asked = gateway.schedule.take(call.method, now) | _of_prediction(gateway, call, now)
    asked |= _of_header(call)
    return gateway.settings.faults | _of_chaos(gateway, call, asked) | asked


def refusal(faults: Faults, dialect: Dialect, now: float) -> Response | None:  # noqa: PLR0911
    """Return the answer that is given instead of handling the call, if there is one.

    ``now`` is what the server's clock shows.
    """
    if faults.odd_response is not None:
        return answers.odd_response(faults.odd_response, dialect)
    if faults.redirect is not None:
        return RedirectResponse(faults.redirect, 302)
    if faults.status is not None:
        return answers.html_page(faults.status)
    if faults.rate_limit is not None:
        wait = DEFAULT_RETRY_AFTER if faults.retry_after is None else faults.retry_after
        return answers.rate_limited(faults.rate_limit, wait, now)
    if faults.quota:
        return answers.no_quota()
    if faults.no_channel:
        return answers.no_channel()
    return answers.dressed() if faults.dressed else None


def spoilt(answer: Response, faults: Faults, method: str) -> Response:
    """Return the answer as it arrives, when it was a good one."""
    if answer.status_code >= 300:
        return answer
    if faults.accepted_status is not None and method == "POST":
        answer = _with_status(answer, faults.accepted_status)
    return answer if faults.body is None else _with_body(answer, faults.body)


def _with_status(answer: Response, status: int) -> Response:
    return _json(answer.body, status) if status < 300 else answers.html_page(status)


def _with_body(answer: Response, form: str) -> Response:
    body, status = bytes(answer.body), answer.status_code
    if form == "html":
        return HTMLResponse(answers.html_page(200).body, status)
    if form == "sparse":
        whole = json.loads(body)
        sparse = {name: whole[name] for name in SPARSE if name in whole}
        return answers.LenientJSONResponse(sparse, status)
    return _json(body[: len(body) // 2] if form == "cut" else b"", status)


def _json(body: bytes | memoryview, status: int) -> Response:
    return Response(body, status, media_type="application/json")


def _of_prediction(gateway: Gateway, call: Call, now: float) -> Faults:
    if call.prediction_id is not None:
        record = gateway.predictions.get(call.prediction_id)
        if record is None:
            return NONE
        return record.faults | (gateway.gets.faults_of(record, now) if call.kind == GET else NONE)
    return own_faults(call.body.get("input")) if isinstance(call.body, dict) else NONE


def _of_chaos(gateway: Gateway, call: Call, asked: Faults) -> Faults:
    """Return what chaos has for a call; calls that are nobody's prediction have no chaos."""
    if gateway.chaos is None or call.kind in (LIST, OTHER):
        return NONE
    subject = subject_of(_input_of(gateway, call))
    if subject is None:
        return NONE
    planned = gateway.chaos.for_request(gateway.starts, call.kind, subject)
    return planned if asked.only(ABOUT_ANSWERS) == NONE else NONE


def _input_of(gateway: Gateway, call: Call) -> object:
    if call.prediction_id is not None:
        record = gateway.predictions.get(call.prediction_id)
        return None if record is None else record.input
    return call.body.get("input") if isinstance(call.body, dict) else None


def _of_header(call: Call) -> Faults:
    text = call.headers.get(FAULTS_HEADER)
    if text is None:
        return NONE
    try:
        values = parse_json(text)
    except ValueError as error:
        raise FaultError(f"the header {FAULTS_HEADER} must be a JSON object") from error
    return parse_faults(values)
