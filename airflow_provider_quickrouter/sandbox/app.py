"""The ASGI application: the API with faults, its journal, and the pages for people.

It uses ASGI directly: the API must handle thousands of polls in a second, and dropping a connection
needs the server's transport.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_quickrouter.sandbox import pages, protocol
from airflow_provider_quickrouter.sandbox.bodies import HEADER_SUFFIX
from airflow_provider_quickrouter.sandbox.chaos import subject_of
from airflow_provider_quickrouter.sandbox.faults import (
    NONE,
    OF_RESPONSES,
    FaultError,
    Faults,
    own_faults,
    parse_faults,
)
from airflow_provider_quickrouter.sandbox.gateway import Gateway
from airflow_provider_quickrouter.sandbox.handlers import handle
from airflow_provider_quickrouter.sandbox.journal import Entry
from airflow_provider_quickrouter.sandbox.protocol import CANCEL, GET, LIST, OTHER, Call, read_call

REQUEST_ID = "X-Oneapi-Request-Id"
FAULTS_HEADER = "x-sandbox-faults"
DEFAULT_RETRY_AFTER = 1.0


class App:
    """The ASGI application of one sandbox."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        page = pages.find(scope["method"], scope["path"])
        response = await (page(self.gateway, scope, receive) if page else self._api(scope, receive))
        if response is None:
            await _drop(receive)
            return
        response.headers.setdefault(REQUEST_ID, self._new_request_id())
        response.headers.setdefault("Date", _http_date())
        await response(scope, receive, send)

    async def _api(self, scope: Scope, receive: Receive) -> Response | None:
        """Handle a request to the API and add it to the journal; ``None`` drops the connection."""
        gateway = self.gateway
        call, now = await read_call(scope, receive), time.time()
        path = f"{call.path}?{call.query}" if call.query else call.path
        entry = Entry(now, call.method, path, call.shown_headers, call.body, None, call.prediction_id)
        gateway.journal.entries.append(entry)  # first, so that the journal has dropped requests, too
        gateway.count(call.kind, now)
        if call.kind == CANCEL:
            await gateway.add_cancel_request(call.prediction_id, now)
        # Limits come before faults: a refused request uses no planned or scheduled fault.
        verdict = gateway.limits.take(call.kind, now)
        if verdict is not None and verdict.refused:
            response: Response | None = protocol.limited(call.dialect, verdict.retry_after)
        else:
            response = await self._through_faults(call, entry, receive)
        entry.status = None if response is None else response.status_code
        if response is not None:
            response.headers.update({} if verdict is None else verdict.headers)
            response.headers.setdefault("Date", _http_date(gateway.settings.faults.clock_skew))
            record = gateway.predictions.get(entry.prediction_id or "")
            if record is not None and record.faults.poison in ("header", "everywhere"):
                response.headers[REQUEST_ID] = self._new_request_id() + HEADER_SUFFIX
        return response

    async def _through_faults(self, call: Call, entry: Entry, receive: Receive) -> Response | None:
        try:
            faults = _faults_for(self.gateway, call, entry.at)
        except FaultError as wrong:
            return protocol.bad_request(str(wrong))
        if faults.latency:
            await asyncio.sleep(faults.latency)
        if faults.drop == "before":
            return None
        response = _refusal(faults, call)
        if response is None:
            response, entry.prediction_id = await handle(self.gateway, call, faults)
            await _delay(faults.hang, receive)
            if faults.drop == "after":
                return None
            # Only a complete response that reaches the client counts as a successful GET.
            record = self.gateway.predictions.get(call.prediction_id or "")
            good = response.status_code == 200 and faults.body is None
            if call.kind == GET and good and record is not None:
                self.gateway.gets.note_good(record)
            response = _with_faults(response, faults, call.method)
        if faults.clock_skew is not None:
            response.headers["Date"] = _http_date(faults.clock_skew)
        return response

    def _new_request_id(self) -> str:
        return f"sandbox-{next(self._numbers)}"


