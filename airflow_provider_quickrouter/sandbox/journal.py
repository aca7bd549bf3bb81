"""What the sandbox was asked, and what it answered: the proof in tests of what a client sends."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

MAX_ENTRIES = 100_000
HIDDEN_KEY = "Bearer ***"


@dataclass(slots=True)
class Entry:
    """One request to the API.

    ``at`` is seconds since the epoch. ``path`` has the query, if any. ``headers`` have lower-case
    names and hide the key. ``body`` is the parsed JSON or ``None``. ``status`` stays ``None`` while
    the request is unanswered, so also when the connection was dropped. ``prediction_id`` is the id
    that it made or named.
    """

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int | None = None
    prediction_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as ``GET /sandbox/requests`` lists it."""
        return asdict(self)


class Journal:
    """The last 100,000 requests, oldest first, and the numbers of accepted creates and of requests.

    ``counts`` are the requests to the API by :attr:`Call.kind`, also the refused and dropped ones.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.creates = 0
        self.counts: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget all requests, and count from 0 again."""
        self.entries.clear()
        self.creates = 0
        self.counts.clear()


def without_key(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with the value of ``authorization`` hidden."""
    if "authorization" not in headers:
        return headers
    return {**headers, "authorization": HIDDEN_KEY}
