"""The JSON of one card of the gallery, made of a manifest, stored files and the rendered input.

Everything in it may have been written by somebody else: nothing is trusted to be of a type.
Pure: what the database holds goes in, JSON comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.api.files import find_files
from airflow_provider_quickrouter.api.prediction import RETENTION, PredictionStatus

Place = tuple[str, int]  # a task instance of a run: task id and map index, -1 if it is not mapped

# States of a task that no longer waits for its prediction, which may still run.
ENDED_BADLY = frozenset({"failed", "upstream_failed", "skipped", "removed"})


class State(StrEnum):
    """The state of a card, in the words of the filter."""

    SUCCEEDED = "succeeded"
    RUNNING = "running"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"


_STATES = {
    PredictionStatus.SUCCEEDED: State.SUCCEEDED,
    PredictionStatus.FAILED: State.FAILED,
    PredictionStatus.CANCELED: State.CANCELED,
    PredictionStatus.ABORTED: State.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """An XCom of a task instance, without its value.

    :ivar prediction_id: of a manifest; None where the row is about stored files.
    :ivar status: the manifest's word.
    :ivar task_state: the task instance's; None before it has one.
    :ivar started: when the task instance started.
    """

    place: Place
    prediction_id: str | None
    status: str = ""
    task_state: str | None = None
    started: datetime | None = None

    @property
    def known(self) -> PredictionStatus:
        """The status in the API's words."""
        return PredictionStatus.of(self.status)


@dataclass(slots=True)
class Entry:
    """A prediction of a run, or files that were stored without one.

    :ivar manifests: rows of its manifests, in the order in which their tasks started.
    :ivar files: the task instances that stored its files, first started first.
    """

    prediction_id: str | None
    manifests: list[Row] = field(default_factory=list)
    files: list[Place] = field(default_factory=list)

    @property
    def best(self) -> Row | None:
        """The row that knows most: of those that are over, else of all, the last one."""
        over = [row for row in self.manifests if row.known.terminal] or self.manifests
        return over[-1] if over else None

    @property
    def places(self) -> list[Place]:
        """Every task instance that has to do with it, in the order of the tasks."""
        return list(dict.fromkeys([row.place for row in self.manifests] + self.files))

    def state(self, run_is_active: bool) -> State:
        """Its state. ``lost``: no task waits for it any more, and no end was seen."""
        best = self.best
        if best is None:
            return State.SUCCEEDED
        if best.known.terminal:
            return _STATES[best.known]
        return State.RUNNING if run_is_active and not self.given_up else State.LOST

    @property
    def given_up(self) -> str | None:
        """The state of the first task that had to do with it and failed."""
        states = (row.task_state for row in self.manifests)
        return next((state for state in states if state in ENDED_BADLY), None)


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """Put rows together: one entry for each prediction, in the order of tasks and map indexes."""
    known = list(rows)
    order = _order_of_tasks(known)
    known.sort(key=lambda row: (order[row.place[0]], row.place[1]))
    made: dict[str | Place, Entry] = {}
    at = {row.place: row.prediction_id for row in known if row.prediction_id is not None}
    for row in known:
        prediction_id = at.get(row.place)
        key = row.place if prediction_id is None else prediction_id
        entry = made.setdefault(key, Entry(prediction_id))
        if row.prediction_id is None:
            entry.files.append(row.place)
        else:
            entry.manifests.append(row)
    return list(made.values())


def _order_of_tasks(rows: Sequence[Row]) -> dict[str, tuple[datetime, str]]:
    """Tasks that started earlier come first, then by name."""
    late = datetime.max.replace(tzinfo=UTC)
    first: dict[str, tuple[datetime, str]] = {}
    for row in rows:
        task_id = row.place[0]
        start = (row.started or late, task_id)
        first[task_id] = min(first.get(task_id, start), start)
    return first


# Fields of the known models that hold a prompt, the likeliest first.
PROMPTS = ("prompt", "prompt_start", "text")

MAX_VALUE = 500  # characters of an input's value that are shown
MAX_VALUES = 40  # inputs that are shown
MAX_PROMPT = 10_000  # characters of a prompt that are shown

_TEXT = r"""['"]{name}['"]\s*:\s*(?:'((?:[^'\\]|\\.)*)|"((?:[^"\\]|\\.)*))"""
_NUMBER = r"""['"]{name}['"]\s*:\s*(-?\d+)"""


def prompt_of(given: Any) -> str | None:
    """Return the prompt of a rendered input, None if it cannot be found."""
    for name in PROMPTS:
        value = given.get(name) if isinstance(given, dict) else _text_in(given, name)
        if isinstance(value, str) and value:
            return value[:MAX_PROMPT]
    return None


