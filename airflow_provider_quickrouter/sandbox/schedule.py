"""Faults that depend on earlier requests: for the next requests, or for a prediction's GETs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from airflow_provider_quickrouter.sandbox.faults import NONE, SECONDS, FaultError, Faults, parse_faults
from airflow_provider_quickrouter.sandbox.predictions import Record

FIELDS = ("faults", "times", "method", "seconds")
METHODS = ("GET", "POST", None)


@dataclass(slots=True)
class ScheduledFaults:
    """Faults for a number of requests (``None``: any number) of a method until a time.

    :raises FaultError: ``times`` or ``method`` is invalid.
    """

    faults: Faults
    times: int | None = None
    method: str | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise FaultError(f"'times' must be an integer, 1 or more, or null, got {self.times!r}")
        if self.method not in METHODS:
            raise FaultError(f"'method' must be GET, POST or null, got {self.method!r}")

    def fits(self, method: str, now: float) -> bool:
        """Return whether a request of this method at ``now`` gets these faults."""
        in_time = self.until is None or now < self.until
        return in_time and self.times != 0 and self.method in (None, method)


class FaultSchedule:
    """The queue of faults for the next requests.

    A request gets the first entry that matches it: ``502 twice, then 429 once`` is two entries.
    """

    def __init__(self) -> None:
        self._queue: list[ScheduledFaults] = []

    def add(self, entry: ScheduledFaults) -> None:
        """Add an entry at the end of the queue."""
        # Replace an entry without an end, which would hide the new one.
        endless = (None, None, entry.method)
        self._queue = [e for e in self._queue if (e.times, e.until, e.method) != endless]
        self._queue.append(entry)

    def clear(self) -> None:
        """Remove all entries."""
        self._queue = []

    def take(self, method: str, now: float) -> Faults:
        """Return the faults for a request of this method, and count it."""
        for entry in self._queue:
            if entry.fits(method, now):
                if entry.times is not None:
                    entry.times -= 1
                return entry.faults
        return NONE


def parse_entry(body: object, now: float) -> ScheduledFaults:
    """Read an entry from ``{"faults": {...}, "times": n, "method": "GET", "seconds": s}``.

    :raises FaultError: a field is unknown or invalid.
    """
    if not isinstance(body, dict) or not set(body) <= set(FIELDS):
        raise FaultError(f"the body must be a JSON object with the keys: {', '.join(FIELDS)}")
    seconds = body.get("seconds")
    if seconds is not None and not SECONDS.good(seconds):
        raise FaultError(f"'seconds' must be {SECONDS.wording}, or null, got {seconds!r}")
    until = None if seconds is None else now + seconds
    faults = parse_faults(body.get("faults"))
    return ScheduledFaults(faults, body.get("times"), body.get("method"), until)


class Gets:
    """Counts the GETs of predictions whose faults depend on them. Times are epoch seconds.

    The counts are not stored, so a restart ends these faults.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._good: Counter[str] = Counter()
        self._odd_since: dict[str, float] = {}
        self._ended: set[str] = set()

    def faults_of(self, record: Record, now: float) -> Faults:
        """Return the faults of a prediction's GET at ``now``, and count it."""
        hung, odd = record.faults.hung_gets, record.faults.odd_gets
        if record.id in self._ended or (hung is None and odd is None):
            return NONE
        self._sent[record.id] += 1
        if hung is not None and self._sent[record.id] <= hung["times"]:
            return Faults(hang=hung["seconds"])
        if odd is None or self._good[record.id] < odd.get("after", 0):
            return NONE
        since = self._odd_since.setdefault(record.id, now)
        return Faults(odd_response=odd["response"]) if now < since + odd["seconds"] else NONE

    def note_good(self, record: Record) -> None:
        """Count a GET whose response contains the complete prediction."""
        if record.faults.odd_gets is not None:
            self._good[record.id] += 1

    def end(self, prediction_id: str) -> None:
        """End these faults of a prediction."""
        self._ended.add(prediction_id)
