"""The API's protocol without a client: a verb becomes a request, an answer becomes a value.

Every path is built here from checked, quoted parts; URLs in answers are never followed.
``(status, headers, body)`` becomes a :class:`Prediction` or one of the typed errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from airflow_provider_quickrouter.api.errors import (
    SHORTEST_SECRET,
    APIError,
    ConnectionLostError,
    InvalidInputError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.failures import dressed_status, failure
from airflow_provider_quickrouter.api.inputs import check_input
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.storable import parse_json

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_MODEL = rf"{_NAME}/{_NAME}"
_VERSION = rf"(?:{_NAME}/{_NAME}(?::[0-9a-f]{{64}})?|[0-9a-f]{{64}})"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_RUNNING = re.compile(rb'"status"\s*:\s*"(starting|processing)"')
_MIN_CANCEL_AFTER = 5.0
_MAX_WAIT = 60


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``path`` stands behind the connection's path prefix if ``prefixed``."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    prefixed: bool = True
    hold: float = 0.0
    """Seconds that the server is asked to hold the answer; the read timeout grows by them."""

    @property
    def creates(self) -> bool:
        """Whether this request costs money when accepted."""
        return self.method == "POST" and self.path.endswith("predictions")

    @property
    def reference(self) -> str:
        """The version or model that a create asks for."""
        version = (self.body or {}).get("version")
        return version or self.path.removeprefix("models/").removesuffix("/predictions")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def without(self, secret: str) -> Answer:
        """Return this answer with ``***`` where its body has the key (see ``APIError.without``)."""
        if len(secret) < SHORTEST_SECRET or secret.encode() not in self.body:
            return self
        return replace(self, body=self.body.replace(secret.encode(), b"***"))


def create(
    input: Any,
    *,
    version: str | None = None,
    model: str | None = None,
    cancel_after: float | timedelta | None = None,
    wait: int | None = None,
) -> Request:
    """Create a prediction, by ``version`` or by ``model`` (exactly one of them).

    :param input: dict or model of ``api.models``; checked against a known model's rules.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``.
    :param model: ``owner/name``, for models that are called by name.
    :param cancel_after: the server itself ends the prediction then; seconds, at least 5.
    :param wait: seconds, 1 to 60, that the server may hold its answer for the result.
    :raises InvalidInputError: names the field and the remedy; nothing is sent.
    """
    reference = check_reference(version=version, model=model)
    body: dict[str, Any] = {"version": version} if version else {}
    body["input"] = check_input(input, reference)
    path = "predictions" if version else f"models/{reference}/predictions"
    headers = check_cancel_after(cancel_after) | _prefer(wait)
    return Request("POST", path, body, headers, hold=float(wait or 0))


def get(prediction_id: str) -> Request:
    """Ask for one prediction. Free, and safe to repeat."""
    return Request("GET", f"predictions/{check_id(prediction_id)}")


def cancel(prediction_id: str) -> Request:
    """Stop one prediction. Safe to repeat; a gateway may not have the route."""
    return Request("POST", f"predictions/{check_id(prediction_id)}/cancel")


def page(cursor: str | None = None) -> Request:
    """Ask for a hundred predictions, newest first; a gateway may not have the route.

    :param cursor: where the page begins, from :func:`read_page`; None for the newest.
    """
    query = f"?cursor={quote(cursor, safe='')}" if cursor else ""
    return Request("GET", f"predictions{query}")


def probe() -> Request:
    """Make a free request that needs a good key and changes nothing."""
    return Request("GET", "v1/models", prefixed=False)


def check_id(prediction_id: object) -> str:
    """Return the id, quoted for a path, if it looks like one."""
    if not isinstance(prediction_id, str) or not _ID.fullmatch(prediction_id):
        raise InvalidInputError(
            f"prediction_id: {prediction_id!r} does not look like an id (letters, digits, '-' and "
            "'_', up to 128). Pass the value that the submitting task returned."
        )
    return quote(prediction_id, safe="")


def check_reference(*, version: str | None, model: str | None) -> str:
    """Return the one reference that was given, if it is well formed."""
    if bool(version) == bool(model):
        raise InvalidInputError(
            "Give exactly one of version= (owner/name:<64 hex>, owner/name or <64 hex>) "
            "and model= (owner/name)."
        )
    for name, value in (("version", version), ("model", model)):
        if value is not None and not isinstance(value, str):
            raise InvalidInputError(f"{name}: {value!r} is no text.")
    if version and not re.fullmatch(_VERSION, version):
        raise InvalidInputError(f"version: {version!r} {_version_fault(version)}")
    if model and not re.fullmatch(_MODEL, model):
        raise InvalidInputError(
            f"model: {model!r} is not owner/name. A reference with a version id goes to version=."
        )
    return version or model or ""


def check_cancel_after(limit: float | timedelta | None) -> dict[str, str]:
    """Return the header that limits a prediction's life on the server, if any was asked for."""
    if limit is None:
        return {}
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else limit
    if not isinstance(seconds, int | float) or not _MIN_CANCEL_AFTER <= seconds < math.inf:
        raise InvalidInputError(
            f"cancel_after: {limit!r} is no number of seconds from 5 on, nor a timedelta."
        )
    return {"Cancel-After": f"{int(seconds)}s"}


