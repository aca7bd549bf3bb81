"""What of a prediction's JSON fits into XCom: bounded copies, with notes of what is left out.

The metadata database is no place for pictures or books, and some of this runs on an event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_quickrouter.api.storable import storable_text

LEFT_OUT = "[left out of XCom: "
"""How a note begins that stands for what is too large for XCom."""

MAX_TEXT = 16_384
"""Characters of one string in the manifest; a longer one is replaced by a note of its size."""

MAX_JSON = 65_536
"""Characters of the manifest's output, or metrics, as JSON; beyond that one note stands there."""

MAX_VALUES = MAX_JSON // 2
"""Values in the output, or metrics, which are not even looked at if there are more."""

MAX_DEPTH = 20
"""Levels of lists and objects in the manifest's output; what lies deeper is left out."""


def many(value: Any) -> bool:
    """Tell whether JSON has more than ``MAX_VALUES`` values; quick, since an event loop may ask."""
    found, waiting = 0, [value]
    while waiting and found <= MAX_VALUES:
        value = waiting.pop()
        found += 1
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found > MAX_VALUES


def small(value: Any, depth: int = 0) -> Any:
    """Copy JSON, with a note in place of each ``data:`` URI and of what is too long or too deep."""
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return f"{LEFT_OUT}more than {MAX_DEPTH} levels]"
    if isinstance(value, dict):
        return {small(str(key)): small(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [small(item, depth + 1) for item in value]
    return _small_text(value) if isinstance(value, str) else value


def _small_text(text: str) -> str:
    if text[:40].lstrip().casefold().startswith("data:"):
        return note(f"data: URI of {len(text)}")
    return storable_text(text) if len(text) <= MAX_TEXT else note(f"text of {len(text)}")


def note(what: str) -> str:
    """Say what is left out, and how many characters it has."""
    return f"{LEFT_OUT}{what} characters]"
