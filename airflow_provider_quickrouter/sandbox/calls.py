"""A request to the API, read whole: what the handlers and the faults look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.types import Receive, Scope

from airflow_provider_quickrouter.sandbox.answers import Dialect

GATEWAY_PREFIX = "/replicate/v1/"
REPLICATE_PREFIX = "/v1/"
MODELS_OF_GATEWAY = "/v1/models"
HIDDEN_KEY = "Bearer ***"
CREATE, GET, CANCEL, LIST, OTHER = "create", "get", "cancel", "list", "other"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``headers`` have lower-case names; ``body`` is its JSON, ``None`` without any.

    ``shown_headers`` are the headers without the key, for the journal.

    ``parts`` are the path's segments behind the API's prefix, or the whole path where there is
    none, so that no route is found without its prefix.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    shown_headers: Mapping[str, str]
    body: Any
    dialect: Dialect
    parts: tuple[str, ...]

    @property
    def base_url(self) -> str:
        """The address under which the client reached this server."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    @property
    def prediction_id(self) -> str | None:
        """The id that the path names, if it names one."""
        named = len(self.parts) in (2, 3) and self.parts[0] == "predictions"
        return self.parts[1] if named else None

    @property
    def kind(self) -> str:
        """What it asks for: ``create``, ``get``, ``cancel``, ``list`` or ``other``.

        The last two are about no prediction in particular, and so without chaos.
        """
        match (self.method, *self.parts):
            case ("POST", "predictions") | ("POST", "models", _, _, "predictions"):
                return CREATE
            case ("GET", "predictions", _):
                return GET
            case ("GET", "predictions"):
                return LIST
            case ("POST", "predictions", _, "cancel"):
                return CANCEL
        return OTHER


async def read_call(scope: Scope, receive: Receive) -> Call:
    """Read a request."""
    path = scope["path"]
    dialect, parts = split_path(path)
    headers, shown_headers = _read_headers(tuple(scope["headers"]))
    return Call(
        method=scope["method"],
        path=path,
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        shown_headers=shown_headers,
        body=None if scope["method"] == "GET" else await read_json(receive),
        dialect=dialect,
        parts=parts,
    )


@lru_cache(maxsize=256)
def _read_headers(
    raw: tuple[tuple[bytes, bytes], ...],
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return a request's headers, and the same without the key.

    A client sends the same ones with each status request: they are read once, and the journal's
    entries share them.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    return headers, without_key(headers)


def without_key(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with the value of ``authorization`` hidden."""
    if "authorization" not in headers:
        return headers
    return {**headers, "authorization": HIDDEN_KEY}


def split_path(path: str) -> tuple[Dialect, tuple[str, ...]]:
    """Return whose errors a path speaks, and its segments behind the prefix."""
    if path.startswith(GATEWAY_PREFIX):
        return Dialect.GATEWAY, tuple(path[len(GATEWAY_PREFIX) :].split("/"))
    if path.startswith(REPLICATE_PREFIX) and path != MODELS_OF_GATEWAY:
        return Dialect.REPLICATE, tuple(path[len(REPLICATE_PREFIX) :].split("/"))
    return Dialect.GATEWAY, ("models",) if path == MODELS_OF_GATEWAY else (path,)


async def read_json(receive: Receive) -> Any:
    """Read a request's body; ``None`` when it is empty or not JSON."""
    chunks, more = [], True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    try:
        return parse_json(b"".join(chunks))
    except ValueError:
        return None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    :raises ValueError: also for what Python reads but cannot send again (``NaN``, half characters,
        a thousand brackets), so that an answer which shows it never fails.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value
