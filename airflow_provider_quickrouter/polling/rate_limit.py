"""How fast a process may send requests: the connection sets the rate, and the server lowers it.

Requests are spaced evenly, since rate limits punish bursts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Requests a minute: half of Replicate's limit, so that two triggerers stay below it.
DEFAULT_PER_MINUTE = 1_500.0

USED = 0.95  # share of the rate that is used: what is sent evenly does not arrive evenly
RECOVERY = 60.0  # seconds in which the rate grows back from nothing to the whole
LOWEST = 1 / 64  # share of the rate below which no 429 lowers it
LONGEST_BLOCK = 60.0  # seconds for which one response may stop all requests of a connection


@dataclass
class RateLimit:
    """The requests of one connection in one process. Times are seconds of any one clock.

    A 429 halves the rate, at most once a second, and stops all requests for the time that it names;
    then the rate recovers. The server may also send ``ratelimit-remaining``: these requests are
    spread over the seconds until ``ratelimit-reset``.
    """

    per_minute: float = DEFAULT_PER_MINUTE  # 0 means no limit, until a 429
    used: float = USED
    slack: float = 0.0  # seconds of delay that later requests may catch up
    _next: float = -math.inf
    _blocked_until: float = -math.inf
    _share: float = 1.0
    _lowered_at: float = -math.inf
    _spacing: float = 0.0
    _spaced_until: float = -math.inf

    def pause(self, now: float) -> float:
        """Return the seconds until the next request may be sent; 0 if it may be sent now."""
        return max(0.0, self._next - now, self._blocked_until - now)

    def count(self, now: float) -> None:
        """Count a request that is being sent."""
        is_first = self._next == -math.inf
        self._next = max(self._next, now if is_first else now - self.slack) + self.spacing(now)

    def spacing(self, now: float) -> float:
        """Return the seconds between two requests."""
        rate = self.per_minute * self.used * self._share_at(now)
        return max(60.0 / rate if rate else 0.0, self._spacing if now < self._spaced_until else 0.0)

    def on_refusal(self, now: float, retry_after: float | None) -> None:
        """Handle a 429."""
        self._blocked_until = max(self._blocked_until, now + min(retry_after or 1.0, LONGEST_BLOCK))
        if now - self._lowered_at >= 1.0:
            self._share, self._lowered_at = max(LOWEST, self._share_at(now) / 2), now

    def on_headers(self, now: float, headers: Mapping[str, str]) -> None:
        """Handle the headers of a response (names in lower case)."""
        if "ratelimit-remaining" not in headers:
            return
        try:
            left = float(headers["ratelimit-remaining"])
            seconds = min(max(float(headers["ratelimit-reset"]), 0.0), LONGEST_BLOCK)
        except (KeyError, ValueError):
            return
        self._spacing, self._spaced_until = seconds / max(left, 1), now + seconds

    def _share_at(self, now: float) -> float:
        return min(1.0, self._share + max(0.0, now - self._lowered_at) / RECOVERY)
