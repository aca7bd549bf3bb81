"""What arrives at the API: a list of requests, their counts, and the limits a minute."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_quickrouter.sandbox.protocol import CREATE

MAX_ENTRIES = 100_000  # a benchmark sends more: a list without an end would fill the memory
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


class Journal:
    """The last 100,000 requests, oldest first, and the numbers of accepted creates and of requests.

    ``counts`` are the requests to the API by :attr:`Call.kind`, also the refused and dropped ones.
    ``peak_per_minute`` is the most of them but creates within any 60 seconds of one start.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.creates = 0
        self.counts: Counter[str] = Counter()
        self.peak_per_minute = 0
        self._last_minute: deque[float] = deque()

    def count(self, kind: str, now: float) -> None:
        """Count a request that came at ``now``."""
        self.counts[kind] += 1
        if kind == CREATE:  # it has a limit of its own
            return
        self._last_minute.append(now)
        while self._last_minute[0] <= now - MINUTE:
            self._last_minute.popleft()
        self.peak_per_minute = max(self.peak_per_minute, len(self._last_minute))

    def resume(self, counts: dict[str, int], peak: int) -> None:
        """Go on from the numbers of an earlier start."""
        self.counts, self.peak_per_minute = Counter(counts), peak
        self._last_minute.clear()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limit says to one call.

    ``wait`` is how many seconds later there is a token, 0 for a call that got one; ``remaining`` is
    how many whole tokens are left; ``reset`` is after how many whole seconds, at least 1, all are.
    """

    wait: float
    remaining: int
    reset: int

    @property
    def refused(self) -> bool:
        """Whether there was no token for the call."""
        return self.wait > 0

    @property
    def retry_after(self) -> int:
        """The wait in whole seconds, at least 1, as a refusal states it."""
        return _whole(self.wait)

    @property
    def headers(self) -> dict[str, str]:
        """What the response reports of the limit, whether the call was refused or not."""
        return {"ratelimit-remaining": str(self.remaining), "ratelimit-reset": str(self.reset)}


class Bucket:
    """A limit of calls a minute, as Replicate has it: a token for each call, from a small bucket.

    It holds what comes in one second, at least 1, and not in a minute: 600 a minute are about 10 a
    second and never 600 at once. It is full at first. Instants are seconds of any one clock.

    :param per_minute: how many tokens come in a minute, evenly.
    :raises ValueError: when this is not a number above 0.
    """

    def __init__(self, per_minute: float) -> None:
        if not 0 < per_minute < math.inf:  # nan is not either
            raise ValueError(f"a limit must be a number a minute, more than 0, not {per_minute!r}")
        self._rate = per_minute / MINUTE
        self._capacity = max(1.0, self._rate)
        self._tokens, self._at = self._capacity, -math.inf

    def take(self, now: float) -> Verdict:
        """Take a token, if there is one; a refused call costs none."""
        passed = max(0.0, now - self._at)  # a clock that is set back changes nothing
        self._tokens = min(self._capacity, self._tokens + passed * self._rate)
        self._at = now
        wait = max(0.0, (1 - self._tokens) / self._rate)
        if wait == 0:
            self._tokens -= 1
        reset = _whole((self._capacity - self._tokens) / self._rate)
        return Verdict(wait, int(self._tokens), reset)


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


class Limits:
    """The limits of creates and of all other calls, in calls a minute; ``None``: no such limit.

    :raises ValueError: when one is not a number above 0.
    """

    def __init__(self, creates_per_minute: float | None, calls_per_minute: float | None) -> None:
        self._creates = None if creates_per_minute is None else Bucket(creates_per_minute)
        self._others = None if calls_per_minute is None else Bucket(calls_per_minute)

    def take(self, kind: str, now: float) -> Verdict | None:
        """Return what the limit for a kind of call says to one at ``now``; ``None`` without one."""
        bucket = self._creates if kind == CREATE else self._others
        return None if bucket is None else bucket.take(now)