def _faults_for(gateway: Gateway, call: Call, now: float) -> Faults:
    """Return the faults of a request, and count it in the schedule.

    :raises FaultError: the header or the input has invalid faults.
    """
    # Precedence: the request's header, the prediction's input, the schedule, chaos, the sandbox's
    # settings.
    asked, given = gateway.schedule.take(call.method, now), None
    if call.prediction_id is None:
        given = call.body.get("input") if isinstance(call.body, dict) else None
        asked |= own_faults(given)
    elif (record := gateway.predictions.get(call.prediction_id)) is not None:
        given, asked = record.input, asked | record.faults
        asked |= gateway.gets.faults_of(record, now) if call.kind == GET else NONE
    header = call.headers.get(FAULTS_HEADER)
    if header is not None:
        try:
            values = protocol.parse_json(header)
        except ValueError as error:
            raise FaultError(f"the header {FAULTS_HEADER} must be a JSON object") from error
        asked |= parse_faults(values)
    planned, about_prediction = NONE, call.kind not in (LIST, OTHER)
    if gateway.chaos and about_prediction and (subject := subject_of(given)) is not None:
        # Drawn even if it is not used, so that the next request gets the same fault in both cases.
        planned = gateway.chaos.for_request(gateway.starts, call.kind, subject)
        if asked.only(OF_RESPONSES) != NONE:  # an explicit fault is the only one
            planned = NONE
    return gateway.settings.faults | planned | asked


def _refusal(faults: Faults, call: Call) -> Response | None:  # noqa: PLR0911
    """Return the response of a fault that replaces the handling of the request, if any."""
    if faults.odd_response is not None:
        return protocol.ODD_RESPONSES[faults.odd_response](call.dialect)
    if faults.redirect is not None:
        return RedirectResponse(faults.redirect, 302)
    if faults.status is not None:
        return protocol.html_page(faults.status)
    if faults.rate_limit is not None:
        wait = DEFAULT_RETRY_AFTER if faults.retry_after is None else faults.retry_after
        now = time.time() + (faults.clock_skew or 0.0)
        return protocol.rate_limited(faults.rate_limit, wait, now)
    if faults.quota:
        message, code = "User quota is not enough", "insufficient_user_quota"
        return protocol.gateway_error(403, message, code)
    if faults.no_channel:  # permanent, despite its status
        message = "No available channel for this model under group default (distributor)"
        return protocol.gateway_error(503, message, "model_not_found")
    if faults.dressed:
        return JSONResponse({"success": False, "message": "upstream error: do request failed"})
    return None


def _with_faults(response: Response, faults: Faults, method: str) -> Response:
    """Apply faults to a successful response."""
    if response.status_code >= 300:
        return response
    body, status = bytes(response.body), response.status_code
    if faults.accepted_status is not None and method == "POST":
        status = faults.accepted_status
        if status >= 300:
            response = protocol.html_page(status)
            body = bytes(response.body)
        else:
            response = Response(body, status, media_type="application/json")
    if faults.body == "html":
        return HTMLResponse(protocol.html_page(200).body, status)
    if faults.body == "sparse":
        whole = json.loads(body)
        sparse = {name: whole[name] for name in ("id", "status", "output") if name in whole}
        return protocol.LenientJSONResponse(sparse, status)
    if faults.body is not None:
        body = body[: len(body) // 2] if faults.body == "cut" else b""
        return Response(body, status, media_type="application/json")
    return response


def _http_date(skew: float | None = None) -> str:
    return formatdate(time.time() + (skew or 0.0), usegmt=True)


async def _delay(seconds: float | None, receive: Receive) -> None:
    if not seconds:
        return
    # Stop when the client closes the connection.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _drop(receive: Receive) -> None:
    """Close the connection without a response, as a failing proxy does."""
    # ASGI cannot do this, but uvicorn's `receive` is a method of the object with the transport.
    cycle: Any = getattr(receive, "__self__")  # noqa: B009
    cycle.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