def seed_of(given: Any) -> int | None:
    """Return the seed of a rendered input, None if there is none."""
    if isinstance(given, str):
        found = re.search(_NUMBER.format(name="seed"), given)
        return int(found[1]) if found else None
    seed = given.get("seed") if isinstance(given, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def others_of(given: Any) -> dict[str, str]:
    """Return the inputs besides the prompt as short strings, by name."""
    if not isinstance(given, dict):
        return {}
    others = [(name, value) for name, value in given.items() if name not in ("prompt", "seed")]
    return {str(name)[:100]: _short(value) for name, value in others[:MAX_VALUES]}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if text.startswith("data:"):
        return f"a file within the input ({len(text):,} characters)"
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _text_in(given: Any, name: str) -> str | None:
    """Find a text in what Airflow has cut: a dict as Python prints it, without its end."""
    if not isinstance(given, str):
        return None
    found = re.search(_TEXT.format(name=re.escape(name)), given)
    if not found:
        return None
    text = found[1] if found[1] is not None else found[2]
    return re.sub(r"\\(['\"\\n])", lambda m: "\n" if m[1] == "n" else m[1], text)


MAX_PICTURES = 64  # pictures of one prediction that are shown

_VIDEO = ("mp4", "webm", "mov")
_AUDIO = ("mp3", "wav", "ogg", "flac", "m4a")
_PICTURE = ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "")


@dataclass(slots=True)
class Found:
    """What the database holds of an entry."""

    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[Place, list[Any]] = field(default_factory=dict)
    given: Any = None
    label: str | None = None
    try_number: int = 0
    task_state: str | None = None


def card_of(entry: Entry, state: State, found: Found, now: datetime) -> dict[str, Any]:
    """Return what a card shows.

    :param now: of the database's clock, with a zone.
    """
    manifest, (task_id, map_index) = found.manifest, entry.places[0]
    expires = _expires(manifest)
    stored = list(_stored(found.files))[:MAX_PICTURES]
    alive = expires is None or now < expires
    linked = [] if stored else list(_linked(manifest.get("output")))[:MAX_PICTURES]
    seed = manifest.get("seed")
    return {
        "key": entry.prediction_id or f"{task_id}/{map_index}",
        "id": entry.prediction_id,
        "state": state,
        "status": _text(manifest.get("status")),
        "error": _text(manifest.get("error")),
        "model": _text(manifest.get("model")) or _model_in(manifest.get("version")),
        "version": _text(manifest.get("version")),
        "url": _address(manifest.get("url")),
        "prompt": prompt_of(found.given),
        "seed": seed if isinstance(seed, int) else seed_of(found.given),
        "inputs": others_of(found.given),
        **_times(manifest),
        "task_id": task_id,
        "map_index": map_index,
        "label": found.label,
        "try_number": found.try_number,
        "task_state": entry.given_up or found.task_state,
        "stored": stored,
        "live": linked if alive else [],
        "expired": _iso(expires) if linked and not alive else None,
        "expires_at": _iso(expires) if linked and alive else None,
    }


def _stored(files: dict[Place, list[Any]]) -> Iterator[dict[str, Any]]:
    """Describe stored files, and how to request them: by task instance and number."""
    for (task_id, map_index), listed in files.items():
        for n, file in enumerate(listed):
            if isinstance(file, dict) and isinstance(file.get("path"), str):
                yield {
                    "task_id": task_id,
                    "map_index": map_index,
                    "n": n,
                    "kind": _kind_of_type(_text(file.get("content_type"))),
                    "type": _text(file.get("content_type")),
                    "width": _count(file.get("width")),
                    "height": _count(file.get("height")),
                    "size": _count(file.get("size")),
                    "path": file["path"],
                    "tag": _text(file.get("sha256"))[:16],
                }


def _kind_of_type(content_type: str) -> str:
    kind = content_type.partition("/")[0]
    return kind if kind in ("image", "video", "audio") else "file"


def _linked(output: Any) -> Iterator[dict[str, Any]]:
    """Find the addresses in an output, in any nesting."""
    try:
        found = find_files(output)
    except FileRefused:
        return
    yield from (
        {"url": source.url, "kind": _kind_of_address(source.url)} for source in found if not source.inline
    )


def _kind_of_address(address: str) -> str:
    path = re.split(r"[?#]", address)[0]
    name = path.rpartition("/")[2]
    extension = name.rpartition(".")[2].casefold() if "." in name else ""
    kinds = (("image", _PICTURE), ("video", _VIDEO), ("audio", _AUDIO))
    return next((kind for kind, known in kinds if extension in known), "file")


def _address(value: Any) -> str | None:
    """Return an address that a browser may be led to: nothing but http and https."""
    known = isinstance(value, str) and re.match(r"https?://[^\s/]", value, re.IGNORECASE)
    return value if known else None


def _model_in(version: Any) -> str:
    """``owner/name`` of ``owner/name:hash``; of a bare hash its beginning."""
    name = _text(version).partition(":")[0]
    return name if "/" in name else name[:12]


def _times(manifest: dict[str, Any]) -> dict[str, Any]:
    created, started, ended = (
        _time(manifest.get(name)) for name in ("created_at", "started_at", "completed_at")
    )
    metrics = manifest.get("metrics")
    measured = metrics.get("predict_time") if isinstance(metrics, dict) else None
    run = float(measured) if isinstance(measured, int | float) else _seconds(started, ended)
    return {
        "created_at": _iso(created),
        "started_at": _iso(started),
        "completed_at": _iso(ended),
        "queue": _seconds(created, started),
        "run": None if run is None else max(0.0, run),
        "total": _seconds(created, ended),
    }


def _expires(manifest: dict[str, Any]) -> datetime | None:
    given, ended = _time(manifest.get("expires_at")), _time(manifest.get("completed_at"))
    return given or (ended + RETENTION if ended else None)


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None:
        return None
    return max(0.0, (until - since) / timedelta(seconds=1))


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time and time.tzinfo and 1 < time.year < 9999 else None


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
