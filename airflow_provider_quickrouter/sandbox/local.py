"""The routes that no real gateway has: pages and files for people, and controls for tests."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope

from airflow_provider_quickrouter.sandbox import answers, pages
from airflow_provider_quickrouter.sandbox.bodies import (
    ledger_entry,
    pictures_of,
    prompt_of,
    size_of,
)
from airflow_provider_quickrouter.sandbox.calls import read_json
from airflow_provider_quickrouter.sandbox.faults import FaultError
from airflow_provider_quickrouter.sandbox.gateway import Gateway
from airflow_provider_quickrouter.sandbox.journal import Entry
from airflow_provider_quickrouter.sandbox.pictures import render
from airflow_provider_quickrouter.sandbox.predictions import phase_at
from airflow_provider_quickrouter.sandbox.schedule import parse_entry

Item = TypeVar("Item")
Page = Callable[[Gateway, Scope, Receive], Awaitable[Response]]

FILE_NAME = re.compile(r"out-(\d{1,3})\.png")
NOTHING = 204
PIECE = 100


def find(method: str, path: str) -> Page | None:
    """Return the local route of a request; ``None`` sends it to the API."""
    method = "GET" if method == "HEAD" else method  # the server itself leaves out the body
    head, _, rest = path[1:].partition("/")
    if head in ("files", "predictions") and method == "GET" and rest:
        return FOR_PEOPLE[head]
    if head == "sandbox" or path in ("/", "/favicon.ico"):
        return EXACT.get((method, path))
    return None


async def show_index(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Show the newest predictions."""
    records = gateway.predictions.newest(pages.NEWEST)
    return HTMLResponse(pages.index_page(records, time.time()))


async def show_prediction(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Show one prediction."""
    record = gateway.predictions.get(scope["path"].rpartition("/")[2])
    if record is None:
        return HTMLResponse(pages.unknown_page(), 404)
    return HTMLResponse(pages.prediction_page(record, time.time()))


async def show_file(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Answer a picture; it is drawn in a thread, so that the API goes on meanwhile."""
    _, _, prediction_id, name = f"{scope['path']}//".split("/")[:4]
    record, found = gateway.predictions.get(prediction_id), FILE_NAME.fullmatch(name)
    if record is None or found is None:
        return answers.html_page(404)
    pictures = pictures_of(record, phase_at(record, time.time()), "")
    if int(found[1]) >= len(pictures):
        return answers.html_page(404)
    drawing = (prompt_of(record), record.seed, int(found[1]), size_of(record))
    return Response(await asyncio.to_thread(render, *drawing), media_type="image/png")


async def show_no_icon(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Have no icon, and keep browsers' question for it out of the journal."""
    return Response(status_code=NOTHING)


async def list_requests(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """List the requests to the API, oldest first."""
    journal = gateway.journal
    before = f'{{"creates": {journal.creates}, "requests": '
    return _in_pieces(before, list(journal.entries), Entry.as_json, "}")


async def clear_requests(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Forget the requests."""
    await gateway.clear_requests()
    return Response(status_code=NOTHING)


async def list_predictions(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """List all predictions, oldest first, each with its input and the cancels that came."""
    now, host = time.time(), dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    records = gateway.predictions.all()
    return _in_pieces("", records, lambda record: ledger_entry(record, now, f"http://{host}"), "")


async def list_cancels(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """List the requests to cancel a prediction, oldest first: the id and when it arrived."""
    return JSONResponse(list(gateway.cancel_requests))


async def show_counts(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Tell how many starts, creates and requests there were, and the requests' peak."""
    return JSONResponse(gateway.counted())


async def schedule_faults(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Take faults for the next requests."""
    try:
        gateway.schedule.add(parse_entry(await read_json(receive), time.time()))
    except FaultError as wrong:
        return answers.bad_request(str(wrong))
    return Response(status_code=NOTHING)


async def clear_faults(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Forget the scheduled faults."""
    gateway.schedule.clear()
    return Response(status_code=NOTHING)


def _in_pieces(
    before: str, items: Sequence[Item], as_json: Callable[[Item], Any], after: str
) -> Response:
    """Answer a JSON array, with the text around it, so that the API goes on between its pieces."""

    async def pieces() -> AsyncIterator[str]:
        yield f"{before}["
        for start in range(0, len(items), PIECE):
            text = json.dumps([as_json(item) for item in items[start : start + PIECE]])
            yield f"{',' if start else ''}{text[1:-1]}"
            await asyncio.sleep(0)
        yield f"]{after}"

    return StreamingResponse(pieces(), media_type="application/json")


FOR_PEOPLE: dict[str, Page] = {"files": show_file, "predictions": show_prediction}
EXACT: dict[tuple[str, str], Page] = {
    ("GET", "/"): show_index,
    ("GET", "/favicon.ico"): show_no_icon,
    ("GET", "/sandbox/requests"): list_requests,
    ("DELETE", "/sandbox/requests"): clear_requests,
    ("GET", "/sandbox/counts"): show_counts,
    ("GET", "/sandbox/predictions"): list_predictions,
    ("GET", "/sandbox/cancels"): list_cancels,
    ("POST", "/sandbox/faults"): schedule_faults,
    ("DELETE", "/sandbox/faults"): clear_faults,
}
