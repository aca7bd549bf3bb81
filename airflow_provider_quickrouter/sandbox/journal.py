"""The requests to the API: their list, their counts, and the limits per minute."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_quickrouter.sandbox.protocol import CREATE

MAX_ENTRIES = 100_000  # limits the memory: a benchmark sends more
MINUTE = 60.0


@dataclass(slots=True)
class Entry:
    """One request to the API.

    ``at`` is seconds since the epoch. ``path`` has the query, if any. ``headers`` have lower-case
    names and no key; entries share them. ``body`` is the parsed JSON or ``None``. ``status`` is
    ``None`` before the response, and if the connection was dropped. ``prediction_id`` is the id
    that the request created or named.
    """

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int | None = None
    prediction_id: str | None = None


class Journal:
    """The last 100,000 requests, oldest first, and the numbers of accepted creates and of requests.

    ``counts`` are all requests by :attr:`Call.kind`, with refused and dropped ones.
    ``peak_per_minute`` is the maximum of them, without creates, within any 60 seconds of one start.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.creates = 0
        self.counts: Counter[str] = Counter()
        self.peak_per_minute = 0
        self._last_minute: deque[float] = deque()

    def count(self, kind: str, now: float) -> None:
        """Count a request at ``now``."""
        self.counts[kind] += 1
        if kind == CREATE:  # creates have their own limit
            return
        self._last_minute.append(now)
        while self._last_minute[0] <= now - MINUTE:
            self._last_minute.popleft()
        self.peak_per_minute = max(self.peak_per_minute, len(self._last_minute))

    def resume(self, counts: dict[str, int], peak: int) -> None:
        """Continue with the numbers of an earlier start."""
        self.counts, self.peak_per_minute = Counter(counts), peak
        self._last_minute.clear()


@dataclass(frozen=True, slots=True)
class LimitResult:
    """The result of a limit for one request.

    ``wait`` is the seconds until the next token, 0 if the request got one; ``remaining`` is the
    number of tokens left; ``reset`` is the whole seconds, at least 1, until all tokens are back.
    """

    wait: float
    remaining: int
    reset: int

    @property
    def refused(self) -> bool:
        """Whether the request got no token."""
        return self.wait > 0

    @property
    def retry_after(self) -> int:
        """The wait in whole seconds, at least 1, for the response."""
        return _whole(self.wait)

    @property
    def headers(self) -> dict[str, str]:
        """The headers about the limit, for each response."""
        return {"ratelimit-remaining": str(self.remaining), "ratelimit-reset": str(self.reset)}


class Bucket:
    """A token bucket that limits requests as Replicate does.

    It holds the tokens of one second, at least 1: 600 a minute are about 10 a second, and never 600
    at the same time. It starts full. Times are seconds of any one clock.

    :param per_minute: tokens in a minute, spread evenly.
    :raises ValueError: ``per_minute`` is not a number above 0.
    """

    def __init__(self, per_minute: float) -> None:
        if not 0 < per_minute < math.inf:  # refuses NaN, too
            raise ValueError(f"a limit per minute must be a number above 0, got {per_minute!r}")
        self._rate = per_minute / MINUTE
        self._capacity = max(1.0, self._rate)
        self._tokens, self._at = self._capacity, -math.inf

    def take(self, now: float) -> LimitResult:
        """Take a token, if there is one; a refused request takes none."""
        passed = max(0.0, now - self._at)  # the clock may be set back
        self._tokens = min(self._capacity, self._tokens + passed * self._rate)
        self._at = now
        wait = max(0.0, (1 - self._tokens) / self._rate)
        if wait == 0:
            self._tokens -= 1
        reset = _whole((self._capacity - self._tokens) / self._rate)
        return LimitResult(wait, int(self._tokens), reset)


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


class Limits:
    """The limits of create requests and of other requests per minute; ``None`` means no limit.

    :raises ValueError: a limit is not a number above 0.
    """

    def __init__(self, creates_per_minute: float | None, calls_per_minute: float | None) -> None:
        self._creates = None if creates_per_minute is None else Bucket(creates_per_minute)
        self._others = None if calls_per_minute is None else Bucket(calls_per_minute)

    def take(self, kind: str, now: float) -> LimitResult | None:
        """Return the result of the limit for a kind of request at ``now``; ``None`` without a limit."""
        bucket = self._creates if kind == CREATE else self._others
        return None if bucket is None else bucket.take(now)
