"""Requests to the API, and the error responses of the gateway and of Replicate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from html import escape
from http.client import responses
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

GATEWAY_PREFIX = "/replicate/v1/"
REPLICATE_PREFIX = "/v1/"
MODELS_OF_GATEWAY = "/v1/models"
CREATE, GET, CANCEL, LIST, OTHER = "create", "get", "cancel", "list", "other"


class Dialect(Enum):
    """The form of a route's errors: the gateway's under its prefix, Replicate's under ``/v1``."""

    GATEWAY = "gateway"
    REPLICATE = "replicate"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``headers`` have lower-case names; ``body`` is its JSON, ``None`` without any.

    ``shown_headers`` are the headers without the key, for the journal. ``parts`` are the segments of
    the path after the API's prefix, or the whole path without a prefix, so that no route matches
    without its prefix.
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
        """The URL of this server, as the client uses it."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    @property
    def prediction_id(self) -> str | None:
        """The id in the path, if there is one."""
        named = len(self.parts) in (2, 3) and self.parts[0] == "predictions"
        return self.parts[1] if named else None

    @property
    def kind(self) -> str:
        """The kind of request: ``create``, ``get``, ``cancel``, ``list`` or ``other``.

        The last two do not concern a single prediction, so chaos does not apply.
        """
        match (self.method, *self.parts):
            case ("POST", "predictions") | ("POST", "models" | "deployments", _, _, "predictions"):
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
    path, method = scope["path"], scope["method"]
    dialect, parts = Dialect.GATEWAY, (path,)
    if path == MODELS_OF_GATEWAY:  # the only route of the gateway under Replicate's prefix
        parts = ("models",)
    elif path.startswith(GATEWAY_PREFIX):
        parts = tuple(path[len(GATEWAY_PREFIX) :].split("/"))
    elif path.startswith(REPLICATE_PREFIX):
        dialect, parts = Dialect.REPLICATE, tuple(path[len(REPLICATE_PREFIX) :].split("/"))
    query = scope["query_string"].decode("latin-1")
    headers = _read_headers(tuple(scope["headers"]))
    body = None if method == "GET" else await read_json(receive)
    return Call(method, path, query, *headers, body, dialect, parts)


# A client sends the same headers with each poll, so they are parsed once and shared by the journal's
# entries.
@lru_cache(maxsize=256)
def _read_headers(raw: tuple[tuple[bytes, bytes], ...]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return a request's headers, and the same without the key."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    hidden = {"authorization": "Bearer ***"} if "authorization" in headers else {}
    return headers, headers | hidden


async def read_json(receive: Receive) -> Any:
    """Read a request's body; ``None`` if it is empty or not JSON."""
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
    """Parse a JSON string.

    :raises ValueError: invalid JSON, or a value that Python cannot serialize again (``NaN``, half a
        surrogate pair, deep nesting), so that a response with it cannot fail.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


class LenientJSONResponse(JSONResponse):
    """JSON that may contain NaN and half a surrogate pair, as an escape."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be sent as an escape
            return json.dumps(content, separators=(",", ":")).encode()


def gateway_error(status: int, message: str, code: str = "") -> Response:
    """Return an error of the gateway itself."""
    error = {"message": message, "type": "new_api_error", "param": "", "code": code}
    return JSONResponse({"error": error}, status)


def replicate_error(status: int, title: str, detail: str, **more: Any) -> Response:
    """Return an error of Replicate, which the gateway passes on unchanged."""
    return JSONResponse({"title": title, "detail": detail, "status": status, **more}, status)


def error(dialect: Dialect, status: int, title: str, detail: str) -> Response:
    """Return an error in the form of the route."""
    if dialect is Dialect.GATEWAY:
        return gateway_error(status, detail)
    return replicate_error(status, title, detail)


def unauthorised(dialect: Dialect) -> Response:
    """Return 401 for a missing or invalid key."""
    return error(dialect, 401, "Unauthenticated", "Invalid token")


def not_found(dialect: Dialect) -> Response:
    """Return 404 for an unknown id."""
    return error(dialect, 404, "Not found", "The requested resource could not be found.")


def unknown_route(call: Call) -> Response:
    """Return 404 for a path that the API does not have."""
    return gateway_error(404, f"Invalid URL ({call.method} {call.path})")


def bad_request(message: str) -> Response:
    """Return 400 for an invalid request to the sandbox itself."""
    return gateway_error(400, message, "bad_request")


def html_page(status: int) -> Response:
    """Return an HTML page, as a proxy in front of the gateway does."""
    phrase = responses.get(status, "Unknown")
    page = f"<html><head><title>{status} {escape(phrase)}</title></head>"
    return HTMLResponse(f"{page}<body><center><h1>{status} {phrase}</h1></center></body></html>\n", status)


def limited(dialect: Dialect, seconds: int) -> Response:
    """Return 429 of a limit; body and header name the wait, ``seconds``."""
    detail = f"Request was throttled. Expected available in {seconds} second{'s' * (seconds != 1)}."
    response = error(dialect, 429, "Too many requests", detail)
    response.headers["Retry-After"] = str(seconds)
    return response


def rate_limited(form: str, seconds: float, now: float) -> Response:
    """Return 429 in one of :data:`faults.RATE_LIMITS`; the wait is ``seconds``."""
    if form == "bare":
        return gateway_error(429, "Current group upstream load is saturated, please try again later")
    detail = "Request was throttled."
    if form == "text":
        detail += f" Your rate limit resets in ~{seconds:g}s."
    in_body = {"retry_after": seconds} if form == "body" else {}
    response = replicate_error(429, "Too many requests", detail, **in_body)
    if form == "header":
        response.headers["Retry-After"] = str(math.ceil(seconds))
    elif form == "date":
        response.headers["Retry-After"] = formatdate(math.ceil(now + seconds), usegmt=True)
    return response


# Responses without information about a prediction, by their names in `faults.ODD_RESPONSES`. The
# challenge is the page of a firewall that checks the browser.
ODD_RESPONSES: dict[str, Callable[[Dialect], Response]] = {
    "unauthorized": unauthorised,
    "forbidden": lambda dialect: error(dialect, 403, "Forbidden", "You have no access to this"),
    "challenge_page": lambda _: HTMLResponse(
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
        "<body>Checking your browser before you continue.</body></html>\n",
        403,
    ),
    "not_found": not_found,
    "not_found_page": lambda _: html_page(404),
    "not_found_text": lambda _: PlainTextResponse("404 page not found\n", 404),
    "not_allowed_page": lambda _: html_page(405),
    "moved": lambda _: RedirectResponse("/login", 302),
}
