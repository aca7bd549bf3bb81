"""The sandbox over HTTP: the API with its faults and its journal, and the routes for people.

Written against ASGI itself: the API must answer thousands of status requests a second, and a
dropped connection needs the server's own transport.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_provider_quickrouter.sandbox import answers, local
from airflow_provider_quickrouter.sandbox.calls import CANCEL, GET, Call, read_call
from airflow_provider_quickrouter.sandbox.faults import FaultError, Faults
from airflow_provider_quickrouter.sandbox.gateway import Gateway
from airflow_provider_quickrouter.sandbox.handlers import handle
from airflow_provider_quickrouter.sandbox.journal import Entry
from airflow_provider_quickrouter.sandbox.poison import HEADER_SUFFIX, poisons_header
from airflow_provider_quickrouter.sandbox.proxy import faults_for, refusal, spoilt

REQUEST_ID = "X-Oneapi-Request-Id"


class App:
    """The ASGI application of one sandbox."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        page = local.find(scope["method"], scope["path"])
        answer = await (page(self.gateway, scope, receive) if page else self._api(scope, receive))
        if answer is None:
            await _drop(receive)
            return
        answer.headers.setdefault(REQUEST_ID, self._new_request_id())
        answer.headers.setdefault("Date", _http_date())
        await answer(scope, receive, send)

    async def _api(self, scope: Scope, receive: Receive) -> Response | None:
        """Answer a request to the API and enter it in the journal; ``None`` asks for a drop."""
        call, now = await read_call(scope, receive), time.time()
        entry = _entry(call, now)
        self.gateway.journal.entries.append(entry)
        self.gateway.count(call.kind, now)
        if call.kind == CANCEL:
            await self.gateway.note_cancel_request(call.prediction_id, now)
        answer = await self._within_limits(call, entry, now, receive)
        entry.status = None if answer is None else answer.status_code
        if answer is not None:
            answer.headers.setdefault("Date", _http_date(self.gateway.settings.faults.clock_skew))
            self._poison_header(answer, entry.prediction_id)
        return answer

    async def _within_limits(
        self, call: Call, entry: Entry, now: float, receive: Receive
    ) -> Response | None:
        """Answer a call, or refuse it for its limit; where there is one, the headers report it.

        Limits come before all faults: a refused call uses up none, planned or scheduled.
        """
        verdict = self.gateway.limits.take(call.kind, now)
        if verdict is None:
            return await self._with_faults(call, entry, now, receive)
        if verdict.refused:
            answer: Response | None = answers.limited(call.dialect, verdict.retry_after)
        else:
            answer = await self._with_faults(call, entry, now, receive)
        if answer is not None:
            answer.headers.update(verdict.headers)
        return answer

    async def _with_faults(
        self, call: Call, entry: Entry, now: float, receive: Receive
    ) -> Response | None:
        try:
            faults = faults_for(self.gateway, call, now)
        except FaultError as wrong:
            return answers.bad_request(str(wrong))
        answer = await self._through_faults(call, faults, entry, receive)
        if answer is not None and faults.clock_skew is not None:
            answer.headers["Date"] = _http_date(faults.clock_skew)
        return answer

    async def _through_faults(
        self, call: Call, faults: Faults, entry: Entry, receive: Receive
    ) -> Response | None:
        await _pause(faults.latency)
        if faults.drop == "before":
            return None
        refused = refusal(faults, call.dialect, time.time() + (faults.clock_skew or 0.0))
        if refused is not None:
            return refused
        answer, prediction_id = await handle(self.gateway, call, faults)
        entry.prediction_id = prediction_id
        await _hold(faults.hang, receive)
        if faults.drop == "after":
            return None
        self._note_good_get(call, answer, faults)
        return spoilt(answer, faults, call.method)

    def _note_good_get(self, call: Call, answer: Response, faults: Faults) -> None:
        record = self.gateway.predictions.get(call.prediction_id or "")
        if call.kind == GET and answer.status_code == 200 and record and faults.body is None:
            self.gateway.gets.note_good(record)

    def _poison_header(self, answer: Response, prediction_id: str | None) -> None:
        record = self.gateway.predictions.get(prediction_id or "")
        if record is not None and poisons_header(record.faults.poison):
            answer.headers[REQUEST_ID] = self._new_request_id() + HEADER_SUFFIX

    def _new_request_id(self) -> str:
        return f"sandbox-{next(self._numbers)}"


def _entry(call: Call, now: float) -> Entry:
    path = f"{call.path}?{call.query}" if call.query else call.path
    return Entry(now, call.method, path, call.shown_headers, call.body, None, call.prediction_id)


def _http_date(skew: float | None = None) -> str:
    return formatdate(time.time() + (skew or 0.0), usegmt=True)


async def _pause(seconds: float | None) -> None:
    if seconds:
        await asyncio.sleep(seconds)


async def _hold(seconds: float | None, receive: Receive) -> None:
    """Wait, but not longer than the client keeps the connection open."""
    if not seconds:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _drop(receive: Receive) -> None:
    """Close the connection without an answer, as a broken proxy or a network does.

    ASGI has no word for it; uvicorn's ``receive`` belongs to the object that has the transport.
    """
    cycle: Any = getattr(receive, "__self__")  # noqa: B009
    cycle.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
