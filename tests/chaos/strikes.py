"""What is struck when half, say, of the work is done: a pure function of a seed and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from dev.airflow_services import TRIGGERER

GATEWAY = "gateway"
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


def numbers(tasks: int) -> dict[str, int]:
    """Return how many strikes of each kind there are, which is more for more tasks."""
    return {
        "task": 1 + tasks // 20,
        "create": 1 + tasks // 20,
        "supervisor": 1 + tasks // 70,
        "worker": 1 + tasks // 70,
        TRIGGERER: 1 + tasks // 60,
        GATEWAY: 1 + tasks // 60,
    }


def plan(seed: int, numbers: Mapping[str, int]) -> list[Strike]:
    """Return the strikes of a run, first one first; ``numbers`` are by kind."""
    dice = Random(seed)
    return sorted(
        Strike(dice.uniform(0.0, 0.9), kind) for kind, n in numbers.items() for _ in range(n)
    )
