"""A prediction as JSON: the same shape that Replicate answers, at any instant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import UNSET, Faults
from airflow_provider_quickrouter.sandbox.poison import poisoned
from airflow_provider_quickrouter.sandbox.predictions import Phase, Record, Status, phase_at
from airflow_provider_quickrouter.sandbox.progress import logs_of, steps_of

API_OF_REPLICATE = "https://api.replicate.com"
SIDES = {"stability-ai/sdxl": 1024, "black-forest-labs/flux": 1024, "flux-kontext-apps/": 1024}
DEFAULT_SIDE = 768
ONE_FILE = ("black-forest-labs/flux", "flux-kontext-apps/")
"""Models, by how their names begin, whose output is one URL and not a list."""


def body_of(record: Record, now: float, base_url: str, skew: float = 0.0) -> dict[str, Any]:
    """Return the prediction as an answer shows it at ``now``; files lie under ``base_url``.

    The times in it are later by ``skew`` seconds than the true ones.
    """
    phase = phase_at(record, now)
    body = {
        "id": record.id,
        "model": record.model,
        "version": record.version,
        "input": {} if phase.expired else record.input,
        "logs": _logs(record, phase),
        "output": _output(record, phase, base_url),
        "error": record.faults.fail if phase.status is Status.FAILED else None,
        "status": _status_word(record.faults, phase.status),
        "created_at": timestamp(record.created_at, skew),
        "started_at": timestamp(phase.started_at, skew),
        "completed_at": timestamp(phase.completed_at, skew),
        "deadline": timestamp(record.deadline, skew),
        "data_removed": phase.expired,
        "metrics": _metrics(record, phase),
        "source": "api",
        "urls": _urls(record),
    }
    return poisoned(body, record.faults.poison)


def ledger_entry(record: Record, now: float, base_url: str) -> dict[str, Any]:
    """Return the prediction for the ledger: its input for ever, and what came to cancel it.

    Its times are the true ones, whatever clock the API shows.
    ``canceled`` says whether a cancel took effect, ``cancels`` how many were carried out.
    """
    told = {"canceled": record.canceled_at is not None, "cancels": record.cancels}
    return {**body_of(record, now, base_url), "input": record.input, **told}


def pictures_of(record: Record, phase: Phase, base_url: str) -> list[str]:
    """Return the URLs of the pictures that a prediction has now."""
    if phase.status is not Status.SUCCEEDED or phase.expired or record.faults.output is not UNSET:
        return []
    return [f"{base_url}/files/{record.id}/out-{n}.png" for n in range(count_of(record))]


def count_of(record: Record) -> int:
    """Return how many pictures were asked for."""
    return int(record.input.get("num_outputs", 1))


def size_of(record: Record) -> tuple[int, int]:
    """Return the width and height in pixels that were asked for, else the model's own."""
    side = next((s for name, s in SIDES.items() if record.model.startswith(name)), DEFAULT_SIDE)
    return int(record.input.get("width", side)), int(record.input.get("height", side))


def prompt_of(record: Record) -> str:
    """Return the text that the pictures show."""
    prompt = record.input.get("prompt", record.input.get("prompt_start", ""))
    return prompt if isinstance(prompt, str) else ""


def timestamp(instant: float | None, skew: float = 0.0) -> str | None:
    """Return an instant, later by ``skew`` seconds, as RFC 3339 with microseconds, in UTC."""
    if instant is None:
        return None
    moment = datetime.fromtimestamp(instant + skew, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='microseconds')}Z"


def _logs(record: Record, phase: Phase) -> str:
    if phase.started_at is None or phase.expired:
        return ""
    return logs_of(record.seed, steps_of(record.input), record.duration, phase.fraction)


def _output(record: Record, phase: Phase, base_url: str) -> Any:
    if phase.status is not Status.SUCCEEDED or phase.expired:
        return None
    if record.faults.output is not UNSET:
        return record.faults.output
    pictures = pictures_of(record, phase, base_url)
    return pictures[0] if record.model.startswith(ONE_FILE) else pictures


def _status_word(faults: Faults, status: Status) -> str:
    words = faults.status_word
    if words is None:
        return status.value
    if isinstance(words, str):
        return words if status is Status.SUCCEEDED else status.value
    return words.get(status.value, status.value)


def _metrics(record: Record, phase: Phase) -> dict[str, Any]:
    if phase.completed_at is None:
        return {}
    metrics: dict[str, Any] = {"total_time": round(phase.completed_at - record.created_at, 6)}
    if phase.started_at is not None:
        metrics["predict_time"] = round(phase.completed_at - phase.started_at, 6)
    if phase.status is Status.SUCCEEDED and record.faults.output is UNSET:
        metrics["image_count"] = count_of(record)
    return metrics


def _urls(record: Record) -> dict[str, str]:
    host = record.faults.evil_urls or API_OF_REPLICATE
    base = host.rstrip("/") if "://" in host else f"https://{host}"
    get = f"{base}/v1/predictions/{record.id}"
    return {"get": get, "cancel": f"{get}/cancel", "stream": f"{base}/v1/streams/{record.id}"}
