"""The pages for people: what was predicted, with its pictures, as plain self-contained HTML.

All text that came from outside is escaped here, by :func:`html.escape`, before it meets a template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from string import Template

from airflow_provider_quickrouter.sandbox.bodies import body_of, pictures_of, prompt_of, size_of
from airflow_provider_quickrouter.sandbox.predictions import Phase, Record, phase_at

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


def index_page(records: Sequence[Record], now: float) -> str:
    """Return the page that lists predictions, in the order given."""
    cards = "".join(_card(record, phase_at(record, now)) for record in records)
    empty = "<p>Nothing was asked for yet: trigger a DAG, or POST to /replicate/v1/predictions.</p>"
    content = (
        "<h1>QuickRouter sandbox</h1><p>The newest predictions. Nothing here was paid for.</p>"
        f'<div class="grid">{cards}</div>'
    )
    phases = [phase_at(record, now) for record in records]
    return _layout("QuickRouter sandbox", content if records else content + empty, phases)


def unknown_page() -> str:
    """Return the page of a prediction that does not exist, or not any more."""
    content = (
        '<p><a href="/">All predictions</a></p><h1>This prediction is not known here</h1>'
        "<p>The sandbox forgets all predictions when it ends, unless it has a state file.</p>"
    )
    return _layout("QuickRouter sandbox", content, [])


def prediction_page(record: Record, now: float) -> str:
    """Return the page of one prediction."""
    phase = phase_at(record, now)
    prompt = escape(prompt_of(record)) or "(no prompt)"
    width, height = size_of(record)
    shots = "".join(
        f'<img src="{url}" alt="{prompt}" width="{width}" height="{height}">'
        for url in pictures_of(record, phase, "")
    )
    content = (
        f'<p><a href="/">All predictions</a></p><h1>{prompt}</h1>'
        f'<p class="state {phase.status}">{_state(record, phase)}</p>'
        f'<div class="shots">{shots}</div>'
        f"{_facts(record, now)}"
    )
    return _layout(f"{prompt_of(record)[:60]} · QuickRouter sandbox", content, [phase])


def _card(record: Record, phase: Phase) -> str:
    pictures = pictures_of(record, phase, "")
    unfinished = phase.completed_at is None
    blank = f'<div class="blank">{f"{phase.fraction:.0%}" if unfinished else ""}</div>'
    return CARD.substitute(
        id=record.id,
        picture=f'<img src="{pictures[0]}" alt="" loading="lazy">' if pictures else blank,
        prompt=escape(prompt_of(record)) or "(no prompt)",
        status=phase.status,
        state=_state(record, phase),
        note=escape(record.model.rpartition("/")[2]),
    )


def _state(record: Record, phase: Phase) -> str:
    """Return the state, with the reason of a failure."""
    why = record.faults.fail if phase.status == "failed" else None
    return f"{phase.status}: {escape(why[:120])}" if why else str(phase.status)


def _facts(record: Record, now: float) -> str:
    body = body_of(record, now, "")
    names = ("error", "id", "model", "version", "created_at", "started_at", "completed_at")
    facts = {name: body[name] for name in names} | body["metrics"]
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in facts.items()
        if value is not None
    )
    given = escape(json.dumps(body["input"], indent=2, ensure_ascii=False, default=str))
    logs = escape("\n".join(line.rpartition("\r")[2] for line in body["logs"].split("\n")))
    blocks = "".join(f"<pre>{text}</pre>" for text in (given, logs) if text)
    return f"<dl>{rows}</dl>{blocks}"


def _layout(title: str, content: str, phases: Iterable[Phase]) -> str:
    """Return the whole page; it loads itself again while anything on it is unfinished."""
    running = any(phase.completed_at is None for phase in phases)
    refresh = '<meta http-equiv="refresh" content="2">' if running else ""
    page = LAYOUT.substitute(title=escape(title), refresh=refresh, style=STYLE, content=content)
    return page.encode(errors="replace").decode()  # half a surrogate pair cannot be sent
