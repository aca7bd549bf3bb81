"""The JSON of the gallery's cards, made from manifests, stored files and rendered inputs.

XComs and inputs may come from outside, so this module checks the type of each value. Pure: it
knows neither Airflow nor the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pprint import pformat
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.api.files import Source, find_files, find_results
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, RETENTION, PredictionStatus, amount_of
from airflow_provider_quickrouter.storage.addresses import check_url
from airflow_provider_quickrouter.storage.media import ext_in, ext_of

Place = tuple[str, int]  # a task instance of a run: task id and map index, -1 if it is not mapped

# States of a task that no longer waits for its prediction, which may still run.
STOPPED = frozenset({"failed", "upstream_failed", "skipped", "removed"})

MAX_PICTURES = 64  # pictures of one prediction that are shown
MAX_TEXT = 10_000  # characters of a prompt, of an output or of an input as Python that are shown
MAX_VALUE = 500  # characters of an input's value that are shown
MAX_VALUES = 40  # inputs that are shown
MAX_EXACT = 2**53  # integers below it are exact in a browser
MAX_SIZE = 64 * 2**20  # bytes of the largest file that is served

# Types that a browser shows. SVG and HTML are not, since they can contain scripts.
SHOWN = {
    *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"),
    *("video/mp4", "video/quicktime", "video/webm"),
    *("audio/mpeg", "audio/mp4", "audio/wav", "audio/flac", "audio/ogg", "audio/aac"),
}
TEXTS = {"application/json", "application/x-ndjson", "application/x-subrip"}


class State(StrEnum):
    """The state of a card, by which users filter."""

    SUCCEEDED = "succeeded"
    RUNNING = "running"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"  # no task waits for the prediction, and its end is unknown


_STATES = {
    PredictionStatus.SUCCEEDED: State.SUCCEEDED,
    PredictionStatus.FAILED: State.FAILED,
    PredictionStatus.CANCELED: State.CANCELED,
    PredictionStatus.ABORTED: State.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """An XCom of a task instance, without its value: a manifest, or stored files."""

    place: Place
    prediction_id: str | None  # of a manifest; None for stored files
    status: str = ""
    task_state: str | None = None  # None before the task instance has one
    started: datetime | None = None  # when the task instance started
    cost: float | None = None  # of a manifest, in the unit of the connection's prices

    @property
    def known(self) -> PredictionStatus:
        """The status of the manifest."""
        return PredictionStatus.of(self.status)


@dataclass(slots=True)
class Entry:
    """A prediction of a run, or files that were stored without one."""

    prediction_id: str | None
    # Both in the order in which the tasks started.
    manifests: list[Row] = field(default_factory=list)
    files: list[Place] = field(default_factory=list)

    @property
    def best(self) -> Row | None:
        """The last manifest with an end, else the last manifest."""
        ended = [row for row in self.manifests if row.known.terminal] or self.manifests
        return ended[-1] if ended else None

    @property
    def places(self) -> list[Place]:
        """Every task instance of the prediction, in the order of the tasks."""
        return list(dict.fromkeys([row.place for row in self.manifests] + self.files))

    def state(self, run_is_active: bool) -> State:
        """Return the state of the card."""
        best = self.best
        if best is None:
            return State.SUCCEEDED
        if best.known.terminal:
            return _STATES[best.known]
        return State.RUNNING if run_is_active and not self.stopped_state else State.LOST

    @property
    def stopped_state(self) -> str | None:
        """The state of the first task that no longer waits for the prediction."""
        states = (row.task_state for row in self.manifests)
        return next((state for state in states if state in STOPPED), None)


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """Group rows into one entry for each prediction, in the order of tasks and map indexes."""
    rows = list(rows)
    order = _order_of_tasks(rows)
    rows.sort(key=lambda row: (order[row.place[0]], row.place[1]))
    entries: dict[str | Place, Entry] = {}
    ids = {row.place: row.prediction_id for row in rows if row.prediction_id is not None}
    for row in rows:
        prediction_id = ids.get(row.place)
        key = row.place if prediction_id is None else prediction_id
        entry = entries.setdefault(key, Entry(prediction_id))
        if row.prediction_id is None:
            entry.files.append(row.place)
        else:
            entry.manifests.append(row)
    return list(entries.values())


def _order_of_tasks(rows: Sequence[Row]) -> dict[str, tuple[datetime, str]]:
    """Return the sort key of each task: its first start, then its name."""
    never = datetime.max.replace(tzinfo=UTC)
    first: dict[str, tuple[datetime, str]] = {}
    for row in rows:
        task_id = row.place[0]
        start = (row.started or never, task_id)
        first[task_id] = min(first.get(task_id, start), start)
    return first


_PROMPTS = ("prompt", "prompt_start", "text")  # prompt fields of known models, the most likely first

_STRING = r"""['"]{name}['"]\s*:\s*(?:'((?:[^'\\]|\\.)*)|"((?:[^"\\]|\\.)*))"""
_NUMBER = r"""['"]{name}['"]\s*:\s*(-?\d{{1,19}})\b"""


def prompt_of(rendered: Any) -> str | None:
    """Return the prompt of a rendered input, None if it has none."""
    for name in _PROMPTS:
        value = rendered.get(name) if isinstance(rendered, dict) else _string_in(rendered, name)
        if isinstance(value, str) and value:
            return value[:MAX_TEXT]
    return None


def seed_of(rendered: Any) -> int | None:
    """Return the seed of a rendered input, None if it has none."""
    if isinstance(rendered, str):
        found = re.search(_NUMBER.format(name="seed"), rendered)
        return int(found[1]) if found else None
    seed = rendered.get("seed") if isinstance(rendered, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def others_of(rendered: Any) -> dict[str, str]:
    """Return the other inputs than prompt and seed as short strings, by name."""
    if not isinstance(rendered, dict):
        return {}
    others = [(name, value) for name, value in rendered.items() if name not in ("prompt", "seed")]
    return {str(name)[:100]: _short(value) for name, value in others[:MAX_VALUES]}


def python_of(rendered: Any) -> str | None:
    """Return the whole input as a Python expression, None if it is not known or too long."""
    code = pformat(rendered, width=88, sort_dicts=False) if isinstance(rendered, dict) else ""
    return code if 2 < len(code) <= MAX_TEXT else None


def _short(value: Any) -> str:
    string = value if isinstance(value, str) else repr(value)
    if string.startswith("data:"):
        return f"a file within the input ({len(string):,} characters)"
    return string if len(string) <= MAX_VALUE else f"{string[:MAX_VALUE]}…"


def _string_in(rendered: Any, name: str) -> str | None:
    """Find a value in an input that Airflow has truncated: the repr of a dict, without its end."""
    if not isinstance(rendered, str):
        return None
    found = re.search(_STRING.format(name=re.escape(name)), rendered)
    if not found:
        return None
    string = found[1] if found[1] is not None else found[2]
    return re.sub(r"\\(['\"\\n])", lambda m: "\n" if m[1] == "n" else m[1], string)


@dataclass(slots=True)
class Found:
    """What the database has of an entry."""

    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[Place, list[Any]] = field(default_factory=dict)
    rendered: Any = None  # the rendered input
    label: str | None = None
    try_number: int = 0
    task_state: str | None = None


def card_of(entry: Entry, state: State, found: Found, now: datetime) -> dict[str, Any]:
    """Return the JSON of a card; ``now`` is the database's time, with a zone."""
    manifest, (task_id, map_index) = found.manifest, entry.places[0]
    stored, seed = list(_stored(found.files))[:MAX_PICTURES], manifest.get("seed")
    return {
        "key": entry.prediction_id or f"{task_id}/{map_index}",
        "id": entry.prediction_id,
        "state": state,
        "status": _string(manifest.get("status")),
        "error": _string(manifest.get("error")),
        "model": _string(manifest.get("model")) or _model_in(manifest.get("version")),
        "version": _string(manifest.get("version")),
        "url": _web_url(manifest.get("url")),
        "prompt": prompt_of(found.rendered),
        "cost": amount_of(manifest.get("cost")),
        "seed": _exact(seed if isinstance(seed, int) else seed_of(found.rendered)),
        "inputs": others_of(found.rendered),
        "python": python_of(found.rendered),
        **_times(manifest),
        "task_id": task_id,
        "map_index": map_index,
        "label": found.label,
        "try_number": found.try_number,
        "task_state": entry.stopped_state or found.task_state,
        "stored": stored,
        "text": _text_of(manifest.get("output"), bool(stored)) if state is State.SUCCEEDED else None,
        **_not_stored({} if stored else manifest, now),
    }


def _not_stored(manifest: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the files of an output that the API serves, and until when it does."""
    ended = _time(manifest.get("completed_at"))
    expires = _time(manifest.get("expires_at")) or (ended + RETENTION if ended else None)
    alive = expires is None or now < expires
    linked = _linked(manifest.get("output"))
    shown = [source for source in linked if alive and _is_for_browsers(source.url, manifest.get("url"))]
    expired = manifest.get("data_removed") is True if not linked else not alive
    return {
        "live": [_link(source.url) for source in shown[:MAX_PICTURES]],
        "private": len(linked) - len(shown) if alive else 0,
        "expired": (_iso(expires) or True) if expired else None,  # True: it is not known since when
        "expires_at": _iso(expires) if shown else None,
    }


def _stored(files: dict[Place, list[Any]]) -> Iterator[dict[str, Any]]:
    """Describe stored files, with what the browser needs to request them."""
    for (task_id, map_index), listed in files.items():
        for n, file in enumerate(listed):
            if isinstance(file, dict) and isinstance(file.get("path"), str):
                content_type, size = _string(file.get("content_type")), _count(file.get("size"))
                yield {
                    "task_id": task_id,
                    "map_index": map_index,
                    "n": n,
                    "kind": _kind_of(content_type),
                    "served": 0 < (size or 0) <= MAX_SIZE,
                    "type": content_type,
                    "key": _string(file.get("key")),
                    "width": _count(file.get("width")),
                    "height": _count(file.get("height")),
                    "size": size,
                    "path": file["path"],
                    "tag": _string(file.get("sha256"))[:16],
                }


def _text_of(output: Any, stored: bool) -> str | None:
    """Return the text or JSON that an output is; None if it has files, or only a stored one has it."""
    try:
        results = find_results(output)
        if len(results) != 1 or results[0].content is None:
            return None
        text = results[0].content.decode()
        if results[0].ext == "json":
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (FileRefused, ValueError, RecursionError):  # JSON that Python cannot write
        return None
    return None if stored and LEFT_OUT in text else text[:MAX_TEXT]


def _linked(output: Any) -> list[Source]:
    """Find the URLs in an output, at any depth."""
    try:
        return [source for source in find_files(output) if not source.inline]
    except FileRefused:
        return []


# Browsers decode percent signs in a host, and read a backslash as its end.
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


def _is_for_browsers(url: str, page: Any) -> bool:
    """Return whether a browser may be sent to a file of an output.

    A model may name any address, also of a service that only the browser reaches. So the address
    must be public, or that of the gateway itself, which serves the prediction's ``page``.
    """
    try:
        parts = urlsplit(url)
        own = isinstance(page, str) and parts.netloc == urlsplit(page).netloc
        check_url(url, parts.hostname, private=own)
    except (FileRefused, ValueError):
        return False
    return bool(_PLAIN_HOST.fullmatch(str(parts.hostname)))


def _kind_of(content_type: str) -> str:
    """Return how a browser shows a type: as image, video, audio or text. A "file" is not shown."""
    if content_type.startswith("text/") or content_type in TEXTS:
        return "text"
    return content_type.partition("/")[0] if content_type in SHOWN else "file"


_KINDS = {ext_of(content_type): _kind_of(content_type) for content_type in SHOWN}


def _link(url: str) -> dict[str, Any]:
    return {"url": url, "kind": _KINDS.get(ext_in(url) or "png", "file")}


def _web_url(value: Any) -> str | None:
    """Return a URL that a browser may open: http or https only."""
    is_web = isinstance(value, str) and re.match(r"https?://[^\s/]", value, re.IGNORECASE)
    return value if is_web else None


def _model_in(version: Any) -> str:
    """Return ``owner/name`` of ``owner/name:hash``, or the beginning of a bare hash."""
    name = _string(version).partition(":")[0]
    return name if "/" in name else name[:12]


def _times(manifest: dict[str, Any]) -> dict[str, Any]:
    created, started, ended = (
        _time(manifest.get(name)) for name in ("created_at", "started_at", "completed_at")
    )
    metrics = manifest.get("metrics")
    measured = metrics.get("predict_time") if isinstance(metrics, dict) else None
    run = _seconds(started, ended)
    # Compared before it is converted: an integer may be too large, and NaN compares as False.
    if isinstance(measured, int | float) and abs(measured) < MAX_EXACT:
        run = float(measured)
    return {
        "created_at": _iso(created),
        "started_at": _iso(started),
        "completed_at": _iso(ended),
        "queue": _seconds(created, started),
        "run": None if run is None else max(0.0, run),
        "total": _seconds(created, ended),
    }


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None:
        return None
    return max(0.0, (until - since) / timedelta(seconds=1))


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    # Without the first and last years: adding an hour must not overflow.
    return time if time and time.tzinfo and 1 < time.year < 9999 else None


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < MAX_EXACT else None


def _exact(value: int | None) -> int | str | None:
    """Return an integer so that a browser shows all of its digits."""
    return value if value is None or abs(value) < MAX_EXACT else str(value)
