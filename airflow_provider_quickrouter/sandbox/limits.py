"""Limits of requests a minute, as Replicate has them: a token for each call, from a small bucket.

Creates and all other calls to the API have a bucket each. A bucket holds what comes in one second
and not in a minute, so that 600 a minute are about 10 a second and never 600 at once. A limit comes
before all else that can go wrong: a call without a token meets no fault, and uses up none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_provider_quickrouter.sandbox.calls import CREATE

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket says to one call.

    ``wait`` is how many seconds later there is a token, 0 for a call that got one; ``remaining`` is
    how many whole tokens are left; ``reset`` is after how many whole seconds, at least 1, the
    bucket is full again.
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
        """The wait in whole seconds, at least 1, as a refusal tells it."""
        return _whole(self.wait)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer to the call tells of the limit, whether it was refused or not."""
        return {"ratelimit-remaining": str(self.remaining), "ratelimit-reset": str(self.reset)}


class Bucket:
    """Tokens that come back evenly; it holds as many as come in a second, at least 1.

    It is full at first. It has no clock: instants are seconds of one that the caller chooses.

    :param per_minute: how many tokens come in a minute.
    :raises ValueError: when this is not a number above 0.
    """

    def __init__(self, per_minute: float) -> None:
        if not 0 < per_minute < math.inf:  # nan is not either
            raise ValueError(f"a limit must be a number a minute, more than 0, not {per_minute!r}")
        self._rate = per_minute / MINUTE
        self._capacity = max(1.0, self._rate)
        self._tokens, self._at = self._capacity, -math.inf

    def fill(self) -> None:
        """Have all tokens again."""
        self._tokens = self._capacity

    def take(self, now: float) -> Verdict:
        """Take a token, if there is one; a refused call costs none."""
        self._refill(now)
        wait = max(0.0, (1 - self._tokens) / self._rate)
        if wait == 0:
            self._tokens -= 1
        reset = _whole((self._capacity - self._tokens) / self._rate)
        return Verdict(wait, int(self._tokens), reset)

    def _refill(self, now: float) -> None:
        passed = max(
            0.0, now - self._at
        )  # a clock that is set back gives nothing and takes nothing
        self._tokens = min(self._capacity, self._tokens + passed * self._rate)
        self._at = now


class Limits:
    """The two limits of one sandbox, in calls a minute; ``None``: there is no such limit.

    :raises ValueError: when one is not a number above 0.
    """

    def __init__(self, creates_per_minute: float | None, calls_per_minute: float | None) -> None:
        self._creates = _bucket(creates_per_minute)
        self._others = _bucket(calls_per_minute)

    def take(self, kind: str, now: float) -> Verdict | None:
        """Return what the limit for a kind of call says to one at ``now``; ``None`` without one."""
        bucket = self._creates if kind == CREATE else self._others
        return None if bucket is None else bucket.take(now)

    def fill(self) -> None:
        """Have all tokens again."""
        for bucket in (self._creates, self._others):
            if bucket is not None:
                bucket.fill()


def _bucket(per_minute: float | None) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute)


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