def read_prediction(request: Request, answer: Answer, now: float) -> Prediction:
    """Read the answer to any request about one prediction.

    :param now: epoch seconds, for ``Retry-After`` given as a date.
    :raises APIError: one of the typed errors. Where the request was a create that may have
        been accepted, it is :class:`UncertainCreateError`.
    """
    body = parse_json(answer.body)
    try:
        if not (_accepted(answer, body) and body.get("id")):
            raise failure(answer.status, answer.headers, answer.body, body, now)
        return _matching(request, Prediction.from_json(body), answer.status)
    except APIError as error:
        raise (uncertain(error) if _may_run(request, answer, body, error) else error) from None


def plainly_still(prediction: Prediction, answer: Answer) -> bool:
    """Whether an answer, unparsed, says beyond doubt that a prediction is as it was seen to be.

    In JSON a quote within a text has a backslash, so each ``"status"`` found is a key.
    """
    body, word = answer.body, _RUNNING.search(answer.body)
    return (
        answer.status == HTTPStatus.OK
        and word is not None
        and word[1] == prediction.raw_status.encode()
        and body.count(b'"status"') == 1
        and f'"{prediction.id}"'.encode() in body
        and not any(key in body for key in (b'"success"', b'"code"'))
    )


def read_page(answer: Answer, now: float) -> tuple[list[Prediction], str | None]:
    """Read the answer to :func:`page`: its predictions, and the cursor of the next, older page.

    The URL of the next page is not followed; only its cursor is taken.

    :raises APIError: one of the typed errors; ``UpstreamError`` also for what is no page.
    """
    found, cursor = read_entries(answer, now)
    return [Prediction.from_json(entry) for entry in found], cursor


def read_entries(answer: Answer, now: float) -> tuple[list[dict[str, Any]], str | None]:
    """Do what :func:`read_page` does, but return what stands there, each input included."""
    body = parse_json(answer.body)
    if not _accepted(answer, body):
        raise failure(answer.status, answer.headers, answer.body, body, now)
    results = body.get("results")
    if not isinstance(results, list):
        raise UpstreamError("the answer is no page of predictions", status=answer.status)
    found = [entry for entry in results if isinstance(entry, dict) and "id" in entry]
    return found, _cursor(body.get("next"))


def read_probe(answer: Answer, now: float) -> None:
    """Return if the answer to :func:`probe` shows a good key; else raise the typed error."""
    body = parse_json(answer.body)
    if not _accepted(answer, body):
        raise failure(answer.status, answer.headers, answer.body, body, now)


def uncertain(error: APIError) -> UncertainCreateError:
    """Turn an error after which a create may have been accepted into the one that says so."""
    message = f"the answer to the create was lost ({error.message})"
    return UncertainCreateError(message, status=error.status, request_id=error.request_id)


def cut_off() -> UncertainCreateError:
    """Make the error of a create whose answer Airflow did not let the task wait for."""
    return uncertain(ConnectionLostError("the task's execution_timeout came before it"))


def dated(
    error: UncertainCreateError, request: Request, begun_at: float, until: float
) -> UncertainCreateError:
    """Add to the error what a person looks for in the console. Times are epoch seconds."""
    sought = f"look for {request.reference} created from {utc_time(begun_at)} to {utc_time(until)}"
    return error.between(begun_at, until, f"{error.message}; {sought}")


def _matching(request: Request, prediction: Prediction, status: int) -> Prediction:
    """Refuse the answer about another prediction, as a broken cache would give it."""
    asked = request.path.split("/")[1] if not request.creates else prediction.id
    if quote(prediction.id, safe="") != asked or not _ID.fullmatch(prediction.id):
        text = f"the answer is about {prediction.id[:40]!r}, which was not asked for"
        raise UpstreamError(text, status=status)
    return prediction


def _accepted(answer: Answer, body: Any) -> bool:
    """Whether status and body agree that this is no failure, dressed as HTTP 200 or not."""
    good = 200 <= answer.status < 300 and isinstance(body, dict)
    return good and body.get("success") is not False and not dressed_status(body)


def _may_run(request: Request, answer: Answer, body: Any, error: APIError) -> bool:
    """Whether a bad answer may hide a prediction that was accepted and is billed."""
    named = answer.status < 300 and isinstance(body, dict) and bool(body.get("id"))
    return request.creates and (named or isinstance(error, UpstreamError))


def _cursor(url: Any) -> str | None:
    try:
        return parse_qs(urlsplit(url).query)["cursor"][0] if isinstance(url, str) else None
    except (KeyError, ValueError):
        return None


def _version_fault(version: str) -> str:
    digits = version.rpartition(":")[2]
    if re.fullmatch(r"[0-9a-fA-F]{32,}", digits):
        return f"has a version id of {len(digits)} characters; it needs 64 lower-case hex digits."
    return "is not owner/name, owner/name:<64 hex digits> or <64 hex digits>."


def _prefer(wait: int | None) -> dict[str, str]:
    if wait is None:
        return {}
    if not 1 <= wait <= _MAX_WAIT:
        raise InvalidInputError(f"wait: {wait!r} is out of range; the API takes 1 to 60 seconds.")
    return {"Prefer": f"wait={int(wait)}"}


def utc_time(instant: float) -> str:
    """Return an instant, in epoch seconds, as ISO 8601 in UTC; raises ValueError out of range."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")
