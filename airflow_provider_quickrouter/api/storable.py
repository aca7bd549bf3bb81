"""Make what comes from outside storable: the one place that cleans strings and numbers.

PostgreSQL's JSONB, where Airflow stores XComs and the state of deferred tasks, refuses U+0000,
unpaired surrogates, NaN and Infinity. The msgpack between a triggerer and its supervisor refuses
integers beyond 64 bits. Either error ends the triggerer process, and with it every deferred task of
the installation. So bodies, header values and messages pass through here where they enter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Replaces a character that cannot be stored.
REPLACEMENT = "\ufffd"
# Characters of a header's value that are stored.
LONGEST_HEADER = 1_000

_REFUSED = re.compile("[\0\ud800-\udfff]")
_MAY_BE_REFUSED = re.compile(rb"\0|\\u(?:0000|[dD][89a-fA-F])")
_SIGNED_QUERY = re.compile(r"(?i)\?[^\s?\"'<>\\]*?\b(?:signature|sig)(?:=|%3D)[^\s?\"'<>\\]*")
_INTEGERS = range(-(2**63), 2**63)
# Digits that fit into 64 bits whatever they are.
_SAFE_DIGITS = 18


def storable_string(text: str, limit: int | None = None) -> str:
    """Return a string without NUL and unpaired surrogates.

    :param limit: the most characters to return; None returns all.
    """
    return _REFUSED.sub(REPLACEMENT, text if limit is None else text[:limit])


def mask_signatures(text: str) -> str:
    """Return a string without the queries of presigned URLs, which APIs and models quote in errors."""
    return _SIGNED_QUERY.sub("?***", text)


def storable(value: Any) -> Any:
    """Return a copy of JSON that PostgreSQL and msgpack accept.

    Strings and keys lose NUL and unpaired surrogates, NaN and Infinity become None, and an integer
    beyond 64 bits becomes the string of its digits.
    """
    if isinstance(value, str):
        return storable_string(value)
    if isinstance(value, dict):
        return {storable_string(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and value not in _INTEGERS:
        return _digits(value)
    return value


def storable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with names in lower case; HTTP clients decode invalid bytes to surrogates."""
    return {name.lower(): storable_string(value, LONGEST_HEADER) for name, value in headers.items()}


def parse_json(body: bytes) -> Any:
    """Parse JSON into storable values; None for what is not JSON.

    Bytes that are not UTF-8 and control characters within strings are tolerated, since a body that
    cannot be read is not about the prediction.
    """
    try:
        parsed = _DECODER.decode(body.decode("utf-8-sig", "replace"))
        # A search of the bytes is much cheaper than a copy of the whole, and nearly always enough.
        return storable(parsed) if _MAY_BE_REFUSED.search(body) else parsed
    except (ValueError, RecursionError):
        return None


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to write more than 4,300 digits
        return f"an integer of {value.bit_length()} bits"


def _integer(digits: str) -> int | str:
    if len(digits) <= _SAFE_DIGITS or (len(digits) <= 20 and int(digits) in _INTEGERS):
        return int(digits)
    return digits


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


_DECODER = json.JSONDecoder(
    parse_constant=lambda _: None, parse_float=_finite, parse_int=_integer, strict=False
)
