"""What PostgreSQL, msgpack and UTF-8 accept."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from tests.faults.running import TaskInstance

INTEGERS = range(-(2**63), 2**63)


def why_not_storable(value: Any) -> str | None:
    """Return why JSONB, msgpack or UTF-8 refuse a value; None if all of them accept it."""
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list | tuple):
        return next(filter(None, map(why_not_storable, value)), None)
    if isinstance(value, str):
        return _why_not_string(value)
    if isinstance(value, int | float):
        return _why_not_number(value)
    return None if value is None else f"a {type(value).__name__}"


def _why_not_string(value: str) -> str | None:
    if "\0" in value:
        return "a NUL"
    return "an unpaired surrogate" if re.search("[\ud800-\udfff]", value) else None


def _why_not_number(value: float) -> str | None:
    if isinstance(value, int):
        return None if value in INTEGERS else f"an integer of {value.bit_length()} bits"
    return None if math.isfinite(value) else f"the number {value!r}"


def check_storable(value: Any) -> None:
    """Fail unless the encoders of Airflow's way to the database accept and preserve a value."""
    assert why_not_storable(value) is None
    # A triggerer sends events to its supervisor as msgpack.
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text) == value
    json.dumps(value, ensure_ascii=False).encode()


def unstorable_parts(ti: TaskInstance, error: BaseException | None) -> dict[str, str]:
    """Return which parts of what an attempt leaves cannot be stored, and why."""
    parts = {
        "XComs": ti.xcoms,
        "events": ti.events,
        "next_kwargs": [deferral["next_kwargs"] for deferral in ti.deferrals],
        "trigger_kwargs": [deferral["trigger_kwargs"] for deferral in ti.deferrals],
        "task state": [json.loads(value) for value in ti.store.values.values()],
        "error": str(error or ""),
    }
    return {name: why for name, value in parts.items() if (why := why_not_storable(value))}
