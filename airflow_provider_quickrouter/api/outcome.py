"""How a wait ended: one value, whichever path the task took, and the exception it means.

It crosses from triggerer to worker as JSON, so it holds ids, states, URLs and numbers, but
neither the key nor the prompt nor the model's log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    PredictionAborted,
    PredictionCanceled,
    PredictionEmpty,
    PredictionError,
    PredictionExpired,
    PredictionFailed,
    PredictionInterrupted,
    PredictionModerated,
    PredictionStartTimeout,
    PredictionTimeout,
    QuickRouterError,
    UpstreamError,
    from_payload,
)
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, Prediction, PredictionStatus, truncated

# Replaces the id in an event that cannot be understood.
UNKNOWN_ID = "unknown"
# Form of the event, for later versions. Readers go by the keys.
PAYLOAD_VERSION = 1

LOG_LINES = 20
LOG_WIDTH = 300
LOG_HEADING = "Last lines of its log:"
# Characters of an error, or of a log's end, in which a known text is looked for.
_LOOKED_AT = 4_096


class Reason(StrEnum):
    """Why a wait is over. Only ``SUCCEEDED`` is success."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    MODERATED = "moderated"
    CANCELED = "canceled"
    ABORTED = "aborted"
    EXPIRED = "expired"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    START_TIMEOUT = "start_timeout"
    API_ERROR = "api_error"


# What filters write into ``error``: Replicate's own, those of its models, and gateways'.
_MODERATED = (
    r"(?i)\bNSFW\b|flagged (as sensitive|by)|\bE005\b|\b(request|content|input|output) moderated\b|"
    r"\bsafety (system|filter|checker)\b|(prohibited|banned|sensitive) (word|prompt|content)|"
    r"banned prompt|input was rejected|敏感|违规|违禁"
)

# What models write into ``error`` when the same input may well succeed later: Replicate's page
# of error codes, and users' reports.
_TRANSIENT = (
    r"(?i)interrupted; please retry|\(code: PA\)|Director: unexpected error|"
    r"high demand|temporarily unavailable|try again later|"
    r"\b(?:E003|E004|E1000|E6716|E8367|E8765|E9243|E9825|E9828)\b"
)

