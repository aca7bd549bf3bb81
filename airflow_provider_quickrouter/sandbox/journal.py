"""What the sandbox was asked, and what it answered: the proof in tests of what a client sends."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_quickrouter.sandbox.calls import CREATE

MAX_ENTRIES = 100_000
MINUTE = 60.0


@dataclass(slots=True)
class Entry:
    """One request to the API.

    ``at`` is seconds since the epoch. ``path`` has the query, if any. ``headers`` have lower-case
    names and hide the key; entries share them. ``body`` is the parsed JSON or ``None``. ``status``
    stays ``None`` while the request is unanswered, so also when the connection was dropped.
    ``prediction_id`` is the id that it made or named.
    """

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int | None = None
    prediction_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as ``GET /sandbox/requests`` lists it."""
        return asdict(self)


class Peak:
    """The most events within any 60 seconds, exactly: the instants of the last 60 s are kept."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self._instants: deque[float] = deque()

    def note(self, now: float) -> None:
        """Take an event at ``now``, in seconds; one that is exactly 60 s older is out."""
        self._instants.append(now)
        while self._instants[0] <= now - MINUTE:
            self._instants.popleft()
        self.most = max(self.most, len(self._instants))


class Journal:
    """The last 100,000 requests, oldest first, and the numbers of accepted creates and of requests.

    ``counts`` are the requests to the API by :attr:`Call.kind`, also the refused and dropped ones.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.creates = 0
        self.counts: Counter[str] = Counter()
        self._peak = Peak()

    @property
    def peak_per_minute(self) -> int:
        """The most requests to the API other than creates that came within any 60 seconds.

        All that arrived are counted, also the refused and dropped ones, at the instants of their
        arrival. What came before a start of the sandbox and after it is never in one minute.
        """
        return self._peak.most

    def count(self, kind: str, now: float) -> None:
        """Count a request that came at ``now``."""
        self.counts[kind] += 1
        if kind != CREATE:
            self._peak.note(now)

    def take_up(self, counts: dict[str, int], peak: int) -> None:
        """Go on from the numbers of an earlier start."""
        self.counts = Counter(counts)
        self._peak = Peak(peak)

    def clear(self) -> None:
        """Forget all requests, and count from 0 again."""
        self.entries.clear()
        self.creates = 0
        self.counts.clear()
        self._peak = Peak()
