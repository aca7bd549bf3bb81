"""What past runs of a model tell about the next question: where it pays to ask.

A question costs; so does each second for which an end goes unnoticed. The next question is put
where the unnoticed time that is to be expected has grown to the price of a question. Two times
are learned apart, in ``starting`` and in ``processing``, since one model that is sometimes booted
from cold has one history of the former and another of the latter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus

LENGTH = 30
"""Past runs that are kept of a model: enough to know it, few enough to follow its changes."""

FEWEST = 5
"""Past runs below which nothing is concluded from them."""

MODELS = 256
"""Models that are kept; the one that was not asked about for longest is forgotten first."""

PRICE = 0.34
"""Seconds of unnoticed time that a question is worth, for each run that may end meanwhile."""

PRICE_WHILE_STARTING = 1.0
"""The same while the model boots, where a question can only tell that the run has begun."""

SPREAD = (0.6, 0.8, 1.0, 1.25, 1.6)
"""Each past run stands for shorter and longer ones too: a few runs do not show the extremes."""


@dataclass(frozen=True)
class Run:
    """How long a prediction was ``starting`` and then ``processing``, in seconds."""

    queued: float
    ran: float

    @classmethod
    def of(cls, prediction: Prediction) -> Run | None:
        """Read it from a finished prediction's times; None if the API does not tell them."""
        created, started = prediction.created_at, prediction.started_at
        if not (created and started and prediction.completed_at):
            return None
        queued, ran = started - created, prediction.completed_at - started
        return cls(max(0.0, queued.total_seconds()), max(0.0, ran.total_seconds()))


class History:
    """The last runs of one model."""

    def __init__(self) -> None:
        self._runs: deque[Run] = deque(maxlen=LENGTH)
        self._sorted: dict[PredictionStatus | None, list[float]] = {}

    def add(self, run: Run) -> None:
        """Take in a run that has succeeded."""
        self._runs.append(run)
        self._sorted.clear()

    def pause(self, state: PredictionStatus | None, elapsed: float, longest: float) -> float | None:
        """Seconds to the next question, or None: too little is known.

        :param state: seen last; None if this wait has not asked yet.
        :param elapsed: seconds since the prediction was made, or since it is ``processing``.
        :param longest: seconds after which it is asked in any case; later ends do not count.
        """
        if len(self._runs) < FEWEST:
            return None
        times = self._times(state)
        ends = times[bisect_right(times, elapsed) :]
        if not ends:
            return None  # it takes longer than all runs before
        starting = state is PredictionStatus.STARTING
        price = PRICE_WHILE_STARTING if starting else PRICE
        return _when_wasted(ends, price * max(1, bisect_right(ends, elapsed + longest))) - elapsed

    def _times(self, state: PredictionStatus | None) -> list[float]:
        """How long past runs took from the beginning of this state to its end, sorted."""
        if state not in self._sorted:
            self._sorted[state] = sorted(
                _until_end(run, state) * factor for run in self._runs for factor in SPREAD
            )
        return self._sorted[state]


class Histories:
    """The histories of the models that were met in this process."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, History] = OrderedDict()

    def of(self, model: str) -> History:
        """Return a model's history, an empty one if it is new."""
        history = self._models.setdefault(model, History())
        self._models.move_to_end(model)
        if len(self._models) > MODELS:
            self._models.popitem(last=False)
        return history


@dataclass(slots=True)
class Course:
    """One prediction on its way: what a wait has seen of it, against the past of its model.

    :param histories: the past, which a success is added to.
    :param made_at: when it was made, as far as is known, epoch seconds.
    :param model: its model as the API named it before; "" if it did not.
    """

    histories: Histories
    made_at: float
    model: str = ""
    _state: PredictionStatus | None = None
    _began_at: float | None = None
    _asked_at: float | None = None

    def saw(self, prediction: Prediction, now: float) -> None:
        """Take in an answer. Times that the API does not tell are taken from the answers' own."""
        self.model = prediction.model_name or self.model
        self._state = prediction.status
        self.made_at = _instant(prediction.created_at, now, self.made_at)
        if prediction.status is PredictionStatus.PROCESSING:
            self._began_at = _instant(prediction.started_at, now, self._began_at or now)
        elif prediction.status is PredictionStatus.SUCCEEDED:
            self.histories.of(self.model).add(Run.of(prediction) or self._guess(now))
        self.asked(now)

    def asked(self, now: float) -> None:
        """Note an answer, also one that says nothing new."""
        self._asked_at = now

    def pause(self, now: float, longest: float) -> float | None:
        """Seconds to the next question, at most ``longest``, or None: too little is known."""
        running = self._state is PredictionStatus.PROCESSING
        since = self._began_at if running and self._began_at else self.made_at
        history = self.histories.of(self.model)
        return history.pause(self._state, max(0.0, now - since), longest)

    def _guess(self, now: float) -> Run:
        """Say that it ended halfway between two answers."""
        ended = (now + (self._asked_at or now)) / 2
        began = self._began_at or self.made_at
        return Run(max(0.0, began - self.made_at), max(0.0, ended - began))


def _instant(told: datetime | None, now: float, otherwise: float) -> float:
    """Return a time of the API's clock, which may be ahead of this one."""
    return min(told.timestamp(), now) if told else otherwise


def _until_end(run: Run, state: PredictionStatus | None) -> float:
    if state is PredictionStatus.STARTING:
        return run.queued
    return run.ran if state is PredictionStatus.PROCESSING else run.queued + run.ran


def _when_wasted(ends: list[float], price: float) -> float:
    """When the runs that have ended have waited, together, for ``price`` seconds."""
    total = 0.0
    for number, end in enumerate(ends):
        if number * end - total >= price:
            return (price + total) / number
        total += end
    return (price + total) / len(ends)