_EXCEPTIONS: Mapping[Reason, tuple[type[PredictionError], str]] = {
    Reason.FAILED: (PredictionFailed, "failed"),
    Reason.INTERRUPTED: (PredictionInterrupted, "failed for a transient reason"),
    Reason.MODERATED: (PredictionModerated, "was rejected by a content filter"),
    Reason.CANCELED: (PredictionCanceled, "was canceled after it had started"),
    Reason.ABORTED: (PredictionAborted, "was aborted before it started (not charged)"),
    Reason.EXPIRED: (
        PredictionExpired,
        "succeeded, but its output is gone: the API stores data for one hour",
    ),
    Reason.EMPTY: (PredictionEmpty, "succeeded without any output (a content filter may have removed it)"),
    Reason.TIMEOUT: (PredictionTimeout, "did not finish in time"),
    Reason.START_TIMEOUT: (PredictionStartTimeout, "did not start in time"),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a wait.

    :ivar prediction: what was seen last, or None if nothing was.
    :ivar error: why it could not be polled any more, for ``API_ERROR`` and some timeouts.
    :ivar last_state: the state's word when the time was up, for timeouts.
    :ivar stopped: what became of the cancel, as a sentence; "" if none was sent.
    """

    reason: Reason
    prediction_id: str
    prediction: Prediction | None = None
    error: QuickRouterError | None = None
    last_state: str = ""
    stopped: str = ""

    @property
    def timed_out(self) -> bool:
        """Whether the prediction may still run, since only the wait's time was up."""
        return self.reason in (Reason.TIMEOUT, Reason.START_TIMEOUT)

    @property
    def output(self) -> list[Any]:
        """What a waiting task returns: the manifest's output."""
        return self.prediction.output_for_xcom if self.prediction else []

    @classmethod
    def of(cls, prediction: Prediction, now: float) -> Outcome | None:
        """Return how a prediction ended at ``now`` (epoch seconds), or None: it has not."""
        if not prediction.status.terminal:
            return None
        reason = _reason(prediction, now)
        if reason is Reason.EXPIRED:
            prediction = replace(prediction, data_removed=True)  # also if the API does not state it
        return cls(reason=reason, prediction_id=prediction.id, prediction=prediction)

    @classmethod
    def of_error(cls, prediction_id: str, error: QuickRouterError) -> Outcome:
        """Return the end of a wait that could not be polled."""
        return cls(reason=Reason.API_ERROR, prediction_id=prediction_id, error=error)

    def updated_by(self, prediction: Prediction, now: float) -> Outcome:
        """Return the end that a later response shows, for instance a success after a timeout.

        Only a prediction that this task itself has canceled is still the timeout it was.
        """
        over = Outcome.of(prediction, now)
        if over and not (self.stopped and over.reason in (Reason.CANCELED, Reason.ABORTED)):
            return over
        return replace(self, prediction=prediction)

    def exception(self) -> QuickRouterError | None:
        """Make the exception that this end means; None for success."""
        if self.reason is Reason.SUCCEEDED:
            return None
        if self.reason is Reason.API_ERROR:
            error = self.error or UpstreamError("the reason was lost on the way")
            if isinstance(error, APIError) and self.prediction_id != UNKNOWN_ID:
                return error.about(self.prediction_id, self.stopped)
            return error
        kind, ending = _EXCEPTIONS[self.reason]
        return kind(_message(self, ending), prediction_id=self.prediction_id)

    def to_payload(self, url: str) -> dict[str, Any]:
        """JSON for a trigger's event; ``url`` goes into the manifest."""
        return {
            "payload_version": PAYLOAD_VERSION,
            "reason": str(self.reason),
            "prediction_id": self.prediction_id,
            "manifest": self.prediction.manifest(url) if self.prediction else None,
            "error": self.error.to_payload() if self.error else None,
            "last_state": truncated(self.last_state),
            "stopped": self.stopped,
        }

    @classmethod
    def from_payload(cls, payload: Any) -> Outcome:
        """Rebuild the outcome of an event. What cannot be understood is never success."""
        try:
            manifest, error = payload["manifest"], payload["error"]
            outcome = cls(
                reason=Reason(payload["reason"]),
                prediction_id=str(payload["prediction_id"]),
                prediction=Prediction.from_json(manifest) if manifest else None,
                error=from_payload(error) if error else None,
                last_state=str(payload.get("last_state") or ""),
                stopped=str(payload.get("stopped") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            # A triggerer of another version, or a row of the database that was changed.
            outcome = cls(reason=Reason.SUCCEEDED, prediction_id=UNKNOWN_ID)
        seen = outcome.prediction
        succeeded = seen is not None and seen.status is PredictionStatus.SUCCEEDED
        if outcome.reason is Reason.SUCCEEDED and not succeeded:
            lost = UpstreamError("the triggerer's event cannot be understood")
            return cls.of_error(UNKNOWN_ID, lost)
        return outcome


def log_success(log: Any, outcome: Outcome, *, stored: bool = False) -> None:
    """Log what a task returns, whether that is not all, and until when it is there.

    :param stored: this task, or one downstream, stores the output's files.
    """
    # The query of an address may be a signature.
    output = re.sub(r"\?[^\s'\"]*", "?...", str(outcome.output)[:1000])
    log.info("Prediction %s succeeded: %.200s", outcome.prediction_id, output)
    if LEFT_OUT in str(outcome.output):
        remedy = "" if stored else "; output_path= would store all of it"
        log.warning("A part of the output is too large for XCom: a note replaces it%s", remedy)
    if not stored and re.search(r"(?i)https?://", str(outcome.output)):
        gone = outcome.prediction and outcome.prediction.expires_at
        hour = f"at {gone.isoformat(' ', 'minutes')}" if gone else "an hour after its end"
        log.warning("The API deletes the files %s: output_path= would store them", hour)


def log_tail(logs: str) -> list[str]:
    """Return the last 20 lines of a model's log, cut at 300 characters; of a bar its last state."""
    lines = [line.rstrip("\r").rpartition("\r")[2].strip() for line in logs.split("\n")]
    return [line[:LOG_WIDTH] for line in lines if line][-LOG_LINES:]


def _reason(prediction: Prediction, now: float) -> Reason:
    if prediction.status is PredictionStatus.CANCELED:
        return Reason.CANCELED
    if prediction.status is PredictionStatus.ABORTED:
        return Reason.ABORTED
    if prediction.status is not PredictionStatus.FAILED:
        gone = Reason.EXPIRED if prediction.expired(now) else Reason.EMPTY
        return gone if prediction.is_empty else Reason.SUCCEEDED
    # Gateways without an error's text name moderation in the status, models in their log.
    error = prediction.error[:_LOOKED_AT]
    if re.search(_MODERATED, error or f"{prediction.raw_status} {prediction.logs[-_LOOKED_AT:]}"):
        return Reason.MODERATED
    # No reason at all counts as transient: nothing shows that it would last.
    return Reason.INTERRUPTED if not error or re.search(_TRANSIENT, error) else Reason.FAILED


def _message(outcome: Outcome, ending: str) -> str:
    """Lines of a message: what happened and why, then the model, then the tail of its log."""
    seen = outcome.prediction
    why = f": {seen.error}" if seen and seen.error else "."
    lines = [f"Prediction {outcome.prediction_id} {ending}{why}"]
    lines.append(f"Model: {(seen and seen.model_name) or 'not named'}.")
    if outcome.timed_out:
        state = outcome.last_state or (seen and seen.status_word) or "none"
        lines.append(f"Last state seen: {state}.")
    if outcome.stopped:
        lines.append(outcome.stopped)
    if seen and outcome.reason is Reason.EXPIRED and seen.expires_at:
        lines.append(f"It expired at {seen.expires_at.isoformat(timespec='seconds')}.")
    if outcome.error:
        lines.append(f"Last error while polling: {outcome.error}")
    tail = log_tail(seen.logs) if seen else []
    return "\n  ".join([*lines, *([LOG_HEADING, *tail] if tail else [])])
