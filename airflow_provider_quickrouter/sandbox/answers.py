"""The bodies of errors, in the shapes that the gateway and Replicate give them.

Each function makes one answer; which one is due is decided elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum
from html import escape
from http import HTTPStatus
from typing import Any

from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)


class Dialect(Enum):
    """Whose errors a route speaks: the gateway's under its prefix, Replicate's under ``/v1``."""

    GATEWAY = "gateway"
    REPLICATE = "replicate"


class LenientJSONResponse(JSONResponse):
    """JSON that may hold half a surrogate pair, as an escape, and NaN."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        try:
            return _compact(content, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return _compact(content, ensure_ascii=True).encode()


def _compact(content: Any, *, ensure_ascii: bool) -> str:
    return json.dumps(content, ensure_ascii=ensure_ascii, separators=(",", ":"))


def gateway_error(status: int, message: str, code: str = "") -> Response:
    """Answer an error of the gateway itself."""
    error = {"message": message, "type": "new_api_error", "param": "", "code": code}
    return JSONResponse({"error": error}, status)


def replicate_error(status: int, title: str, detail: str, **more: Any) -> Response:
    """Answer an error of Replicate, which the gateway passes on as it is."""
    return JSONResponse({"title": title, "detail": detail, "status": status, **more}, status)


def error(dialect: Dialect, status: int, title: str, detail: str) -> Response:
    """Answer an error in the dialect of the route."""
    if dialect is Dialect.GATEWAY:
        return gateway_error(status, detail)
    return replicate_error(status, title, detail)


def unauthorised(dialect: Dialect) -> Response:
    """Answer 401, for no key or a wrong one."""
    return error(dialect, 401, "Unauthenticated", "Invalid token")


def not_found(dialect: Dialect) -> Response:
    """Answer 404 for an id that is not known (or not yet)."""
    return error(dialect, 404, "Not found", "The requested resource could not be found.")


def invalid_url(method: str, path: str) -> Response:
    """Answer 404 for a route that does not exist."""
    return gateway_error(404, f"Invalid URL ({method} {path})")


def bad_request(message: str) -> Response:
    """Answer 400 for what the sandbox itself cannot understand."""
    return gateway_error(400, message, "bad_request")


def html_page(status: int) -> Response:
    """Answer as a proxy in front of the gateway does, by an HTML page."""
    phrase = _phrase(status)
    page = f"<html><head><title>{status} {escape(phrase)}</title></head>"
    return HTMLResponse(
        f"{page}<body><center><h1>{status} {phrase}</h1></center></body></html>\n", status
    )


def challenge_page() -> Response:
    """Answer 403 with a firewall's page that checks the browser."""
    return HTMLResponse(
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
        "<body>Checking your browser before you continue.</body></html>\n",
        403,
    )


def odd_response(name: str, dialect: Dialect) -> Response:
    """Return a response that says nothing about a prediction; ``name`` is one of the faults'."""
    return ODD_RESPONSES[name](dialect)


def no_quota() -> Response:
    """Answer 403, for there is no money left."""
    return gateway_error(403, "User quota is not enough", "insufficient_user_quota")


def no_channel() -> Response:
    """Answer 503 for a model that no upstream offers: permanent, in spite of its status."""
    message = "No available channel for this model under group default (distributor)"
    return gateway_error(503, message, "model_not_found")


def dressed() -> Response:
    """Answer an error under HTTP 200."""
    return JSONResponse({"success": False, "message": "upstream error: do request failed"})


def limited(dialect: Dialect, seconds: int) -> Response:
    """Answer 429 for a limit that is used up; the wait is ``seconds``, in the header as well."""
    detail = f"Request was throttled. Expected available in {seconds} second{'s' * (seconds != 1)}."
    answer = error(dialect, 429, "Too many requests", detail)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def rate_limited(form: str, seconds: float, now: float) -> Response:
    """Answer 429 in one of its forms; the wait is ``seconds``."""
    return RATE_LIMIT_FORMS[form](seconds, now)


def _by_header(seconds: float, now: float) -> Response:
    answer = _throttled("Request was throttled.")
    answer.headers["Retry-After"] = str(math.ceil(seconds))
    return answer


def _by_date(seconds: float, now: float) -> Response:
    answer = _throttled("Request was throttled.")
    answer.headers["Retry-After"] = formatdate(math.ceil(now + seconds), usegmt=True)
    return answer


def _by_body(seconds: float, now: float) -> Response:
    return _throttled("Request was throttled.", retry_after=seconds)


def _by_text(seconds: float, now: float) -> Response:
    return _throttled(f"Request was throttled. Your rate limit resets in ~{seconds:g}s.")


def _bare(seconds: float, now: float) -> Response:
    return gateway_error(429, "Current group upstream load is saturated, please try again later")


def _throttled(detail: str, **more: Any) -> Response:
    return replicate_error(429, "Too many requests", detail, **more)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


RATE_LIMIT_FORMS: dict[str, Callable[[float, float], Response]] = {
    "header": _by_header,
    "date": _by_date,
    "body": _by_body,
    "text": _by_text,
    "bare": _bare,
}

ODD_RESPONSES: dict[str, Callable[[Dialect], Response]] = {
    "unauthorized": unauthorised,
    "forbidden": lambda dialect: error(dialect, 403, "Forbidden", "You have no access to this"),
    "challenge_page": lambda dialect: challenge_page(),
    "not_found": not_found,
    "not_found_page": lambda dialect: html_page(404),
    "not_found_text": lambda dialect: PlainTextResponse("404 page not found\n", 404),
    "not_allowed_page": lambda dialect: html_page(405),
    "moved": lambda dialect: RedirectResponse("/login", 302),
}
