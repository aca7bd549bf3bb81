"""One prediction and who asks for it, on a clock that only pauses move; answers take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, repeat
from random import Random

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.polling.history import Histories, Run, Timeline
from airflow_provider_quickrouter.polling.poll import Again, Poll

MADE = 1_000_000_000.0
"""When each prediction is made and its wait begins, epoch seconds."""

MODEL = "owner/model"


@dataclass(frozen=True)
class Cost:
    """``delay``: seconds from the end to the first answer after it. ``requests`` until then."""

    delay: float
    requests: int


Ask = Callable[[Run], Cost]


def asked(pauses: Iterator[float], run: Run) -> Cost:
    """Ask after each pause, in seconds, until it is over."""
    end = run.queued + run.ran
    for requests, at in enumerate(accumulate(pauses), start=1):
        if at >= end:
            return Cost(at - end, requests)
    raise ValueError("the pauses end before the prediction does")


def fixed(seconds: float) -> Ask:
    """Ask every so many seconds."""
    return lambda run: asked(repeat(seconds), run)


def exponential(first: float, factor: float, longest: float) -> Ask:
    """Ask after pauses that grow up to a longest one, in seconds."""
    return lambda run: asked(growing(first, factor, longest), run)


def growing(first: float, factor: float, longest: float) -> Iterator[float]:
    """Yield pauses without end."""
    pause = first
    while True:
        yield pause
        pause = min(pause * factor, longest)


def plain(random: Random) -> Ask:
    """Ask as the provider does when it knows nothing of the model."""
    return lambda run: watched(Poll("p", MADE, jitter=random.random), run)


def learned(random: Random, histories: Histories) -> Ask:
    """Ask as the provider does with a past; the prediction does not become a part of it."""
    return lambda run: watched(watch_of(random, histories), run)


def learning(random: Random, histories: Histories) -> Ask:
    """Do the same, and let the prediction's end be learned from."""

    def ask(run: Run) -> Cost:
        watch = watch_of(random, histories)
        cost = watched(watch, run)
        seen_at = run.queued + run.ran + cost.delay
        watch.on_prediction(shown(run, seen_at), MADE + seen_at)
        return cost

    return ask


def watch_of(random: Random, histories: Histories) -> Poll:
    """Return a wait of the default ``poll_interval`` for a prediction of the one model."""
    timeline = Timeline(histories, MADE, MODEL)
    return Poll("p", MADE, jitter=random.random, timeline=timeline)


def watched(watch: Poll, run: Run) -> Cost:
    """Ask when the watch says, and show it the answers until one would be the end."""
    at, requests, end = watch.first_pause(MADE), 1, run.queued + run.ran
    while at < end:
        step = watch.on_prediction(shown(run, at), MADE + at)
        if not isinstance(step, Again):
            raise TypeError(f"the wait is over before its prediction: {step}")
        at, requests = at + step.after, requests + 1
    return Cost(at - end, requests)


def shown(run: Run, at: float) -> Prediction:
    """Return what the API shows of a prediction so many seconds after it was made."""
    end = run.queued + run.ran
    return Prediction(
        id="p",
        model=MODEL,
        status=state(run, at),
        created_at=instant(0.0),
        started_at=instant(run.queued) if at >= run.queued else None,
        completed_at=instant(end) if at >= end else None,
    )


def state(run: Run, at: float) -> PredictionStatus:
    """Return its state at that time."""
    if at < run.queued:
        return PredictionStatus.STARTING
    over = at >= run.queued + run.ran
    return PredictionStatus.SUCCEEDED if over else PredictionStatus.PROCESSING


def instant(after: float) -> datetime:
    """Return a time of the API, so many seconds after the prediction was made."""
    return datetime.fromtimestamp(MADE + after, UTC)


def past(runs: list[Run]) -> Histories:
    """Return the histories of a process that has seen these runs succeed."""
    histories = Histories()
    for run in runs:
        end = run.queued + run.ran
        Timeline(histories, MADE, MODEL).on_prediction(shown(run, end), MADE + end)
    return histories
