"""When to poll, estimated from earlier predictions of the same model.

A poll has a price, and so has each second for which the end of a prediction goes unnoticed. The
next poll is sent when the expected unnoticed time has grown to the price of a poll. ``starting``
and ``processing`` have separate histories, since a model that is sometimes booted from cold takes
much longer in the first state and equally long in the second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus

# Runs that are stored of a model: enough for an estimate, few enough to follow the model's changes.
LENGTH = 30

FEWEST = 5  # runs below which there is no estimate
MODELS = 256  # models with a stored history; the one that was used longest ago is deleted first
PRICE = 0.34  # seconds of unnoticed time that a poll is worth, for each run that may end meanwhile

# The same while the model boots, when a poll can only show that the run has started.
PRICE_WHILE_STARTING = 1.0

# A few runs do not show the extremes, so each run also counts with these multiples of its duration.
SPREAD = (0.6, 0.8, 1.0, 1.25, 1.6)


@dataclass(frozen=True)
class Run:
    """How long a prediction was ``starting`` and then ``processing``, in seconds."""

    queued: float
    ran: float

    @classmethod
    def of(cls, prediction: Prediction) -> Run | None:
        """Read a finished prediction; return None if the API does not return its times."""
        created, started = prediction.created_at, prediction.started_at
        if not (created and started and prediction.completed_at):
            return None
        queued, ran = started - created, prediction.completed_at - started
        return cls(max(0.0, queued.total_seconds()), max(0.0, ran.total_seconds()))

    def lasted(self, state: PredictionStatus | None) -> float:
        """Return the seconds for which this state lasted; None means the whole run."""
        if state is PredictionStatus.STARTING:
            return self.queued
        return self.ran if state is PredictionStatus.PROCESSING else self.queued + self.ran


class History:
    """The last runs of one model."""

    def __init__(self) -> None:
        self._runs: deque[Run] = deque(maxlen=LENGTH)
        self._sorted: dict[PredictionStatus | None, list[float]] = {}

    def add(self, run: Run) -> None:
        """Add a run that has succeeded."""
        self._runs.append(run)
        self._sorted.clear()

    def pause(self, state: PredictionStatus | None, elapsed: float, longest: float) -> float | None:
        """Return the seconds to the next poll, or None if too little is known.

        :param state: of the last response; None if there was none yet.
        :param elapsed: seconds since the prediction was created, or since it is ``processing``.
        :param longest: seconds after which it is polled in any case; later ends do not count.
        """
        if len(self._runs) < FEWEST:
            return None
        if state not in self._sorted:
            self._sorted[state] = sorted(
                run.lasted(state) * factor for run in self._runs for factor in SPREAD
            )
        times = self._sorted[state]
        ends = times[bisect_right(times, elapsed) :]
        if not ends:
            return None  # it takes longer than all earlier runs
        price = PRICE_WHILE_STARTING if state is PredictionStatus.STARTING else PRICE
        price *= max(1, bisect_right(ends, elapsed + longest))
        # Find the time at which the runs that have ended by then were unnoticed, together, for the price.
        total = 0.0
        for number, end in enumerate(ends):
            if number * end - total >= price:
                return (price + total) / number - elapsed
            total += end
        return (price + total) / len(ends) - elapsed


class Histories:
    """The histories of the models that this process has polled."""

    def __init__(self) -> None:
        # Returns a model's history, an empty one if the model is new.
        self.of: Callable[[str], History] = lru_cache(MODELS)(lambda model: History())


@dataclass(slots=True)
class Timeline:
    """The times of one prediction, and when to poll it according to its model's history."""

    histories: Histories
    created_at: float  # epoch seconds, as far as is known
    model: str = ""  # as the API named it; "" as long as it did not
    _state: PredictionStatus | None = None
    _started_at: float | None = None
    _polled_at: float | None = None

    def on_prediction(self, prediction: Prediction, now: float) -> None:
        """Handle a response, and add a success to the model's history."""
        self.model = prediction.model_name or self.model
        self._state = prediction.status
        self.created_at = _epoch(prediction.created_at, now, self.created_at)
        if prediction.status is PredictionStatus.PROCESSING:
            self._started_at = _epoch(prediction.started_at, now, self._started_at or now)
        elif prediction.status is PredictionStatus.SUCCEEDED:
            self.histories.of(self.model).add(Run.of(prediction) or self._estimated_run(now))
        self._polled_at = now

    def pause(self, now: float, longest: float) -> float | None:
        """Return the seconds to the next poll, about ``longest`` at most, or None if unknown."""
        running = self._state is PredictionStatus.PROCESSING
        since = self._started_at if running and self._started_at else self.created_at
        history = self.histories.of(self.model)
        return history.pause(self._state, max(0.0, now - since), longest)

    def _estimated_run(self, now: float) -> Run:
        """Return the run as if it had ended halfway between the last poll and this one."""
        ended = (now + (self._polled_at or now)) / 2
        started = self._started_at or self.created_at
        return Run(max(0.0, started - self.created_at), max(0.0, ended - started))


def _epoch(time: datetime | None, now: float, otherwise: float) -> float:
    """Return a time of the API in epoch seconds; the API's clock may be ahead of ``now``."""
    return min(time.timestamp(), now) if time else otherwise
