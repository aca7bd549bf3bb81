"""Faults that depend on earlier requests: set for the next ones, or for a prediction's GETs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from airflow_provider_quickrouter.sandbox.faults import NONE, SECONDS, FaultError, Faults, parse_faults
from airflow_provider_quickrouter.sandbox.predictions import Record

FIELDS = ("faults", "times", "method", "seconds")
METHODS = ("GET", "POST", None)


@dataclass(slots=True)
class ScheduledFaults:
    """Faults for so many requests (``None``: any number) of a method until an instant.

    :raises FaultError: when ``times`` or ``method`` cannot be.
    """

    faults: Faults
    times: int | None = None
    method: str | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise FaultError(f"'times' must be an integer, 1 or more, or null, not {self.times!r}")
        if self.method not in METHODS:
            raise FaultError(f"'method' must be GET, POST or null, not {self.method!r}")

    def fits(self, method: str, now: float) -> bool:
        """Return whether a request of this method at ``now`` gets these faults."""
        in_time = self.until is None or now < self.until
        return in_time and self.times != 0 and self.method in (None, method)


class FaultSchedule:
    """The faults for the next requests: a queue that is used up by requests and by time.

    The first entry that fits a request is used: ``502 twice, then 429 once`` is two entries.
    """

    def __init__(self) -> None:
        self._queue: list[ScheduledFaults] = []

    def add(self, entry: ScheduledFaults) -> None:
        """Put an entry at the end of the queue."""
        # An entry without an end makes way: who sets a fault again means the new one.
        endless = (None, None, entry.method)
        self._queue = [e for e in self._queue if (e.times, e.until, e.method) != endless]
        self._queue.append(entry)

    def clear(self) -> None:
        """Forget all entries."""
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
    """Make an entry of ``{"faults": {...}, "times": n, "method": "GET", "seconds": s}``.

    :raises FaultError: when a field is unknown or wrong.
    """
    if not isinstance(body, dict) or not set(body) <= set(FIELDS):
        raise FaultError(f"send a JSON object with: {', '.join(FIELDS)}")
    seconds = body.get("seconds")
    if seconds is not None and not SECONDS.good(seconds):
        raise FaultError(f"'seconds' must be {SECONDS.wording}, or null, not {seconds!r}")
    until = None if seconds is None else now + seconds
    faults = parse_faults(body.get("faults"))
    return ScheduledFaults(faults, body.get("times"), body.get("method"), until)


class Gets:
    """The GETs of those predictions whose faults depend on them. Instants are epoch seconds.

    Only this process knows what was sent before, so a restart ends these faults.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._good: Counter[str] = Counter()
        self._odd_since: dict[str, float] = {}
        self._ended: set[str] = set()

    def faults_of(self, record: Record, now: float) -> Faults:
        """Return the faults of a prediction's next GET, which arrives at ``now``; count it."""
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
        """Note that the response to a GET holds the whole prediction."""
        if record.faults.odd_gets is not None:
            self._good[record.id] += 1

    def end(self, prediction_id: str) -> None:
        """Let the GETs of a prediction have no such faults any more."""
        self._ended.add(prediction_id)
