"""What is stored of a task's create request, and what a later attempt does with it.

A record is written before the create (the intent) and again with the id right after it. Airflow
preserves it across retries, clears and lost workers. It holds no prompt: the input is there as a
fingerprint only.

==============================  ==========================================
The record holds                The next attempt
==============================  ==========================================
nothing                         submits
an intent to send again         submits: to its model, or after a clear to the first one
an intent, but no id            reports the create as uncertain, unless that was reported
                                before and a person has cleared the task since: submits
an id, of another input         submits
an id, the task had succeeded   submits if a person cleared it, else resumes it
an id                           resumes it, see :func:`is_reusable`
==============================  ==========================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from airflow_provider_quickrouter.api.errors import UncertainCreateError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, check_id

_LOST = "an earlier attempt of this task ended before it received the response to its create"


class Step(Enum):
    """What an attempt does first."""

    SUBMIT = auto()
    RESUME = auto()
    REPORT = auto()


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One create of one task.

    :ivar begun_at: just before it was sent, epoch seconds.
    :ivar max_tries: the task's limit of attempts then; it grows when a person clears the task.
    :ivar prediction_id: None until the response was read.
    :ivar done: the task was about to succeed.
    :ivar reported: the uncertain create request was reported to a person.
    :ivar model_index: which of the models that the task tries it is for.
    :ivar resend: a retry sends the request again, to the same model.
    :ivar resumed_at: when the first attempt after a clear resumed the prediction, epoch seconds.
    """

    fingerprint: str
    begun_at: float
    max_tries: int
    prediction_id: str | None = None
    done: bool = False
    reported: bool = False
    model_index: int = 0
    resend: bool = False
    resumed_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON for Airflow's store, far below a kilobyte."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: object) -> Attempt | None:
        """Read what :meth:`to_json` returned, of any version; None for anything else."""
        try:
            given = dict(stored) if isinstance(stored, Mapping) else {}
            fingerprint, prediction_id = given["fingerprint"], given.get("prediction_id")
            begun_at = float(given.get("begun_at") or 0)
            datetime.fromtimestamp(begun_at, UTC)  # raises ValueError out of range
            if not (fingerprint and isinstance(fingerprint, str)):
                return None
            return cls(
                fingerprint=fingerprint,
                begun_at=begun_at,
                max_tries=int(given.get("max_tries") or 0),
                prediction_id=check_id(prediction_id) if prediction_id else None,
                done=given.get("done") is True,
                reported=given.get("reported") is True,
                model_index=int(given.get("model_index") or 0),
                resend=given.get("resend") is True,
                resumed_at=float(given["resumed_at"]) if given.get("resumed_at") else None,
            )
        except (ArithmeticError, KeyError, TypeError, ValueError):
            return None

    @property
    def counts_from(self) -> float:
        """Since when the task's time limit counts, epoch seconds."""
        return self.begun_at if self.resumed_at is None else self.resumed_at

    def resumed(self, max_tries: int, now: float) -> Attempt:
        """Return the record of a prediction that an attempt resumes after a clear.

        The next retry does not follow a clear: its time counts from here, and it creates nothing.
        """
        return replace(self, max_tries=max_tries, resumed_at=now)

    def cleared(self, max_tries: int) -> bool:
        """Return whether a person has cleared the task since, given its limit of attempts now."""
        return max_tries > self.max_tries

    def next_step(self, fingerprint: str, max_tries: int) -> Step:
        """Return what a later attempt with this input and limit of attempts does first."""
        cleared = self.cleared(max_tries)
        if self.prediction_id is None:
            settled = self.resend or ((self.reported or self.done) and cleared)
            return Step.SUBMIT if settled else Step.REPORT
        if self.fingerprint != fingerprint or (self.done and cleared):
            return Step.SUBMIT
        return Step.RESUME


def fingerprint(request: Request) -> str:
    """Return a digest of model, version and input, which identifies a create request."""
    plain = json.loads(json.dumps([request.path, request.body]))  # all keys are texts then
    text = json.dumps(plain, sort_keys=True)
    for url, content in request.signed.items():
        text = text.replace(json.dumps(url), json.dumps(content))
    return hashlib.sha256(text.encode()).hexdigest()


def is_reusable(prediction: Prediction, now: float, *, cleared: bool = False) -> bool:
    """Whether an earlier prediction runs, or has succeeded and its output is still there.

    :param cleared: a person has cleared the task since, and wants no prediction without an output.
        For a retry such a one is good: its output may come a moment after the status.
    """
    over = Outcome.of(prediction, now)
    if over is None or over.reason is Reason.SUCCEEDED:
        return True
    return over.reason is Reason.EMPTY and not cleared


def lost_by_earlier_attempt(request: Request, begun_at: float, now: float) -> UncertainCreateError:
    """Return the error of an intent whose attempt ended without an id."""
    return UncertainCreateError(_LOST).sent_between(begun_at, now, request.reference)
