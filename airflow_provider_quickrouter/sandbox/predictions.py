"""A prediction as it was asked for, and its state at any instant.

Nothing runs: the state is a pure function of the record and of ``now``, so a thousand predictions
cost nothing while they wait and a test can ask for any moment. All instants are seconds since the
epoch, all durations are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import NONE, Faults

RETENTION = 3600.0
"""How long input, output, logs and files are kept after completion, unless a fault says else."""


class Status(StrEnum):
    """The states of a prediction; the last four are terminal."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Record:
    """A prediction that was accepted.

    ``starting`` and ``processing`` are the sandbox's durations, which ``faults`` may override.
    ``deadline`` comes from the header ``Cancel-After``; ``version`` and ``model`` are as an answer
    shows them. ``cancels`` is how many requests to cancel it were carried out, also after its end.
    """

    id: str
    model: str
    version: str
    input: dict[str, Any]
    seed: int
    created_at: float
    starting: float
    processing: float
    deadline: float | None = None
    canceled_at: float | None = None
    cancels: int = 0
    faults: Faults = NONE

    @property
    def starts_at(self) -> float:
        """The instant at which the model starts to run, unless it is stopped before."""
        asked = self.faults.starting
        return self.created_at + (self.starting if asked is None else asked)

    @property
    def duration(self) -> float:
        """How long the model runs, unless it is stopped; infinite when it never finishes."""
        if self.faults.never:
            return math.inf
        asked = self.faults.processing
        return self.processing if asked is None else asked

    @property
    def stops_at(self) -> float:
        """The instant of the cancel or of the deadline, whichever is first; else infinite."""
        return min(_or_never(self.canceled_at), _or_never(self.deadline))

    @property
    def ends_at(self) -> float:
        """The instant at which the prediction is over; infinite when it never is."""
        return min(self.starts_at + self.duration, self.stops_at)


@dataclass(frozen=True, slots=True)
class Phase:
    """A prediction's state at one instant.

    ``fraction`` is the part of the work that is done, 0 to 1; ``expired`` says that input, output,
    logs and files are deleted.
    """

    status: Status
    started_at: float | None
    completed_at: float | None
    fraction: float
    expired: bool


def phase_at(record: Record, now: float) -> Phase:
    """Return the state of a prediction at ``now``.

    At the very instant of its creation it is always ``starting``, as a create's answer is.
    """
    end = record.ends_at
    over = now >= end and (now > record.created_at or record.canceled_at is not None)
    last = min(now, end)
    started = last >= record.starts_at and (over or now > record.created_at)
    return Phase(
        status=_final_status(record) if over else _running_status(started),
        started_at=record.starts_at if started else None,
        completed_at=end if over else None,
        fraction=_fraction(record, last) if started else 0.0,
        expired=over and now >= end + _retention(record),
    )


def _or_never(instant: float | None) -> float:
    return math.inf if instant is None else instant


def _running_status(started: bool) -> Status:
    return Status.PROCESSING if started else Status.STARTING


def _final_status(record: Record) -> Status:
    if record.stops_at < record.starts_at + record.duration:
        by_deadline = record.stops_at == record.deadline
        before_start = record.stops_at < record.starts_at
        return Status.ABORTED if by_deadline and before_start else Status.CANCELED
    return Status.FAILED if record.faults.fail is not None else Status.SUCCEEDED


def _fraction(record: Record, last: float) -> float:
    if last >= record.starts_at + record.duration:  # also where rounding hides it, or nothing lasts
        return 1.0
    return (last - record.starts_at) / record.duration


def _retention(record: Record) -> float:
    asked = record.faults.expire_after
    return RETENTION if asked is None else asked
