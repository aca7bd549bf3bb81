"""The outlines of a landscape: lists of heights, 0 to 1, from left to right, drawn by dice.

Each kind of relief is a function of the dice and of the number of points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random


def peaks(dice: Random, count: int) -> list[float]:
    """Return mountains, by displacing midpoints."""
    return _stretched(_displaced(dice, count, roughness=0.54))


def hills(dice: Random, count: int) -> list[float]:
    """Return soft hills."""
    return _stretched(_waves(dice, count, octaves=3))


def dunes(dice: Random, count: int) -> list[float]:
    """Return dunes: a long soft windward side, a crest, a short hollow lee."""
    crests, start, swell = dice.uniform(1.6, 2.6), dice.random(), _stretched(_waves(dice, count, 2))
    return _stretched(
        [0.55 * _dune((start + crests * x / count) % 1.0) + 0.45 * swell[x] for x in range(count)]
    )


def _dune(part: float, crest: float = 0.66) -> float:
    if part < crest:
        return math.pow(math.sin(part / crest * math.pi / 2), 1.6)
    return math.pow(1 - (part - crest) / (1 - crest), 1.8)


def mesas(dice: Random, count: int) -> list[float]:
    """Return table mountains: a rough line that is cut into terraces."""
    line = _stretched(_displaced(dice, count, roughness=0.5))
    grain = _displaced(dice, count, roughness=0.75)
    return _stretched([_terrace(h) + 0.03 * g for h, g in zip(line, grain, strict=True)])


def _terrace(height: float, steps: int = 3) -> float:
    level, within = divmod(height * steps, 1.0)
    ramp = min(1.0, max(0.0, (within - 0.35) / 0.3))
    return (level + ramp * ramp * (3 - 2 * ramp)) / steps


def _displaced(dice: Random, count: int, roughness: float) -> list[float]:
    line, scale = [dice.uniform(-1, 1), dice.uniform(-1, 1)], 1.0
    while len(line) < count:
        middles = [(a + b) / 2 + dice.uniform(-scale, scale) for a, b in pairwise(line)]
        line = [height for pair in zip(line, middles, strict=False) for height in pair] + line[-1:]
        scale *= roughness
    return line[:count]


def _waves(dice: Random, count: int, octaves: int) -> list[float]:
    waves = [
        (dice.uniform(0.8, 1.5) * 2**octave, dice.uniform(0, math.tau), 0.5**octave)
        for octave in range(octaves)
    ]
    step = math.tau / count
    return [
        sum(height * math.sin(step * x * speed + start) for speed, start, height in waves)
        for x in range(count)
    ]


def _stretched(line: list[float]) -> list[float]:
    low, high = min(line), max(line)
    span = (high - low) or 1.0
    return [(height - low) / span for height in line]


RELIEFS: dict[str, Callable[[Random, int], list[float]]] = {
    "peaks": peaks,
    "hills": hills,
    "dunes": dunes,
    "mesas": mesas,
}
