"""The API's protocol without a client: a verb becomes a request, a response becomes a value.

Every path is built here from checked, quoted parts; URLs in responses are never followed.
``(status, headers, body)`` becomes a :class:`Prediction` or one of the typed errors. Error bodies
come in six shapes (Replicate's, the gateway's, flat ones, plain text, HTML, nothing), some of them
under HTTP 200.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from airflow_provider_quickrouter.api.attachments import NOTHING
from airflow_provider_quickrouter.api.errors import (
    SHORTEST_SECRET,
    APIError,
    AuthenticationError,
    ConnectionLostError,
    InvalidInputError,
    InvalidRequestError,
    NoChannelError,
    NotConnectedError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    RedirectError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.inputs import check_input
from airflow_provider_quickrouter.api.prediction import Prediction, reason_in
from airflow_provider_quickrouter.api.references import check_reference
from airflow_provider_quickrouter.api.storable import parse_json, storable_string

# Characters of the API's message that an error carries.
MAX_MESSAGE = 1_000
# Characters of a machine code that are looked at.
_MAX_CODE = 100
# Bytes of a body that is not JSON which are looked at.
_MAX_PAGE = 4_096
# Seconds; the longest pause that a server can name.
_MAX_RETRY_AFTER = 86_400.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_QUOTA_CODE = r"insufficient.?(user.?)?quota|pre_consume_token_quota|quota_not_enough"
_QUOTA_TEXT = (
    r"(?i)insufficient.{0,20}(quota|balance|credit)|(quota|balance|credits?) (is|are) not enough|"
    r"not enough (quota|balance|credit)|额度|余额"
)
_NO_CHANNEL = (
    r"(?i)model_not_found|get_channel_failed|model_price_error|no (available )?channel|"
    r"无可用渠道|可用渠道不存在"
)
# The code of a gateway for an unknown id, with status 400.
_UNKNOWN_TASK = r"\btask_not_exist\b"
# Fields of an error body that may hold the reason, in the order in which they are shown.
_REASONS = ("title", "detail", "message", "description", "msg", "fail_reason", "errors")

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
    # Cloudflare could not reach the gateway: it is down, has no route, or its certificate is not
    # accepted. Nothing was accepted. After 520, 522 and 524 that is uncertain.
    **dict.fromkeys((521, 523, 525, 526, 530), NotConnectedError),
}
_BY_HUNDREDS: Mapping[int, type[APIError]] = {3: RedirectError, 4: InvalidRequestError}


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``path`` follows the connection's path prefix if ``prefixed``."""

    method: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)  # has prompts and presigned URLs
    headers: Mapping[str, str] = field(default_factory=dict)
    prefixed: bool = True
    hold: float = 0.0  # seconds that the server may hold its response; the read timeout grows by them
    signed: Mapping[str, str] = field(default_factory=dict, repr=False)  # see InputFiles

    @property
    def creates(self) -> bool:
        """Whether this request costs money when accepted."""
        return self.method == "POST" and self.path.endswith("predictions")

    @property
    def reference(self) -> str:
        """The version or model of a create request, or ``deployments/owner/name``."""
        version = (self.body or {}).get("version")
        return version or self.path.removeprefix("models/").removesuffix("/predictions")


