"""SIGKILL and SIGSTOP: what a plan strikes, and what it finds when its time comes.

Which task runs just then is not in the plan, since Airflow runs on a machine.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import psutil

from dev.airflow_services import TRIGGERER, WORKER, kind_of
from dev.local_airflow import LocalAirflow
from tests.chaos.strikes import GATEWAY, PAIRS, POSTGRES, STOP, Blow, Strike, may_strike
from tests.chaos.victims import Pair, busy_pairs, pair_of, pairs_of, talks_to

DOWN = (1.0, 4.0)
"""Seconds that a server or a component is away."""

RECOVERY = 60.0
"""Seconds after PostgreSQL's return in which Airflow's components may still end for its absence."""

PAUSE = (1.0, 3.0)
"""Seconds between two strikes, so that a small run does not meet all of them at once."""


class Server(Protocol):
    """A server that keeps its address, and what it knows, when it is started again."""

    port: int

    def start(self) -> None:
        """Start it and wait until it answers."""

    def kill(self) -> None:
        """End it at once."""


@dataclass
class Killer:
    """Carries out a plan. ``servers`` are by kind, the gateway among them.

    A ``task`` is the process of a task on a worker, a ``create`` one that talks to the gateway, a
    ``supervisor`` the executor's process that watches over a task, a ``worker`` both. The
    executor's idle processes are spared: one of them holds the lock of the executor's queue, and
    takes it along. The kernel would rather choose what has much memory, so one at work, too.
    Every other kind is one of Airflow's components; none of its kind may be down already.
    A ``triggerer stop`` holds one with all its processes still.
    ``down``: seconds that something is away, unless its kind is in ``away``.
    ``needs``: the state in which a task must be for a strike of that kind.
    """

    airflow: LocalAirflow
    servers: Mapping[str, Server]
    strikes: list[Strike]
    dice: Random
    say: Callable[[str], None]
    down: tuple[float, float] = DOWN
    pause: tuple[float, float] = PAUSE
    away: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    blows: list[Blow] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _quiet_until: float = 0.0
    _recovering_until: float = 0.0
    _down: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def tick(self, done: float, tasks: Mapping[str, int]) -> None:
        """Do what is due when the share ``done`` of the work is done: one strike at the most.

        ``tasks``: how many are in which state.
        """
        now = time.monotonic()
        self._raise(now)
        if now < self._quiet_until:
            return
        for strike in self._due(done, tasks):
            name = self._strike(strike.kind)
            if name:
                self.strikes.remove(strike)
                self.blows.append(Blow(strike.kind, name, now - self._began, done, tasks))
                self.say(f"    {'stopped' if strike.kind == STOP else 'killed'} {name}")
                self._quiet_until = now + self.dice.uniform(*self.pause)
                return

    def _due(self, done: float, tasks: Mapping[str, int]) -> list[Strike]:
        idle = {kind for kind, state in self.needs.items() if not tasks.get(state)}
        return [
            strike
            for strike in self.strikes
            if strike.after <= done and strike.kind not in idle and may_strike(strike.kind, self._down)
        ]

    def rest(self) -> bool:
        """Start again what is down, and strike no more; return whether anything was down."""
        was_down = bool(self._down)
        self.strikes.clear()
        self._raise(float("inf"))
        return was_down

    @property
    def absent(self) -> frozenset[str]:
        """The names of what is down because it was struck."""
        return frozenset(self._down)

    @property
    def recovering(self) -> bool:
        """Whether PostgreSQL came back so recently that components may still end for its outage."""
        return time.monotonic() < self._recovering_until

    @property
    def struck(self) -> Counter[str]:
        """How many of each kind were hit."""
        return Counter(blow.kind for blow in self.blows)

    def _strike(self, kind: str) -> str:
        """Strike, and return the name of what was hit; "" if there was nothing to strike."""
        if kind in PAIRS:
            return self._strike_pair(kind)
        if kind in self.servers:
            return self._strike_server(kind)
        if kind == STOP:
            return self._stop_triggerer()
        return self._strike_component(kind)

    def _strike_pair(self, kind: str) -> str:
        pairs = busy_pairs(self.airflow)
        if kind == "create":
            pairs = [pair for pair in pairs if self._creates(pair)]
        if not pairs:
            return ""
        pair = self.dice.choice(pairs)
        with held_still(pair.supervisor):
            if pair_of(pair.supervisor) != pair:
                return ""
            for process in chosen(pair, kind):
                kill(process)
        return f"a {kind}: {pair.name}"

    def _creates(self, pair: Pair) -> bool:
        return talks_to(pair.task, self.servers[GATEWAY].port)

    def _strike_component(self, kind: str) -> str:
        """Kill one with all its processes; of a triggerer sometimes only the one that leads."""
        names = [name for name in self.airflow.services.components if kind_of(name) == kind]
        if self._down.keys() & names:
            return ""
        if kind == WORKER:
            names = self._busy(names)
        if not names:
            return ""
        name, whole = self.dice.choice(names), kind != TRIGGERER or self.dice.random() < 0.5
        component = self.airflow.services.components[name]
        if whole:
            for process in component.family():
                kill(process)
        else:
            component.kill(signal.SIGKILL)
        self._later(name, kind, lambda: self.airflow.services.start_again(name, grace=0))
        what = f"{name} and all its processes" if whole else f"{name}, but not its runner"
        return f"{what}{self._for(name)}"

    def _stop_triggerer(self) -> str:
        """Hold one with all its processes still."""
        names = [name for name in self.airflow.services.components if kind_of(name) == TRIGGERER]
        if self._down.keys() & names:
            return ""
        name = self.dice.choice(names)
        family = self.airflow.services.components[name].family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

        def go_on() -> None:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            self.say(f"    {name} goes on")

        self._later(name, STOP, go_on)
        return f"{name}{self._for(name)}"

    def _busy(self, names: list[str]) -> list[str]:
        """Return the workers that run tasks; if there are any, only those within a create."""
        components = self.airflow.services.components
        pairs = {name: pairs_of(components[name].family()) for name in names}
        creating = [name for name in names if any(map(self._creates, pairs[name]))]
        return creating or [name for name in names if pairs[name]]

    def _strike_server(self, kind: str) -> str:
        if kind in self._down:
            return ""
        self.servers[kind].kill()
        self._later(kind, kind, self.servers[kind].start)
        return f"the {kind}{self._for(kind)}"

    def _later(self, name: str, kind: str, again: Callable[[], None]) -> None:
        seconds = self.dice.uniform(*self.away.get(kind, self.down))
        self._down[name] = (time.monotonic() + seconds, again)

    def _for(self, name: str) -> str:
        return f" for {self._down[name][0] - time.monotonic():.0f} s"

    def _raise(self, now: float) -> None:
        for name, (due, again) in list(self._down.items()):
            if due <= now:
                again()
                del self._down[name]
                if name == POSTGRES:
                    self._recovering_until = time.monotonic() + RECOVERY


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
