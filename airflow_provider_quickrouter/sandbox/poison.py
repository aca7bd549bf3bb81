"""Values that many databases and encoders refuse, put into a prediction's body and headers."""

from __future__ import annotations

import math
from typing import Any

TEXT = "poison \x00 \ud83d"
"""NUL and the first half of a surrogate pair; JSON carries both as escapes."""

BEYOND_64_BITS = 10**30
HEADER_SUFFIX = "-\xff\xfe"
"""Sent as latin-1, these are two bytes that no UTF-8 text has."""

EVERYWHERE = "everywhere"


def poisoned(body: dict[str, Any], place: str | None) -> dict[str, Any]:
    """Return a prediction's body with poison in one place of :data:`faults.POISONED`.

    A part that is empty stays empty: an unfinished prediction has neither output nor metrics.
    """
    if place is None:
        return body
    names = POISONS if place == EVERYWHERE else POISONS.keys() & {place}
    return {**body, **{name: POISONS[name](body[name]) for name in names if body[name]}}


def poisons_header(place: str | None) -> bool:
    """Return whether the response's headers are poisoned, too."""
    return place in ("header", EVERYWHERE)


def _output(output: Any) -> list[Any]:
    return [*(output if isinstance(output, list) else [output]), TEXT]


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    return {**metrics, "text": TEXT, TEXT: 1, "beyond_64_bits": BEYOND_64_BITS, "nan": math.nan}


POISONS = {
    "output": _output,
    "error": lambda error: f"{error} {TEXT}",
    "logs": lambda logs: f"{logs}\n{TEXT}",
    "metrics": _metrics,
}
