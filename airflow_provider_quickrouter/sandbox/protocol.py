"""A request to the API, read whole, and the errors that the gateway and Replicate answer with."""

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
    """Whose errors a route speaks: the gateway's under its prefix, Replicate's under ``/v1``."""

    GATEWAY = "gateway"
    REPLICATE = "replicate"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``headers`` have lower-case names; ``body`` is its JSON, ``None`` without any.

    ``shown_headers`` are the headers without the key, for the journal. ``parts`` are the path's
    segments behind the API's prefix, or the whole path where there is none, so that no route is
    found without its prefix.
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
    path, method = scope["path"], scope["method"]
    dialect, parts = Dialect.GATEWAY, (path,)
    if path == MODELS_OF_GATEWAY:  # the one route of the gateway that looks like Replicate's
        parts = ("models",)
    elif path.startswith(GATEWAY_PREFIX):
        parts = tuple(path[len(GATEWAY_PREFIX) :].split("/"))
    elif path.startswith(REPLICATE_PREFIX):
        dialect, parts = Dialect.REPLICATE, tuple(path[len(REPLICATE_PREFIX) :].split("/"))
    query = scope["query_string"].decode("latin-1")
    headers = _read_headers(tuple(scope["headers"]))
    body = None if method == "GET" else await read_json(receive)
    return Call(method, path, query, *headers, body, dialect, parts)


# A client sends the same headers with each status request: they are read once, and the journal's
# entries share them.
@lru_cache(maxsize=256)
def _read_headers(raw: tuple[tuple[bytes, bytes], ...]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return a request's headers, and the same without the key."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    hidden = {"authorization": "Bearer ***"} if "authorization" in headers else {}
    return headers, headers | hidden


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
        a thousand brackets), so that a response which shows it never fails.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


class LenientJSONResponse(JSONResponse):
    """JSON that may hold half a surrogate pair, as an escape, and NaN."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a surrogate pair has no UTF-8, only an escape
            return json.dumps(content, separators=(",", ":")).encode()


def gateway_error(status: int, message: str, code: str = "") -> Response:
    """Return an error of the gateway itself."""
    error = {"message": message, "type": "new_api_error", "param": "", "code": code}
    return JSONResponse({"error": error}, status)


def replicate_error(status: int, title: str, detail: str, **more: Any) -> Response:
    """Return an error of Replicate, which the gateway passes on as it is."""
    return JSONResponse({"title": title, "detail": detail, "status": status, **more}, status)


def error(dialect: Dialect, status: int, title: str, detail: str) -> Response:
    """Return an error in the dialect of the route."""
    if dialect is Dialect.GATEWAY:
        return gateway_error(status, detail)
    return replicate_error(status, title, detail)


def unauthorised(dialect: Dialect) -> Response:
    """Return 401, for no key or a wrong one."""
    return error(dialect, 401, "Unauthenticated", "Invalid token")


def not_found(dialect: Dialect) -> Response:
    """Return 404 for an id that is not known (or not yet)."""
    return error(dialect, 404, "Not found", "The requested resource could not be found.")


def bad_request(message: str) -> Response:
    """Return 400 for what the sandbox itself cannot understand."""
    return gateway_error(400, message, "bad_request")


def html_page(status: int) -> Response:
    """Return an HTML page, as a proxy in front of the gateway does."""
    phrase = responses.get(status, "Unknown")
    page = f"<html><head><title>{status} {escape(phrase)}</title></head>"
    return HTMLResponse(f"{page}<body><center><h1>{status} {phrase}</h1></center></body></html>\n", status)


def limited(dialect: Dialect, seconds: int) -> Response:
    """Return 429 for a limit that is used up; the wait is ``seconds``, in the header as well."""
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


# Responses that say nothing about a prediction, by their names in `faults.ODD_RESPONSES`. The
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
