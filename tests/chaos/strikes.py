"""What is struck when half, say, of the work is done: a pure function of a seed and numbers.

So is by how much the gateway's clock is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random

from dev.airflow_services import API_SERVER, TRIGGERER

GATEWAY = "gateway"
POSTGRES = "PostgreSQL"
STOP = "triggerer stop"
"""SIGSTOP to a triggerer, and SIGCONT later; its triggers move to another triggerer meanwhile."""

OUTAGES = frozenset({API_SERVER, POSTGRES})
"""Kinds that nothing else works without: during one of these nothing else is struck."""

PAIRS = frozenset({"task", "create", "supervisor", "worker"})
"""Kinds that concern a task and the process that watches over it."""


@dataclass(frozen=True, order=True)
class Strike:
    """``after``: the share of the work that must be done, 0 to 1."""

    after: float
    kind: str


@dataclass(frozen=True)
class Blow:
    """A strike that hit ``name``, after ``at`` seconds of the run, when ``done`` of it was done.

    ``tasks``: how many were in which state when it was last looked.
    """

    kind: str
    name: str
    at: float
    done: float
    tasks: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        met = ", ".join(f"{self.tasks.get(state, 0)} {state}" for state in ("running", "deferred"))
        return f"{self.at:4.0f} s, {self.done:4.0%} done, {met}: {self.name}"


SMALL = 30
"""A run of fewer tasks is a test: it has no outages, and short stops."""

AWAY = {API_SERVER: (20.0, 40.0), POSTGRES: (15.0, 15.0), STOP: (30.0, 100.0)}
"""Seconds that a kind is away; the others come back sooner."""

AWAY_SMALL = {STOP: (12.0, 15.0)}
"""Longer than the triggerer's health threshold."""

SKEWS = (-300.0, -40.0, 0.0, 40.0, 300.0)
"""Seconds by which the gateway's clock may differ from the true time."""


def away(tasks: int) -> Mapping[str, tuple[float, float]]:
    """Return for how many seconds the kinds are away which have a time of their own."""
    return AWAY_SMALL if tasks < SMALL else AWAY


def skew_of(seed: int) -> float:
    """Return by how many seconds the gateway's clock is wrong in the run of a seed."""
    return Random(f"clock {seed}").choice(SKEWS)


def may_strike(kind: str, down: Collection[str]) -> bool:
    """Return whether a kind may be struck while these are down, by name."""
    return not down if kind in OUTAGES else not OUTAGES & set(down)


def numbers(tasks: int) -> dict[str, int]:
    """Return how many strikes of each kind there are, which is more for more tasks."""
    outages = 0 if tasks < SMALL else 1 + tasks // 150
    return {
        "task": 1 + tasks // 20,
        "create": 1 + tasks // 20,
        "supervisor": 1 + tasks // 70,
        "worker": 1 + tasks // 70,
        TRIGGERER: 1 + tasks // 60,
        GATEWAY: 1 + tasks // 60,
        STOP: 1 + tasks // 80,
        API_SERVER: outages,
        POSTGRES: outages,
    }


def plan(seed: int, numbers: Mapping[str, int]) -> list[Strike]:
    """Return the strikes of a run, first one first; ``numbers`` are by kind."""
    dice = Random(seed)
    return sorted(Strike(dice.uniform(0.0, 0.9), kind) for kind, n in numbers.items() for _ in range(n))
