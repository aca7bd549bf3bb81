"""How fast a process may ask: a rate that the connection sets and the server lowers.

Questions are spaced evenly, since a burst of them is what limits are made against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_PER_MINUTE = 1_500.0
"""Questions a minute: half of Replicate's limit, so that two triggerers stay below it."""

USED = 0.95
"""Share of the rate that is used: what is sent evenly does not arrive evenly."""

RECOVERY = 60.0
"""Seconds in which the rate grows back from nothing to the whole."""

LOWEST = 1 / 64
"""Share of the rate below which no 429 presses it."""

LONGEST_BLOCK = 60.0
"""Seconds for which one answer may stop all questions of a connection."""


@dataclass
class Budget:
    """The questions of one connection in one process.

    A 429 halves the rate, at most once a second, and stops all questions as long as it asks for;
    then the rate recovers. ``ratelimit-remaining`` questions are spread over the seconds until
    ``ratelimit-reset``. Instants are epoch seconds.

    :param per_minute: questions a minute; 0 means no limit, until a 429 says otherwise.
    :param used: share of the rate that is used.
    :param slack: seconds by which one that comes late is made up for by sooner ones after it.
    """

    per_minute: float = DEFAULT_PER_MINUTE
    used: float = USED
    slack: float = 0.0
    _next: float = -math.inf
    _blocked_until: float = -math.inf
    _share: float = 1.0
    _lowered_at: float = -math.inf
    _spacing: float = 0.0
    _spaced_until: float = -math.inf

    def pause(self, now: float) -> float:
        """Seconds until the next question may be sent; 0 if it may be now."""
        return max(0.0, self._next - now, self._blocked_until - now)

    def spend(self, now: float) -> None:
        """Count a question that is being sent."""
        begun = self._next > -math.inf
        self._next = max(self._next, now - self.slack if begun else now) + self.spacing(now)

    def spacing(self, now: float) -> float:
        """Seconds between two questions."""
        limited = (
            60.0 / (self.per_minute * self.used * self._share_at(now)) if self.per_minute else 0.0
        )
        return max(limited, self._spacing if now < self._spaced_until else 0.0)

    def refused(self, now: float, retry_after: float | None) -> None:
        """Take in a 429."""
        self._blocked_until = max(self._blocked_until, now + min(retry_after or 1.0, LONGEST_BLOCK))
        if now - self._lowered_at >= 1.0:
            self._share = max(LOWEST, self._share_at(now) / 2)
            self._lowered_at = now

    def told(self, now: float, headers: Mapping[str, str]) -> None:
        """Take in the headers of an answer (lower-case names)."""
        if "ratelimit-remaining" not in headers:
            return
        try:
            left = float(headers["ratelimit-remaining"])
            seconds = min(max(float(headers["ratelimit-reset"]), 0.0), LONGEST_BLOCK)
        except (KeyError, ValueError):
            return
        self._spacing = seconds / max(left, 1)
        self._spaced_until = now + seconds

    def set_back(self, seconds: float) -> None:
        """Move all instants with a clock that was set back."""
        self._next -= seconds
        self._blocked_until -= seconds
        self._lowered_at -= seconds
        self._spaced_until -= seconds

    def _share_at(self, now: float) -> float:
        return min(1.0, self._share + max(0.0, now - self._lowered_at) / RECOVERY)
