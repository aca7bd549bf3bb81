"""A prediction as JSON at any time, in the form of Replicate's responses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import UNSET
from airflow_provider_quickrouter.sandbox.outputs import OUTPUTS, file_names, output_of
from airflow_provider_quickrouter.sandbox.predictions import Phase, Record, Status, phase_at

API_OF_REPLICATE = "https://api.replicate.com"
DEFAULT_SIDE = 768
# By the beginning of a model's name: the side of its pictures, and if its output is a single URL.
SIDES = {"stability-ai/sdxl": 1024, "black-forest-labs/flux": 1024, "flux-kontext-apps/": 1024}
ONE_FILE = ("black-forest-labs/flux", "flux-kontext-apps/")

Prices = Mapping[str, tuple[Decimal, ...]]  # by model or deployment: of a second, and of an output

BAR_WIDTH = 10
# Maximum number of bars: tqdm draws by time, not one bar for each of 500 steps.
MAX_BARS = 50

# Values that many databases and encoders refuse. JSON has NUL and the first half of a surrogate
# pair as escapes. The header's suffix is sent as latin-1: two bytes that are not valid UTF-8.
TEXT = "poison \x00 \ud83d"
BEYOND_64_BITS = 10**30
HEADER_SUFFIX = "-\xff\xfe"
POISONS: dict[str, Callable[[Any], Any]] = {
    "output": lambda output: [*(output if isinstance(output, list) else [output]), TEXT],
    "error": lambda error: f"{error} {TEXT}",
    "logs": lambda logs: f"{logs}\n{TEXT}",
    "metrics": lambda metrics: {
        **metrics,
        **{"text": TEXT, TEXT: 1, "beyond_64_bits": BEYOND_64_BITS, "nan": math.nan},
    },
}


def body_of(record: Record, now: float, base_url: str, skew: float = 0.0) -> dict[str, Any]:
    """Return the JSON of a prediction at ``now``; the URLs of files begin with ``base_url``.

    ``skew`` seconds are added to its times.
    """
    phase = phase_at(record, now)
    logs = ""
    if phase.started_at is not None and not phase.expired:
        logs = logs_of(record.seed, steps_of(record.input), record.duration, phase.fraction)
    host = record.faults.evil_urls or API_OF_REPLICATE
    base = host.rstrip("/") if "://" in host else f"https://{host}"
    get = f"{base}/v1/predictions/{record.id}"
    body = {
        "id": record.id,
        "model": record.model,
        "version": record.version,
        **({"deployment": record.deployment} if record.deployment else {}),
        "input": {} if phase.expired else record.input,
        "logs": logs,
        "output": _output(record, phase, base_url),
        "error": record.faults.fail if phase.status is Status.FAILED else None,
        "status": _status_word(record, phase.status),
        "created_at": timestamp(record.created_at, skew),
        "started_at": timestamp(phase.started_at, skew),
        "completed_at": timestamp(phase.completed_at, skew),
        "deadline": timestamp(record.deadline, skew),
        "data_removed": phase.expired,
        "metrics": _metrics(record, phase),
        "source": "api",
        "urls": {"get": get, "cancel": f"{get}/cancel", "stream": f"{base}/v1/streams/{record.id}"},
    }
    return poisoned(body, record.faults.poison)


def ledger_entry(record: Record, now: float, base_url: str, prices: Prices) -> dict[str, Any]:
    """Return the JSON of a prediction for reports, always with its input, and with true times.

    ``canceled`` is whether a cancel took effect, ``cancels`` the number of executed cancels.
    """
    cancels = {"canceled": record.canceled_at is not None, "cancels": record.cancels}
    cost = float(cost_of(record, now, prices))
    return {**body_of(record, now, base_url), "input": record.input, **cancels, "cost": cost}


def parse_prices(given: Mapping[str, Mapping[str, float]]) -> Prices:
    """Read prices in the form of the connection's extra ``prices``; another form is a ValueError."""
    units = ("per_second", "per_output")
    try:
        return {
            name: tuple(Decimal(str(each.get(unit, 0))) for unit in units) for name, each in given.items()
        }
    except (ArithmeticError, AttributeError) as error:
        raise ValueError('prices must be {"owner/name": {"per_second": number}}, or per_output') from error


def cost_of(record: Record, now: float, prices: Prices) -> Decimal:
    """Return what a prediction has cost: its seconds, also if it failed, or the outputs of a success."""
    phase = phase_at(record, now)
    per_second, per_output = prices.get(record.deployment or record.model, (Decimal(0), Decimal(0)))
    metrics, output = _metrics(record, phase), record.faults.output
    outputs = metrics.get("image_count", len(output) if isinstance(output, list) else bool(output))
    succeeded = phase.status is Status.SUCCEEDED
    seconds = Decimal(str(metrics.get("predict_time", 0)))
    return round(seconds * per_second + (outputs * per_output if succeeded else 0), 8)