@dataclass(frozen=True, slots=True)
class Response:
    """A response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def without(self, secret: str) -> Response:
        """Return it with ``***`` where its body has the key, as ``APIError.without`` does."""
        if len(secret) < SHORTEST_SECRET or secret.encode() not in self.body:
            return self
        return replace(self, body=self.body.replace(secret.encode(), b"***"))


def create(
    input: Any,
    *,
    version: str | None = None,
    model: str | None = None,
    deployment: str | None = None,
    cancel_after: float | timedelta | None = None,
    wait: int | None = None,
) -> Request:
    """Create a prediction, by ``version``, ``model`` or ``deployment`` (exactly one of them).

    :param input: dict or model of ``api.models``; checked against a known model's rules.
    :param cancel_after: the server itself ends the prediction then; seconds, at least 5.
    :param wait: seconds, 1 to 60, that the server may hold its response for the result.
    :raises InvalidInputError: names the field and the remedy; nothing is sent.
    """
    reference = check_reference(version=version, model=model, deployment=deployment)
    # An unknown root key is refused with 422, so the name of a model goes into the path alone.
    body: dict[str, Any] = {"version": version} if version else {}
    body["input"] = check_input(input, reference)
    path = "predictions" if version else f"{reference}/predictions"
    headers = check_cancel_after(cancel_after) | check_wait(wait)
    return Request("POST", f"models/{path}" if model else path, body, headers, hold=float(wait or 0))


def get(prediction_id: str) -> Request:
    """Poll one prediction. Free, and safe to repeat."""
    return Request("GET", f"predictions/{check_id(prediction_id)}")


def cancel(prediction_id: str) -> Request:
    """Cancel one prediction. Safe to repeat; a gateway may not have the route."""
    return Request("POST", f"predictions/{check_id(prediction_id)}/cancel")


def page(cursor: str | None = None) -> Request:
    """List a hundred predictions, newest first; a gateway may not have the route.

    :param cursor: the start of the page, from :func:`read_page`; None for the newest.
    """
    query = f"?cursor={quote(cursor, safe='')}" if cursor else ""
    return Request("GET", f"predictions{query}")


def probe() -> Request:
    """Make a free request that needs a good key and changes nothing."""
    return Request("GET", "v1/models", prefixed=False)


def check_id(prediction_id: object) -> str:
    """Return the id, quoted for a path, if it looks like one."""
    good = isinstance(prediction_id, str) and _ID.fullmatch(prediction_id)
    if not good or prediction_id in NOTHING:
        raise InvalidInputError(
            f"prediction_id: {prediction_id!r} does not look like an id (letters, digits, '-' and '_', up "
            "to 128). Pass the value that the submitting task returned; a template of it renders to None "
            "if that task was skipped."
        )
    return quote(str(prediction_id), safe="")


def check_cancel_after(limit: float | timedelta | None) -> dict[str, str]:
    """Return the header that limits a prediction's time on the server, if a limit was given."""
    if limit is None:
        return {}
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else limit
    if not isinstance(seconds, int | float) or not 5 <= seconds < math.inf:
        raise InvalidInputError(
            f"cancel_after: must be a number of seconds from 5 on or a timedelta, got {limit!r}."
        )
    return {"Cancel-After": f"{int(seconds)}s"}


def check_wait(seconds: int | None, limit: float = 60.0) -> dict[str, str]:
    """Return the header that lets the server hold its response for the result, if it may.

    :param limit: seconds of the task: a response that arrives later would be lost, but paid for.
    """
    if seconds is None:
        return {}
    most = min(60, math.floor(limit))
    if type(seconds) is not int or not 1 <= seconds <= most:
        many = f"a whole number of seconds from 1 to {most}, and within the limits of the task"
        raise InvalidInputError(f"wait: must be {many}, got {seconds!r}.")
    return {"Prefer": f"wait={seconds}"}


def read_prediction(request: Request, response: Response, now: float) -> Prediction:
    """Read the response to any request about one prediction.

    :param now: epoch seconds, for ``Retry-After`` given as a date.
    :raises APIError: one of the typed errors. Where the request was a create that may have
        been accepted, it is :class:`UncertainCreateError`.
    """
    body = parse_json(response.body)
    named = isinstance(body, dict) and bool(body.get("id"))
    try:
        if not (named and _accepted(response, body)):
            raise _error(response, body, now)
        prediction = Prediction.from_json(body)
        # A broken cache may return another prediction than the requested one.
        expected = prediction.id if request.creates else request.path.split("/")[1]
        if quote(prediction.id, safe="") != expected or not _ID.fullmatch(prediction.id):
            text = f"the response is about another prediction, {prediction.id[:40]!r}"
            raise UpstreamError(text, status=response.status)
    except APIError as error:
        # A bad response may hide a prediction that was accepted and is billed.
        may_run = isinstance(error, UpstreamError) or (named and response.status < 300)
        raise (uncertain(error) if request.creates and may_run else error) from None
    return prediction


def read_page(response: Response, now: float) -> tuple[list[Prediction], str | None]:
    """Read the response to :func:`page`: its predictions, and the cursor of the next, older page.

    The URL of the next page is not followed; only its cursor is taken.

    :raises APIError: one of the typed errors; ``UpstreamError`` also if it is not a page.
    """
    found, cursor = read_entries(response, now)
    return [Prediction.from_json(entry) for entry in found], cursor


def read_entries(response: Response, now: float) -> tuple[list[dict[str, Any]], str | None]:
    """Do what :func:`read_page` does, but return the JSON of each prediction, with its input."""
    body = read_object(response, now)
    results, url = body.get("results"), body.get("next")
    if not isinstance(results, list):
        raise UpstreamError("the response is not a page of predictions", status=response.status)
    found = [entry for entry in results if isinstance(entry, dict) and "id" in entry]
    # The URL names Replicate's host, also in a gateway's response: the key must not go there.
    cursor: str | None = None
    with suppress(KeyError, ValueError):
        cursor = parse_qs(urlsplit(url).query)["cursor"][0] if isinstance(url, str) else None
    return found, cursor


def read_object(response: Response, now: float) -> dict[str, Any]:
    """Return the JSON object of a response that is not an error; else raise the typed error."""
    body = parse_json(response.body)
    if not _accepted(response, body):
        raise _error(response, body, now)
    return dict(body)


