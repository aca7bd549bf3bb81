"""The sandbox's own routes: pages and files for people, and controls for tests.

:func:`html.escape` escapes all strings from outside before they become part of a template.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from html import escape
from string import Template
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope

from airflow_provider_quickrouter.sandbox import protocol
from airflow_provider_quickrouter.sandbox.bodies import (
    body_of,
    files_of,
    ledger_entry,
    pictures_of,
    prompt_of,
    size_of,
)
from airflow_provider_quickrouter.sandbox.faults import FaultError
from airflow_provider_quickrouter.sandbox.gateway import Gateway
from airflow_provider_quickrouter.sandbox.outputs import render_other
from airflow_provider_quickrouter.sandbox.pictures import render
from airflow_provider_quickrouter.sandbox.predictions import Phase, Record, phase_at
from airflow_provider_quickrouter.sandbox.protocol import read_json
from airflow_provider_quickrouter.sandbox.schedule import parse_entry

NEWEST = 48

STYLE = """
:root{color-scheme:light dark;--bg:#f6f5f2;--card:#fff;--ink:#1d1d24;--dim:#6d6d78;--line:#e4e2dc;
--ok:#1f8a58;--bad:#c23b3b;--run:#b26a12}
@media(prefers-color-scheme:dark){:root{--bg:#121217;--card:#1c1c23;--ink:#ececf1;--dim:#9a9aa8;
--line:#2c2c36;--ok:#4cc48d;--bad:#f07a7a;--run:#f0b25a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px 72px}
h1{font-size:26px;line-height:1.3;letter-spacing:-.015em;margin:0 0 6px;overflow-wrap:anywhere}
p{margin:0 0 28px;color:var(--dim)}a{color:inherit}
.grid{display:grid;gap:20px;grid-template-columns:repeat(auto-fill,minmax(230px,1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden;
text-decoration:none;display:block;transition:transform .15s,box-shadow .15s}
a.card:hover{transform:translateY(-3px);box-shadow:0 10px 28px #0003}
.card img,.blank{display:block;width:100%;aspect-ratio:1;object-fit:cover}
.blank{display:grid;place-items:center;color:var(--dim);
background:linear-gradient(160deg,#8884 0%,#8882 60%,#8881 100%)}
.text{padding:12px 14px 14px}
.prompt{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;
font-size:15px;line-height:1.4;min-height:2.8em;overflow-wrap:anywhere}
.row{display:flex;justify-content:space-between;gap:8px;font-size:13px;color:var(--dim);
margin-top:8px}
.state{font-weight:600;color:var(--run)}.succeeded{color:var(--ok)}
.failed,.canceled,.aborted{color:var(--bad)}
.shots{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));
margin-bottom:24px}
.shots img{width:100%;max-width:768px;height:auto;border-radius:14px;display:block}
dl{display:grid;grid-template-columns:max-content 1fr;gap:8px 20px;margin:0;padding:18px 20px;
background:var(--card);border:1px solid var(--line);border-radius:14px}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
pre{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px 20px;
overflow-x:auto;font:13px/1.6 ui-monospace,monospace;max-height:420px}
"""

LAYOUT = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>$refresh
<meta name="viewport" content="width=device-width,initial-scale=1"><style>$style</style></head>
<body><main>$content</main></body></html>
""")

CARD = Template("""<a class="card" href="/predictions/$id">$picture<div class="text">
<div class="prompt">$prompt</div>
<div class="row"><span class="state $status">$state</span><span>$note</span></div></div></a>
""")

Page = Callable[[Gateway, Scope, Receive], Awaitable[Response]]

FILE_NAME = re.compile(r"out-(\d{1,3})\.png")
PART = 100  # entries that are written before other requests are handled

PREDICTION = Template("""<p><a href="/">All predictions</a></p><h1>$prompt</h1>
<p class="state $status">$state</p><div class="shots">$shots</div><dl>$facts</dl>$blocks""")

UNKNOWN = """<p><a href="/">All predictions</a></p><h1>This prediction does not exist</h1>
<p>The sandbox deletes all predictions when it ends, unless it has a state file.</p>"""


def find(method: str, path: str) -> Page | None:
    """Return the page of a request; ``None`` means that the API handles it."""
    method = "GET" if method == "HEAD" else method  # the server omits the body
    head, _, rest = path[1:].partition("/")
    if head in ("files", "predictions") and method == "GET" and rest:
        return FOR_PEOPLE[head]
    if head == "sandbox" or path in ("/", "/favicon.ico"):
        return EXACT.get((method, path))
    return None


async def show_index(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Show the newest predictions."""
    now, records = time.time(), gateway.predictions.newest(NEWEST)
    phases = [phase_at(record, now) for record in records]
    cards = "".join(_card(record, phase) for record, phase in zip(records, phases, strict=True))
    content = (
        f"<h1>QuickRouter sandbox</h1><p>The newest predictions. All have cost {gateway.cost:g}.</p>"
        f'<div class="grid">{cards}</div>'
    )
    if not records:
        content += "<p>No predictions yet. Trigger a DAG, or send a POST to /replicate/v1/predictions.</p>"
    return _page("QuickRouter sandbox", content, phases)


async def show_prediction(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Show one prediction."""
    record = gateway.predictions.get(scope["path"].rpartition("/")[2])
    if record is None:
        return _page("QuickRouter sandbox", UNKNOWN, [], 404)
    now = time.time()
    phase, body = phase_at(record, now), body_of(record, now, "")
    prompt = escape(prompt_of(record)) or "(no prompt)"
    width, height = size_of(record)
    shots = "".join(
        f'<img src="{url}" alt="{prompt}" width="{width}" height="{height}">'
        for url in pictures_of(record, phase, "")
    )
    names = ("error", "id", "model", "version", "created_at", "started_at", "completed_at")
    facts = {name: body[name] for name in names} | body["metrics"]
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in facts.items()
        if value is not None
    )
    given = json.dumps(body["input"], indent=2, ensure_ascii=False, default=str)
    # Unlike a terminal, a browser does not overwrite a line after a carriage return.
    logs = "\n".join(line.rpartition("\r")[2] for line in body["logs"].split("\n"))
    content = PREDICTION.substitute(
        prompt=prompt,
        status=phase.status,
        state=_state(record, phase),
        shots=shots,
        facts=rows,
        blocks="".join(f"<pre>{escape(text)}</pre>" for text in (given, logs) if text),
    )
    return _page(f"{prompt_of(record)[:60]} · QuickRouter sandbox", content, [phase])


def _card(record: Record, phase: Phase) -> str:
    pictures = pictures_of(record, phase, "")
    blank = f"{phase.fraction:.0%}" if phase.completed_at is None else ""
    picture = f'<div class="blank">{blank}</div>'
    if pictures:
        picture = f'<img src="{pictures[0]}" alt="" loading="lazy">'
    return CARD.substitute(
        id=record.id,
        picture=picture,
        prompt=escape(prompt_of(record)) or "(no prompt)",
        status=phase.status,
        state=_state(record, phase),
        note=escape(record.model.rpartition("/")[2]),
    )


def _state(record: Record, phase: Phase) -> str:
    """Return the state, with the reason of a failure."""
    reason = record.faults.fail if phase.status == "failed" else None
    return f"{phase.status}: {escape(reason[:120])}" if reason else str(phase.status)


def _page(title: str, content: str, phases: Iterable[Phase], status: int = 200) -> Response:
    """Return the whole page, which reloads itself while a prediction on it is running."""
    running = any(phase.completed_at is None for phase in phases)
    refresh = '<meta http-equiv="refresh" content="2">' if running else ""
    page = LAYOUT.substitute(title=escape(title), refresh=refresh, style=STYLE, content=content)
    # Replace half surrogate pairs, which UTF-8 cannot encode.
    return HTMLResponse(page.encode(errors="replace"), status)


async def show_file(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Return a picture, or another file of an output."""
    _, _, prediction_id, name = f"{scope['path']}//".split("/")[:4]
    record, found = gateway.predictions.get(prediction_id), FILE_NAME.fullmatch(name)
    if record is None or name not in files_of(record, phase_at(record, time.time())):
        return protocol.html_page(404)
    if found is None:
        data, media_type = await asyncio.to_thread(render_other, name)
        return Response(data, media_type=media_type)
    drawing = (prompt_of(record), record.seed, int(found[1]), size_of(record))
    # In a thread, so that the API does not wait.
    return Response(await asyncio.to_thread(render, *drawing), media_type="image/png")


async def list_requests(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """List the requests to the API, oldest first."""
    journal = gateway.journal
    before = f'{{"creates": {journal.creates}, "requests": '
    return _in_parts(before, list(journal.entries), asdict, "}")


async def list_predictions(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """List all predictions, oldest first, each with its input and cancel requests."""
    now, host = time.time(), dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    records, prices = gateway.predictions.all(), gateway.settings.prices
    return _in_parts("", records, lambda record: ledger_entry(record, now, f"http://{host}", prices), "")


async def control(gateway: Gateway, scope: Scope, receive: Receive) -> Response:
    """Handle the other controls, and the browser's request for an icon."""
    match (scope["method"], scope["path"]):
        case ("POST", "/sandbox/faults"):
            try:
                gateway.schedule.add(parse_entry(await read_json(receive), time.time()))
            except FaultError as wrong:
                return protocol.bad_request(str(wrong))
        case ("DELETE", "/sandbox/faults"):
            gateway.schedule.clear()
        case ("DELETE", "/sandbox/requests"):
            await gateway.clear_requests()
        case (_, "/sandbox/cancels"):
            return JSONResponse(list(gateway.cancel_requests))
        case (_, "/sandbox/counts"):
            return JSONResponse(gateway.counted())
    return Response(status_code=204)


def _in_parts(before: str, items: Sequence[Any], as_json: Callable[[Any], Any], after: str) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield f"{before}["
        for start in range(0, len(items), PART):
            text = json.dumps([as_json(item) for item in items[start : start + PART]])
            yield f"{',' if start else ''}{text[1:-1]}"
            await asyncio.sleep(0)  # handle other requests: the list may be long
        yield f"]{after}"

    return StreamingResponse(parts(), media_type="application/json")


FOR_PEOPLE: dict[str, Page] = {"files": show_file, "predictions": show_prediction}
EXACT: dict[tuple[str, str], Page] = {
    ("GET", "/"): show_index,
    ("GET", "/favicon.ico"): control,  # so that it is not in the API's journal
    ("GET", "/sandbox/requests"): list_requests,
    ("DELETE", "/sandbox/requests"): control,
    ("GET", "/sandbox/counts"): control,
    ("GET", "/sandbox/predictions"): list_predictions,
    ("GET", "/sandbox/cancels"): control,
    ("POST", "/sandbox/faults"): control,
    ("DELETE", "/sandbox/faults"): control,
}
