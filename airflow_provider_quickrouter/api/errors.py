"""The errors of this package. Each states whether a retry can help and what to do.

In a task's ``context["exception"]`` an error is an instance of its class here and of one of
Airflow's (``AirflowFailException`` and others). ``docs/operations/troubleshooting.md`` describes
what Airflow does after each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from airflow_provider_quickrouter.api.storable import mask_signatures, storable_string

# Characters; a shorter string is not a real key, and replacing it would damage any message.
SHORTEST_SECRET = 8


class QuickRouterError(Exception):
    """Base of all errors of this package. The message is storable, whatever it quotes.

    Whether a retry can help is fixed when an error is created: by its class or, where that cannot
    decide, by ``transient=``.
    """

    transient: bool = False
    """Whether doing the same again later can succeed."""

    resubmittable: bool = False
    """Whether a new prediction of the same input may well succeed."""

    another_model: bool = False
    """Whether another model may succeed: nothing was accepted, or a content filter rejected it."""

    retry_after: float | None = None
    """The pause that the server named, in seconds, or None."""

    remedy: str = ""
    """What a person can do about it, in a sentence."""

    def __init__(
        self, message: str, *, transient: bool | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(mask_signatures(storable_string(message)))
        if transient is not None:
            self.transient = transient
        if retry_after is not None:
            self.retry_after = retry_after

    def as_permanent(self) -> Self:
        """Return a copy of this error after which nothing is tried again."""
        return self._copy(transient=False, resubmittable=False)

    def to_payload(self) -> dict[str, Any]:
        """JSON from which :func:`from_payload` makes an equal error in another process."""
        own = {"transient": self.transient} if "transient" in vars(self) else {}
        return {"type": type(self).__name__, "message": str(self), **own}

    def _copy(self, **changes: Any) -> Self:
        # Not copy.copy(): it calls __init__, which may have required arguments.
        copied = type(self).__new__(type(self), *self.args)
        vars(copied).update(vars(self) | changes)
        return copied


class InvalidInputError(QuickRouterError, ValueError):
    """An argument is wrong. Nothing was sent or paid; a retry meets the same argument."""

    another_model = True


class InvalidConnectionError(QuickRouterError, ValueError):
    """A field of the Airflow connection is wrong. Nothing was sent; correct the connection."""


class APIError(QuickRouterError):
    """The API, or something on the way to it, returned an error or nothing at all.

    :ivar message: what the API reported, readable, without the key.
    :ivar status: HTTP status, or None if there was no response.
    :ivar request_id: the gateway's id of the request (``X-Oneapi-Request-Id``), or "".
    :ivar prediction_id: the prediction that could not be polled, or "" if this is about none.
    :ivar from_api: the body was a JSON object, as the API's own responses are. A page of a proxy, a
        firewall or a load balancer on the way is not about the prediction.
    """

    prediction_id = ""
    resendable: ClassVar[bool] = False
    """Whether a create that ended so was certainly not accepted and may be sent again."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str = "",
        retry_after: float | None = None,
        from_api: bool = False,
        transient: bool | None = None,
    ) -> None:
        super().__init__(message, transient=transient)
        self.message = self.args[0]
        self.status = status
        self.request_id = storable_string(request_id)
        self.retry_after = retry_after
        self.from_api = from_api

    def __str__(self) -> str:
        """Status, message, remedy and request id in one line."""
        status = f"HTTP {self.status}: " if self.status else ""
        request_id = f"[request id {self.request_id}]" if self.request_id else ""
        sentence = self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."
        return " ".join(filter(None, (status + sentence, self.remedy, request_id)))

    def about(self, prediction_id: str, stopped: str) -> Self:
        """Return a copy that names the prediction which could not be polled."""
        message = self.message.rstrip(".")
        message = f"Prediction {prediction_id} could not be polled: {message}. {stopped}"
        failed_on_the_way = self.status is not None or isinstance(self, ConnectionLostError)
        remedy = self.remedy or ("Check whether the gateway can be reached." if failed_on_the_way else "")
        return self._copy(message=message.strip(), prediction_id=prediction_id, remedy=remedy)

    def without(self, secret: str) -> Self:
        """Return this error with ``***`` wherever the API echoed the key."""
        if len(secret) < SHORTEST_SECRET:
            return self
        self.message = self.message.replace(secret, "***")
        self.request_id = self.request_id.replace(secret, "***")
        self.args = (self.message,)
        return self

    def to_payload(self) -> dict[str, Any]:
        """JSON from which :func:`from_payload` makes an equal error in another process."""
        return {"type": type(self).__name__, **vars(self)}


class AuthenticationError(APIError):
    """401: the key is missing, wrong or expired. A retry does not help."""

    remedy = "Check the API key in the connection's password."


class QuotaError(APIError):
    """402, or 403 with a quota code: a retry helps only after someone has paid."""

    remedy = "Top up the account, or increase the quota of the key."


class PermissionDeniedError(APIError):
    """403: address, group or model are not allowed for this key. A retry does not help."""

    remedy = (
        "The IP address, the group or the model is not allowed for this key. Contact the gateway's support."
    )


class NotFoundError(APIError):
    """404 or 410: unknown id, model or route. Just after a create it may heal."""

    remedy = "Check the id or the model, and the connection's host and path_prefix."


class InvalidRequestError(APIError):
    """400, 413, 422 and other 4xx: the API refused body or input. A retry sends the same."""

    another_model = True
    remedy = "Correct the input."


class RedirectError(APIError):
    """3xx: not followed, since the key stays with its host."""

    remedy = "Redirects are not followed, so that no other host gets the key. Check the connection's host."


