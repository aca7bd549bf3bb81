"""How long a task gives its prediction: its own limits, Airflow's, and the server's behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

LONGEST = 1e9
"""Seconds, thirty years: what a limit may be at most, so that calendars can hold its end."""

FRAMEWORK_MARGIN = 60.0
"""Seconds by which Airflow's own limit on a deferral lies behind the trigger's deadline."""

SERVER_MARGIN = 300.0
"""Seconds by which the server's own limit, ``Cancel-After``, lies behind the task's. Airflow's own
comes well before it: so the task cancels its prediction itself, and reports the timeout."""


@dataclass(frozen=True)
class Limits:
    """The limits of one task. All instants are epoch seconds.

    :ivar timeout: for the prediction, from its create on.
    :ivar execution_timeout: Airflow's, for one try of the task. It would end the task without a
        word to the trigger, so the task's own limit comes a tenth of it, or ten seconds, before.
    :ivar start_timeout: within which the prediction must have started.
    """

    timeout: float
    execution_timeout: timedelta | None = None
    start_timeout: float | None = None

    @property
    def own(self) -> float:
        """Seconds for the prediction: the first of both limits."""
        return min(self.timeout, self._airflows)

    @property
    def servers(self) -> float:
        """Seconds after which the server itself should end a forgotten prediction."""
        return self.own + SERVER_MARGIN

    def deadline(self, since: float, began: float) -> float:
        """When the wait is over: ``since`` is the create, ``began`` this try of the task."""
        return min(since + self.own, began + self._airflows)

    def start_deadline(self, since: float) -> float | None:
        """When a prediction must have started, if it must."""
        return None if self.start_timeout is None else since + self.start_timeout

    @property
    def _airflows(self) -> float:
        if self.execution_timeout is None:
            return math.inf
        seconds = self.execution_timeout.total_seconds()
        return seconds - min(seconds / 10, 10.0)


def airflows_limit(deadline: float, now: float) -> timedelta:
    """Airflow's own limit on a deferral, which lies behind the trigger's ``deadline``."""
    return timedelta(seconds=min(max(0.0, deadline - now) + FRAMEWORK_MARGIN, LONGEST))
