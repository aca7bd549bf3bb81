"""Which error an answer is: status, headers and body in, one typed error out.

Bodies come in six shapes (Replicate's, the gateway's, flat ones, plain text, HTML, nothing),
some of them under HTTP 200. Each is first read into a :class:`Complaint`, then classified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    AuthenticationError,
    InvalidRequestError,
    NoChannelError,
    NotConnectedError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    RedirectError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.prediction import reason_in
from airflow_provider_quickrouter.api.storable import storable_text

MAX_MESSAGE = 1_000
"""Characters of the API's text that an error carries."""

MAX_CODE = 100
"""Characters of a machine code that are looked at."""

MAX_PAGE = 4_096
"""Bytes of a body that is no JSON which are looked at."""

MAX_RETRY_AFTER = 86_400.0
"""Seconds; a server that asks for more than a day is taken to mean a day."""

_QUOTA_CODE = r"insufficient.?(user.?)?quota|pre_consume_token_quota|quota_not_enough"
_QUOTA_TEXT = (
    r"(?i)insufficient.{0,20}(quota|balance|credit)|(quota|balance|credits?) (is|are) not enough|"
    r"not enough (quota|balance|credit)|额度|余额"
)
_NO_CHANNEL = (
    r"(?i)model_not_found|get_channel_failed|model_price_error|no (available )?channel|"
    r"无可用渠道|可用渠道不存在"
)
_UNKNOWN_TASK = r"\btask_not_exist\b"
"""How a gateway says "unknown id" with 400."""

_NOT_REACHED = (521, 523, 525, 526, 530)
"""Cloudflare's statuses for a gateway that it could not reach: it is down, has no route, or its
certificate is not accepted. Nothing was accepted. After 520, 522 and 524 that is uncertain."""
_SAID = ("title", "detail", "message", "description", "msg", "fail_reason", "errors")
"""Fields of an error body that may hold the reason, in the order in which they are shown."""

_TITLE = r"(?i)<(?:title|h1)[^<>]*>([^<]*)"
_WAIT_TEXT = (
    r"(?i)(?:resets? in|available in|retry (?:after|in)|try again in) ?~? ?"
    r"(\d{1,9}(?:\.\d{1,9})?) ?(?:s\b|sec)"
)
_BY_STATUS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: UpstreamError,
    410: NotFoundError,
    425: UpstreamError,
    429: RateLimitError,
    **dict.fromkeys(_NOT_REACHED, NotConnectedError),
}
_BY_HUNDREDS: Mapping[int, type[APIError]] = {3: RedirectError, 4: InvalidRequestError}


@dataclass(frozen=True)
class Complaint:
    """What an error body says: ``code`` for machines (lower case, may be ""), text for people."""

    message: str
    code: str = ""


def failure(status: int, headers: Mapping[str, str], raw: bytes, body: Any, now: float) -> APIError:
    """Make the typed error of a bad answer.

    :param headers: with lower-case names.
    :param raw: the body as it came; ``body`` is the same parsed, None if it is no JSON.
    :param now: epoch seconds, against which a ``Retry-After`` date is measured.
    """
    complaint = _complaint(raw, body)
    return _kind(dressed_status(body) or status, complaint)(
        complaint.message,
        status=status,
        request_id=headers.get("x-oneapi-request-id", headers.get("x-request-id", "")),
        retry_after=retry_after(headers, body, complaint.message, now),
        from_api=isinstance(body, dict),
    )


def retry_after(headers: Mapping[str, str], body: Any, message: str, now: float) -> float | None:
    """Seconds that the server asks to wait: from header, body or text; None if it names none."""
    header = headers.get("retry-after", "").strip()
    named = body.get("retry_after") if isinstance(body, dict) else None
    text = re.search(_WAIT_TEXT, message)
    for value in (header, named, text and text[1]):
        seconds = _seconds(value, now)
        if seconds is not None:
            return min(seconds, MAX_RETRY_AFTER)
    return None


def _kind(status: int, complaint: Complaint) -> type[APIError]:
    """Classify. Machine codes come first: they tell more than a status that a relay made up."""
    if re.search(_QUOTA_CODE, complaint.code):
        return QuotaError
    if status == HTTPStatus.FORBIDDEN and re.search(_QUOTA_TEXT, complaint.message):
        return QuotaError
    if status in (200, 201, 202, 500, 503) and re.search(
        _NO_CHANNEL, complaint.code + complaint.message
    ):
        return NoChannelError
    if status == HTTPStatus.BAD_REQUEST and re.search(_UNKNOWN_TASK, complaint.code):
        return NotFoundError
    fallback = _BY_HUNDREDS.get(status // 100, UpstreamError)
    return _BY_STATUS.get(status, fallback)


def dressed_status(body: Any) -> int:
    """HTTP status that a failure under HTTP 200 carries in its body, or 0."""
    code = str(body.get("code", body.get("status"))) if isinstance(body, dict) else ""
    return int(code) if re.fullmatch(r"[45]\d\d", code) else 0


def _complaint(raw: bytes, body: Any) -> Complaint:
    """Read what a body says, cut before anything searches in it: it may be of any size."""
    if isinstance(body, dict):
        error = body.get("error")
        return _from_object(error if isinstance(error, dict) else body, error)
    if isinstance(body, str) and body:
        return Complaint(body[:MAX_MESSAGE])
    return Complaint(_from_text(storable_text(raw[:MAX_PAGE].decode("utf-8", "replace").strip())))


def _from_object(source: Mapping[str, Any], error: Any) -> Complaint:
    said = [error if isinstance(error, str | list) else "", *map(source.get, _SAID)]
    texts = [*map(reason_in, said), _fields(source.get("invalid_fields"))]
    message = ": ".join(dict.fromkeys(text[:MAX_MESSAGE] for text in texts if text))
    codes = (str(source.get(name) or "")[:MAX_CODE] for name in ("code", "type"))
    code = " ".join(codes).strip().casefold()
    message = message or f"no reason given (code {code or 'absent'})"
    return Complaint(message[:MAX_MESSAGE], code)


def _fields(invalid: Any) -> str:
    """Replicate's ``invalid_fields`` in one line, whatever shape they have."""
    if isinstance(invalid, dict):
        return ", ".join(f"{field}: {reason}" for field, reason in invalid.items())
    return ", ".join(map(str, invalid)) if isinstance(invalid, list) else ""


def _from_text(text: str) -> str:
    if not text:
        return "an empty body"
    if text.startswith("<"):
        title = re.search(_TITLE, text)
        return f"an HTML page instead of JSON ({title[1].strip() if title else 'without a title'})"
    return f"a body that is no JSON object: {text[:200]!r}"


def _seconds(value: Any, now: float) -> float | None:
    """Read a number of seconds, or an HTTP date seen from ``now``; None if it is neither."""
    if isinstance(value, bool):
        return None
    try:
        seconds = float(value)
        return seconds if seconds >= 0 else None
    except (TypeError, ValueError, OverflowError):
        pass
    try:
        return max(0.0, parsedate_to_datetime(str(value)).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