class NoChannelError(APIError):
    """The gateway has no server, or no price, for this model: permanent, though its status is 500 or 503."""

    another_model = True
    remedy = (
        "The gateway has no server, or no price, for this model now. Choose another model, or contact the "
        "gateway's support."
    )


class RateLimitError(APIError):
    """429: nothing was accepted; it heals after ``retry_after`` seconds."""

    transient = True
    resendable = True


class UpstreamError(APIError):
    """408, 5xx, or a body that is not a response of the API. Polling again heals."""

    transient = True


class NotConnectedError(APIError):
    """No connection came about, so nothing was sent. A retry may find the host."""

    transient = True
    resendable = True
    remedy = "Nothing was sent. If this lasts, check the connection's host and proxy."


class ConnectionLostError(APIError):
    """The connection broke or timed out after sending. Polling again heals."""

    transient = True


class UncertainCreateError(APIError):
    """A create request whose response was lost: the prediction may run and be billed.

    It is not sent again, since the API has no idempotency key: a person has to look for it.

    :ivar begun_at: when the create request started, ``until``: when its response was lost; epoch
        seconds.
    """

    remedy = (
        "The prediction may have been accepted and billed. Look for it in the gateway's console before "
        "you clear the task. The request was not sent twice."
    )
    begun_at: float | None = None
    until: float | None = None

    def sent_between(self, begun_at: float, until: float, reference: str) -> Self:
        """Return a copy that names the times (epoch seconds) and the model to look for."""
        start, end = (
            datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")
            for instant in (begun_at, until)
        )
        message = f"{self.message}; look for {reference} created from {start} to {end}"
        return self._copy(message=message, begun_at=begun_at, until=until)

    def resubmitted(self) -> Self:
        """Return a copy for a task whose retry creates another prediction, as its author wants."""
        remedy = "The prediction may have been accepted and billed; a retry creates another one."
        return self._copy(transient=True, remedy=remedy)


class BatchFailed(QuickRouterError):
    """Too many predictions of a batch did not succeed; the results state which, and why.

    ``transient``: a retry, which creates only what is missing or failed for a transient reason,
    may succeed.
    """


class FileError(QuickRouterError):
    """A file of an output was not stored. The prediction and its output are untouched.

    The message names the file without the query of its address, which may be a signature.
    """


class FileRefused(FileError):
    """A retry meets the same: the address is not public, or the file is too large or not a file."""


class FileUnavailable(FileError):
    """It could not be fetched or stored for a transient reason. A retry resumes after what was."""

    transient = True


class PredictionError(QuickRouterError):
    """The prediction ended without an output; polling again cannot change that."""

    def __init__(self, message: str, *, prediction_id: str) -> None:
        super().__init__(message)
        self.prediction_id = prediction_id


class PredictionFailed(PredictionError):
    """The model reported an error that a new prediction would meet again."""

    remedy = "Read the end of the model's log in the exception below, and change the input."


class PredictionInterrupted(PredictionFailed):
    """It failed for a transient reason behind the API, or without any reason."""

    resubmittable = True
    remedy = "The same input may succeed in a new prediction."


class PredictionModerated(PredictionFailed):
    """A filter refused its input or its output."""

    another_model = True
    remedy = (
        "Change the prompt. To skip such tasks, set on_moderation='skip' (run operator) or "
        "soft_fail=True (sensor)."
    )


class PredictionCanceled(PredictionError):
    """Someone, or a time limit on the server, stopped it after it had started."""

    remedy = "Find out who canceled it: a person, or the server after cancel_after."


class PredictionAborted(PredictionError):
    """It was stopped before it started; it is not charged."""

    resubmittable = True
    remedy = "The same input may succeed in a new prediction."


class PredictionExpired(PredictionError):
    """It succeeded, but its data was deleted: the API stores data for one hour."""

    remedy = "To store the files in time, set output_path= on the waiting task."


class PredictionEmpty(PredictionError):
    """It succeeded without any output, as when a filter removed every picture."""

    remedy = "Change the input; if the model may well find nothing, set allow_empty=True."


class PredictionTimeout(PredictionError):
    """It did not end within the time that the task gave it."""

    remedy = "If the model needs longer, increase timeout."


class PredictionStartTimeout(PredictionTimeout):
    """It did not start within the time that the task gave it; an unstarted one is not charged."""

    resubmittable = True
    remedy = "If the model needs longer to start, increase start_timeout."


def from_payload(payload: Mapping[str, Any]) -> QuickRouterError:
    """Rebuild an error from ``to_payload``. A type or field that is not known is tolerated."""
    name, given = str(payload.get("type")), payload.get("transient")
    message = str(payload.get("message") or "the error message was lost")
    transient = given if isinstance(given, bool) else None
    local = (InvalidInputError, InvalidConnectionError, BatchFailed, FileRefused, FileUnavailable)
    for kind in local:
        if name == kind.__name__:
            return kind(message, transient=transient)
    known = {kind.__name__: kind for kind in APIError.__subclasses__()}
    return known.get(name, UpstreamError)(
        message,
        status=payload.get("status"),
        request_id=str(payload.get("request_id") or ""),
        retry_after=payload.get("retry_after"),
        transient=transient,
    )


def backoff(failures: int, longest: float, *, first: float = 1.0, minimum: float | None = None) -> float:
    """Return the seconds to wait after so many failures in a row (from 1).

    They double from ``first`` to ``longest``, and are never less than ``minimum``.
    """
    exponent = min(max(failures, 1) - 1, 32)  # a float overflows at 2.0**1024
    return max(min(first * 2.0**exponent, longest), minimum or 0.0)