def uncertain(error: APIError) -> UncertainCreateError:
    """Return the error of a create request that may have been accepted in spite of ``error``."""
    message = f"the response to the create request was lost: {error.message}"
    return UncertainCreateError(message, status=error.status, request_id=error.request_id)


def cut_off_by_timeout() -> UncertainCreateError:
    """Make the error of a create that ``execution_timeout`` ended before its response."""
    return uncertain(ConnectionLostError("the task's execution_timeout came before it"))


def retry_after(headers: Mapping[str, str], body: Any, message: str, now: float) -> float | None:
    """Return the pause that the server names in header, body or message, in seconds, else None."""
    in_body = body.get("retry_after") if isinstance(body, dict) else None
    in_message = re.search(_WAIT_TEXT, message)
    for value in (headers.get("retry-after", "").strip(), in_body, in_message and in_message[1]):
        seconds = _seconds(value, now)
        if seconds is not None:
            return min(seconds, _MAX_RETRY_AFTER)
    return None


def _accepted(response: Response, body: Any) -> bool:
    """Whether status and body agree that this is not an error, under HTTP 200 or not."""
    # Some gateways report errors with HTTP 200 and ``success: false`` or a ``code``.
    good = 200 <= response.status < 300 and isinstance(body, dict)
    return good and body.get("success") is not False and not _status_in(body)


def _status_in(body: Any) -> int:
    """Return the HTTP status that an error under HTTP 200 carries in its body, or 0."""
    code = str(body.get("code", body.get("status"))) if isinstance(body, dict) else ""
    return int(code) if re.fullmatch(r"[45]\d\d", code) else 0


def _error(response: Response, body: Any, now: float) -> APIError:
    """Make the typed error of a bad response; ``body`` is parsed, None if it is not JSON."""
    message, code = _complaint(response.body, body)
    status, headers = _status_in(body) or response.status, response.headers
    kind = _BY_STATUS.get(status, _BY_HUNDREDS.get(status // 100, UpstreamError))
    # Machine codes come first: they are more exact than the status, which a relay may have made up.
    if re.search(_QUOTA_CODE, code) or (status == 403 and re.search(_QUOTA_TEXT, message)):
        kind = QuotaError
    elif status in (200, 201, 202, 500, 503) and re.search(_NO_CHANNEL, code + message):
        kind = NoChannelError
    elif status == HTTPStatus.BAD_REQUEST and re.search(_UNKNOWN_TASK, code):
        kind = NotFoundError
    return kind(
        message,
        status=response.status,
        request_id=headers.get("x-oneapi-request-id", headers.get("x-request-id", "")),
        retry_after=retry_after(headers, body, message, now),
        from_api=isinstance(body, dict),
    )


def _complaint(raw: bytes, body: Any) -> tuple[str, str]:
    """Return an error body's message for people and its code for machines (lower case, or "").

    It may be of any size, so it is cut before anything searches in it.
    """
    if not isinstance(body, dict):
        # A page of something on the way, or nothing.
        text = storable_string(raw[:_MAX_PAGE].decode("utf-8", "replace").strip())
        return body[:MAX_MESSAGE] if isinstance(body, str) and body else _page(text), ""
    error = body.get("error")
    source = error if isinstance(error, dict) else body
    reasons = [error if isinstance(error, str | list) else "", *map(source.get, _REASONS)]
    invalid, fields = source.get("invalid_fields"), ""
    if isinstance(invalid, dict):
        fields = ", ".join(f"{field}: {reason}" for field, reason in invalid.items())
    elif isinstance(invalid, list):
        fields = ", ".join(map(str, invalid))
    texts = dict.fromkeys(text[:MAX_MESSAGE] for text in (*map(reason_in, reasons), fields) if text)
    codes = (str(source.get(name) or "")[:_MAX_CODE] for name in ("code", "type"))
    code = " ".join(codes).strip().casefold()
    message = ": ".join(texts) or f"no reason given (code {code or 'absent'})"
    return message[:MAX_MESSAGE], code


def _page(text: str) -> str:
    """Describe a body that is not JSON."""
    if not text:
        return "an empty body"
    if text.startswith("<"):
        title = re.search(_TITLE, text)
        return f"an HTML page instead of JSON ({title[1].strip() if title else 'without a title'})"
    return f"a body that is not a JSON object: {text[:200]!r}"


def _seconds(value: Any, now: float) -> float | None:
    """Read a number of seconds, or an HTTP date seen from ``now``; None if it is neither."""
    if isinstance(value, bool):
        return None
    with suppress(TypeError, ValueError, OverflowError):
        seconds = float(value)
        return seconds if seconds >= 0 else None
    with suppress(TypeError, ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(str(value)).timestamp() - now)
    return None
