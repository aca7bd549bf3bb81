"""The JSON of one card of the gallery, made of a manifest, stored files and the rendered input.

Everything in it may have been written by somebody else: nothing is trusted to be of a type.
Pure: what the database holds goes in, JSON comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.api.files import find_files
from airflow_provider_quickrouter.api.prediction import RETENTION
from airflow_provider_quickrouter.plugins.entries import Entry, Place, State
from airflow_provider_quickrouter.plugins.inputs import others_of, prompt_of, seed_of

MAX_PICTURES = 64
"""Pictures of one prediction that are shown."""

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
    """Describe stored files, and how to ask for them: by task instance and number."""
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
        {"url": source.url, "kind": _kind_of_address(source.url)}
        for source in found
        if not source.inline
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
