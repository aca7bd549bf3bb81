"""How long predictions are queued and then run, in seconds: three distributions to draw from."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from random import Random

from airflow_provider_quickrouter.polling.history import Run

QUEUED = 0.2
"""Seconds in the queue of a model that is warm."""

MEDIAN, SIGMA = 4.0, 0.6
"""Of a warm run: seconds, and the spread of their logarithm."""

COLD, BOOT = 0.2, (60.0, 180.0)
"""Share of predictions that meet a model which must be booted first, and for how many seconds."""

Points = Sequence[tuple[float, float]]
"""Shares of predictions, rising from 0 to 1, and the seconds that so many of them stay below."""

PUBLISHED_QUEUE: Points = ((0.0, 0.1), (0.5, 0.2), (0.9, 186.0), (1.0, 1_020.0))
PUBLISHED_RUN: Points = ((0.0, 1.0), (0.1, 1.9), (0.5, 14.0), (0.9, 195.0), (1.0, 3_420.0))
"""What is published of Replicate's predictions, all models together; the least are assumed."""

Draw = Callable[[Random], Run]


def lognormal(median: float) -> Draw:
    """Draw warm runs around a median, in seconds."""
    return lambda random: Run(QUEUED, random.lognormvariate(math.log(median), SIGMA))


def warm(random: Random) -> Run:
    """Draw a run of a model that is warm."""
    return lognormal(MEDIAN)(random)


def mixture(random: Random) -> Run:
    """Draw a run of a model that is booted from cold now and then."""
    run = warm(random)
    return Run(random.uniform(*BOOT), run.ran) if random.random() < COLD else run


def published(random: Random) -> Run:
    """Draw a run as the published percentiles have it; queue and run are taken as independent."""
    queued = between(PUBLISHED_QUEUE, random.random())
    return Run(queued, between(PUBLISHED_RUN, random.random()))


def between(points: Points, share: float) -> float:
    """Return the seconds that a share of predictions stay below, straight on the logarithm."""
    place = min(bisect_right(points, share, key=lambda point: point[0]), len(points) - 1)
    (left, low), (right, high) = points[place - 1], points[place]
    return low * math.exp(math.log(high / low) * (share - left) / (right - left))


DISTRIBUTIONS: Mapping[str, Draw] = {"warm": warm, "mixture": mixture, "published": published}
