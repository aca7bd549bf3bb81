"""The record of a prediction, and its state at any time.

The state is a pure function of the record and of ``now``. So a thousand running predictions cost
nothing, and a test can choose any time. Times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import NONE, Faults

# Seconds until input, output, logs and files are deleted after completion, unless a fault changes it.
RETENTION = 3600.0
PAGE = 100


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
    ``deadline`` comes from the header ``Cancel-After``; ``version`` and ``model`` are as responses
    show them. ``cancels`` is the number of executed cancel requests, also after the end.
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
    deployment: str | None = None
    canceled_at: float | None = None
    cancels: int = 0
    faults: Faults = NONE

    @property
    def starts_at(self) -> float:
        """The time at which the model starts, unless the prediction is canceled before."""
        fault = self.faults.starting
        return self.created_at + (self.starting if fault is None else fault)

    @property
    def duration(self) -> float:
        """The running time of the model, unless it is canceled; infinite if it never ends."""
        if self.faults.never:
            return math.inf
        fault = self.faults.processing
        return self.processing if fault is None else fault

    @property
    def stops_at(self) -> float:
        """The time of the cancel or of the deadline, whichever is first; infinite without both."""
        ends = (self.canceled_at, self.deadline)
        return min((end for end in ends if end is not None), default=math.inf)

    @property
    def ends_at(self) -> float:
        """The time at which the prediction ends; infinite if it never ends."""
        return min(self.starts_at + self.duration, self.stops_at)


@dataclass(frozen=True, slots=True)
class Phase:
    """A prediction's state at one time.

    ``fraction`` is the finished part of the work, 0 to 1; ``expired`` means that input, output, logs
    and files are deleted.
    """

    status: Status
    started_at: float | None
    completed_at: float | None
    fraction: float
    expired: bool


def phase_at(record: Record, now: float) -> Phase:
    """Return the state of a prediction at ``now``.

    At the time of its creation it is always ``starting``, as in the response to a create request.
    """
    start, finish, end = record.starts_at, record.starts_at + record.duration, record.ends_at
    over = now >= end and (now > record.created_at or record.canceled_at is not None)
    last = min(now, end)
    started = last >= start and (over or now > record.created_at)
    if not over:
        status = Status.PROCESSING if started else Status.STARTING
    elif end >= finish:
        status = Status.SUCCEEDED if record.faults.fail is None else Status.FAILED
    else:
        # A deadline before the start has a state of its own.
        aborted = end == record.deadline and end < start
        status = Status.ABORTED if aborted else Status.CANCELED
    fraction = 0.0
    if started:  # exactly 1 at the end, whatever the rounding
        fraction = 1.0 if last >= finish else (last - start) / record.duration
    asked = record.faults.expire_after
    return Phase(
        status=status,
        started_at=start if started else None,
        completed_at=end if over else None,
        fraction=fraction,
        expired=over and now >= end + (RETENTION if asked is None else asked),
    )


class Shelf:
    """All predictions, oldest first. The cost of a page does not depend on their number."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._places: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Add a new prediction at the end."""
        self._places[record.id] = len(self._records)
        self._records.append(record)

    def replace(self, record: Record) -> None:
        """Replace the prediction with the same id.

        :raises KeyError: it does not exist.
        """
        self._records[self._places[record.id]] = record

    def get(self, prediction_id: str) -> Record | None:
        """Return the prediction with this id, if it exists."""
        place = self._places.get(prediction_id)
        return None if place is None else self._records[place]

    def __getitem__(self, prediction_id: str) -> Record:
        return self._records[self._places[prediction_id]]

    def all(self) -> list[Record]:
        """Return all predictions, oldest first."""
        return list(self._records)

    def newest(self, count: int) -> list[Record]:
        """Return at most ``count`` predictions, newest first."""
        return self._records[: -count - 1 : -1]

    def page(self, end: int | None) -> tuple[list[Record], int | None, int | None]:
        """Return the page before the position ``end``, or the newest page.

        Returns its records, newest first, and the ends of the next (older) and the previous page.
        """
        length = len(self._records)
        end = length if end is None else min(end, length)
        start = max(0, end - PAGE)
        previous = min(end + PAGE, length) if end < length else None
        return self._records[start:end][::-1], start or None, previous
