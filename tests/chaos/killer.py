"""SIGKILL, from a seed: what is struck when half, say, of the work is done.

The plan is a pure function of seed and number of tasks. What it finds when its time comes (which
task runs just then) is not, since Airflow runs on a machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import psutil

from dev.airflow_services import TRIGGERER
from dev.gateway import SandboxProcess
from dev.local_airflow import LocalAirflow
from tests.chaos.victims import Pair, busy_pairs, pair_of, talks_to

DOWN = (1.0, 4.0)
"""Seconds that a gateway or a triggerer is away."""

PAUSE = (1.0, 3.0)
"""Seconds between two strikes, so that a small run does not meet all of them at once."""


@dataclass(frozen=True, order=True)
class Strike:
    """``after``: the share of the work that must be done, 0 to 1."""

    after: float
    kind: str


def plan(seed: int, tasks: int) -> list[Strike]:
    """Return the strikes of a run, first one first; a few of each kind, more for more tasks."""
    dice = Random(seed)
    numbers = {
        "task": 1 + tasks // 20,
        "create": 1 + tasks // 20,
        "supervisor": 1 + tasks // 70,
        "worker": 1 + tasks // 70,
        TRIGGERER: 1 + tasks // 60,
        "gateway": 1 + tasks // 60,
    }
    return sorted(
        Strike(dice.uniform(0.0, 0.9), kind) for kind, n in numbers.items() for _ in range(n)
    )


@dataclass
class Killer:
    """Carries out a plan.

    A ``task`` is the process of a task on a worker, a ``create`` one that talks to the gateway, a
    ``supervisor`` the executor's process that watches over a task, a ``worker`` both. The
    executor's idle processes are spared: one of them holds the lock of the executor's queue, and
    takes it along. The kernel would rather choose what has much memory, so one at work, too.
    """

    airflow: LocalAirflow
    sandbox: SandboxProcess
    strikes: list[Strike]
    dice: Random
    say: Callable[[str], None]
    struck: Counter[str] = field(default_factory=Counter)
    _quiet_until: float = 0.0
    _down: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def tick(self, done: float) -> None:
        """Do what is due when the share ``done`` of the work is done: one strike at the most."""
        now = time.monotonic()
        self._raise(now)
        if now < self._quiet_until:
            return
        due = [strike for strike in self.strikes if strike.after <= done]
        strike = next((strike for strike in due if self._strike(strike.kind)), None)
        if strike:
            self.strikes.remove(strike)
            self.struck[strike.kind] += 1
            self._quiet_until = now + self.dice.uniform(*PAUSE)

    def rest(self) -> None:
        """Start again what is down, and strike no more."""
        self.strikes.clear()
        self._raise(float("inf"))

    @property
    def all_up(self) -> bool:
        """Whether nothing is down that was struck."""
        return not self._down

    def _strike(self, kind: str) -> bool:
        """Strike, and return whether there was anything to strike."""
        if kind == TRIGGERER:
            return self._strike_triggerer()
        if kind == "gateway":
            return self._strike_gateway()
        return self._strike_pair(kind)

    def _strike_pair(self, kind: str) -> bool:
        pairs = busy_pairs(self.airflow)
        if kind == "create":
            pairs = [pair for pair in pairs if talks_to(pair.task, self.sandbox.port)]
        if not pairs:
            return False
        pair = self.dice.choice(pairs)
        with held_still(pair.supervisor):
            if pair_of(pair.supervisor) != pair:
                return False
            for process in chosen(pair, kind):
                kill(process)
        self.say(f"    killed a {kind}: {pair.name}")
        return True

    def _strike_triggerer(self) -> bool:
        """Kill one, alone or with the process that runs its triggers; another must be there."""
        components = self.airflow.services.components
        names = [name for name in components if name.startswith(TRIGGERER)]
        if self._down.keys() & names:
            return False
        name, whole = self.dice.choice(names), self.dice.random() < 0.5
        self.say(f"    killed {name}{' and its runner' if whole else ''}")
        family, leader = components[name].family(), components[name].process
        for process in family if whole else {p for p in family if leader and p.pid == leader.pid}:
            kill(process)
        self._later(name, lambda: self.airflow.services.start_again(name, grace=0))
        return True

    def _strike_gateway(self) -> bool:
        if "gateway" in self._down:
            return False
        self.say("    killed the gateway")
        self.sandbox.kill()
        self._later("gateway", self.sandbox.start)
        return True

    def _later(self, name: str, again: Callable[[], None]) -> None:
        self._down[name] = (time.monotonic() + self.dice.uniform(*DOWN), again)

    def _raise(self, now: float) -> None:
        for name, (due, again) in list(self._down.items()):
            if due <= now:
                again()
                del self._down[name]


def kill(process: psutil.Process) -> None:
    """Send SIGKILL, if the process is there yet."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


@contextmanager
def held_still(process: psutil.Process) -> Iterator[None]:
    """Stop a process, so that it does not go on to another task before it is struck."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
    yield
    with suppress(psutil.NoSuchProcess):
        process.resume()


def chosen(pair: Pair, kind: str) -> list[psutil.Process]:
    """Return which of the two processes a strike kills."""
    if kind == "worker":
        return [pair.supervisor, pair.task]
    return [pair.supervisor if kind == "supervisor" else pair.task]
