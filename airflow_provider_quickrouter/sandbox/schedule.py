"""Faults for the next requests: a queue that is used up by requests and by time.

The first entry that fits a request is used, so ``502 twice, then 429 once`` is two entries. An
entry that ends by nothing but :meth:`FaultSchedule.clear` gives way to the next one for the same
method: whoever sets a fault again means the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_quickrouter.sandbox.faults import (
    NONE,
    SECONDS,
    FaultError,
    Faults,
    parse_faults,
)

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

    @property
    def endless(self) -> bool:
        """Whether nothing but clearing ends it."""
        return self.times is None and self.until is None

    def fits(self, method: str, now: float) -> bool:
        """Tell whether a request of this method at ``now`` gets these faults."""
        return (
            self.times != 0
            and self.method in (None, method)
            and (self.until is None or now < self.until)
        )


class FaultSchedule:
    """The queue of faults for the next requests."""

    def __init__(self) -> None:
        self._queue: list[ScheduledFaults] = []

    def add(self, entry: ScheduledFaults) -> None:
        """Put an entry at the end; an endless one for the same method makes way for it."""
        self._queue = [e for e in self._queue if not (e.endless and e.method == entry.method)]
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