def pictures_of(record: Record, phase: Phase, base_url: str) -> list[str]:
    """Return the URLs of the pictures of a prediction in this phase."""
    names = (name for name in files_of(record, phase) if name.endswith(".png"))
    return [f"{base_url}/files/{record.id}/{name}" for name in names]


def files_of(record: Record, phase: Phase) -> list[str]:
    """Return the names of the files of a prediction in this phase."""
    if phase.status is not Status.SUCCEEDED or phase.expired or record.faults.output is not UNSET:
        return []
    if record.model in OUTPUTS:
        return file_names(record.model)
    return [f"out-{n}.png" for n in range(_count_of(record))]


def size_of(record: Record) -> tuple[int, int]:
    """Return the width and height in pixels of the input, else of the model."""
    side = next((s for name, s in SIDES.items() if record.model.startswith(name)), DEFAULT_SIDE)
    return int(record.input.get("width", side)), int(record.input.get("height", side))


def prompt_of(record: Record) -> str:
    """Return the prompt that the pictures show."""
    prompt = record.input.get("prompt", record.input.get("prompt_start", ""))
    return prompt if isinstance(prompt, str) else ""


def timestamp(instant: float | None, skew: float = 0.0) -> str | None:
    """Return a time plus ``skew`` seconds as RFC 3339 with microseconds, in UTC."""
    if instant is None:
        return None
    moment = datetime.fromtimestamp(instant + skew, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='microseconds')}Z"


def poisoned(body: dict[str, Any], place: str | None) -> dict[str, Any]:
    """Return a prediction's body with poison in one place of :data:`faults.POISONED`.

    Empty parts stay empty: a running prediction has no output and no metrics.
    """
    if place is None:
        return body
    names = POISONS if place == "everywhere" else POISONS.keys() & {place}
    return {**body, **{name: POISONS[name](body[name]) for name in names if body[name]}}


def logs_of(seed: int, steps: int, seconds: float, fraction: float) -> str:
    """Return the logs after ``fraction`` (0 to 1) of ``steps`` that take ``seconds``."""
    return f"Using seed: {seed}\n{_bars(steps, seconds, int(steps * fraction))}"


def steps_of(given: dict[str, Any]) -> int:
    """Return the number of steps in an input, 1 to 1000; 50 without one."""
    steps = given.get("num_inference_steps", given.get("steps", 50))
    return min(max(steps, 1), 1000) if isinstance(steps, int) else 50


def bar(done: int, steps: int, seconds: float) -> str:
    """Draw one bar, such as ``50%|█████     | 25/50 [00:04<00:04,  5.05it/s]``."""
    if done == 0:
        return f"  0%|{' ' * BAR_WIDTH}| 0/{steps} [00:00<?, ?it/s]"
    part, rate = done / steps, steps / max(seconds, 0.001)
    full, eighth = divmod(int(part * BAR_WIDTH * 8), 8)
    partial = " ▏▎▍▌▋▊▉"[eighth] if full < BAR_WIDTH else ""
    blocks = f"{'█' * full}{partial}".ljust(BAR_WIDTH)
    past, left = (f"{int(s) // 60:02d}:{int(s) % 60:02d}" for s in (done / rate, (steps - done) / rate))
    return f"{part:4.0%}|{blocks}| {done}/{steps} [{past}<{left}, {rate:5.2f}it/s]"


# Cached, since thousands of clients read the same logs of 50 bars.
@lru_cache(maxsize=1024)
def _bars(steps: int, seconds: float, done: int) -> str:
    shown = [*range(0, done, max(1, steps // MAX_BARS)), done]
    # Each bar begins with a carriage return, as on a terminal, so the last one is current.
    return "".join(f"\r{bar(step, steps, seconds)}" for step in shown)


def _output(record: Record, phase: Phase, base_url: str) -> Any:
    if phase.status is not Status.SUCCEEDED or phase.expired:
        return None
    if record.faults.output is not UNSET:
        return record.faults.output
    if record.model in OUTPUTS:
        return output_of(record.model, f"{base_url}/files/{record.id}")
    pictures = pictures_of(record, phase, base_url)
    return pictures[0] if record.model.startswith(ONE_FILE) else pictures


def _status_word(record: Record, status: Status) -> str:
    words = record.faults.status_word
    if isinstance(words, str):
        words = {Status.SUCCEEDED: words}
    return (words or {}).get(status.value, status.value)


def _metrics(record: Record, phase: Phase) -> dict[str, Any]:
    if phase.completed_at is None:
        return {}
    metrics: dict[str, Any] = {"total_time": round(phase.completed_at - record.created_at, 6)}
    if phase.started_at is not None:
        metrics["predict_time"] = round(phase.completed_at - phase.started_at, 6)
    if phase.status is Status.SUCCEEDED and record.faults.output is UNSET and record.model not in OUTPUTS:
        metrics["image_count"] = _count_of(record)
    return metrics


def _count_of(record: Record) -> int:
    return int(record.input.get("num_outputs", 1))
