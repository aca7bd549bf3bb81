"""One run: everything is started, struck while it works, and settled in a ledger."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import requests

from dev.airflow2 import OURS, Release
from dev.airflow_rest import AirflowApiError
from dev.gateway import SandboxProcess, sandbox
from dev.local_airflow import LocalAirflow
from dev.postgres import postgres_server
from dev.waiting import wait_until
from tests.chaos.books import BAD, Books
from tests.chaos.gathering import cancels, count_requests, get_statuses, jobs, predictions
from tests.chaos.health import Health
from tests.chaos.killer import Killer, Server
from tests.chaos.ledger import Ledger, balance
from tests.chaos.progress import done, instances, listed, over, states
from tests.chaos.steps import Steps
from tests.chaos.strikes import GATEWAY, POSTGRES, SMALL, STOP, Blow, Strike, away, numbers, plan, skew_of
from tests.chaos.suite import Flow, Suite

Value = TypeVar("Value")

SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    # A task whose supervisor was killed is found dead after that many seconds without a word.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
    # What a scheduler had queued or running when PostgreSQL went away is adopted by the next one.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
}
LONG_SETTINGS = {
    # A task outlives an outage of the API server, as with the default of 300 s.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "75"
}
"""For a run with outages."""

LATENCY = ["--fault", "latency=0.2"]
"""A create takes as long as over a real network, so that a kill may meet it."""

SETTLE = 60.0
"""Seconds that the gateway has to end what it still works on."""

AFTERMATH = 15.0
"""Seconds in which a triggerer that goes on at the very end may still do harm."""

RETURN = 120.0
"""Seconds that the API server has to come back before the books are read."""

TELL = 15.0
"""Seconds between two lines about the states of the tasks."""


@dataclass(frozen=True)
class Result:
    """What came of a run: the books, the ledger made of them, and what it cost."""

    books: Books
    ledger: Ledger
    seconds: float
    requests: int
    struck: Counter[str]
    blows: Sequence[Blow] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    skew: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Of the GETs of predictions since the gateway was last started."""

    def lines(self) -> list[str]:
        """Return all of it, for people."""
        rate = self.requests / self.seconds
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(self.statuses.items()))
        return [
            f"seconds: {self.seconds:.0f}",
            f"requests: {self.requests} ({rate:.1f} per second)",
            f"GETs by status since the gateway's last start: {statuses or 'none'}",
            f"the gateway's clock differs by: {self.skew:.0f} s",
            f"strikes: {listed(self.struck) or 'none'}",
            f"ended and started again after an outage of PostgreSQL: {listed(self.restarts) or 'none'}",
            *self.ledger.lines(),
        ]


@dataclass(frozen=True)
class Stage:
    """What a run needs: Airflow, the gateway, and all servers that may be killed, by kind."""

    airflow: LocalAirflow
    gateway: SandboxProcess
    servers: Mapping[str, Server]


@dataclass
class Chaos:
    """A run of ``tasks`` prompts with faults and kills from ``seed``.

    ``home`` is made anew, and becomes AIRFLOW_HOME; ``say`` is told one line for each step.
    """

    suite: Suite
    seed: int
    tasks: int
    home: Path
    say: Callable[[str], None]
    limit: float = 3600.0
    """Seconds after which what is not over counts as it is."""
    processing: float = 3.0
    """Seconds that a prediction takes, unless the plan says otherwise."""
    release: Release = OURS
    """Another Airflow may have no store: there the tasks store their records in a folder."""

    def run(self) -> Result:
        """Run it.

        :raises RuntimeError: a component ended that nobody had killed.
        """
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "logs").mkdir(parents=True)
        steps = Steps(self.say)
        with self.stage(steps) as stage:
            killer, health = self.killer(stage), Health(stage.airflow.services, self.say)
            began = time.monotonic()
            runs = {flow: stage.airflow.trigger(flow.dag_id) for flow in self.suite.flows}
            self._watch(stage, runs, killer, health, steps)
            seconds = time.monotonic() - began
            self._rest(stage, killer, health)
            settle(stage.gateway.url)
            steps.done("the gateway has settled")
            total = count_requests(stage.gateway.url)
            statuses = get_statuses(stage.gateway.url)
            books = self._books(stage, runs, health.deaths)
            steps.done("the books are read")
        steps.done("everything has ended")
        ledger = balance(books.accepted, books.jobs, books.cancels, books.deaths)
        return Result(
            books,
            ledger,
            seconds,
            total,
            killer.struck,
            killer.blows,
            steps.seconds,
            health.restarts,
            skew_of(self.seed),
            statuses,
        )

    @contextmanager
    def stage(self, steps: Steps) -> Iterator[Stage]:
        """Run PostgreSQL, the gateway, and Airflow with the LocalExecutor and two triggerers."""
        logs = self.home / "logs"
        with (
            postgres_server(logs / "postgres.log") as database,
            sandbox(logs / "sandbox.log", options=self.gateway_options()) as gateway,
        ):
            steps.done("the servers are up")
            env = {**self.settings(), **self.env(gateway.url, database.url)}
            with LocalAirflow(
                self.home, self.suite.dags, env, say=self.say, triggerers=2, release=self.release
            ) as made:
                steps.done("Airflow is up")
                yield Stage(made, gateway, {GATEWAY: gateway, POSTGRES: database})

    def settings(self) -> dict[str, str]:
        """Return Airflow's settings, which depend on the strikes of a run of this size."""
        return SETTINGS if self.tasks < SMALL else {**SETTINGS, **LONG_SETTINGS}

    def gateway_options(self) -> list[str]:
        """Return the sandbox's command line: its faults, its times, and its file."""
        state = str(self.home / "gateway.state")
        clock = ["--fault", f"clock_skew={skew_of(self.seed)}"]
        times = ["--processing", str(self.processing)]
        return ["--state", state, "--chaos", str(self.seed), *times, *LATENCY, *clock]

    def env(self, gateway: str, database: str) -> dict[str, str]:
        """Return what Airflow has to know of these servers, and the DAGs of the tasks."""
        return {
            **self.suite.env(gateway),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "CHAOS_TASKS": str(self.tasks),
            "CHAOS_DURABLE": f"file://{self.home}/records" if self.release != OURS else "",
        }

    def plan(self) -> list[Strike]:
        """Return the strikes, first one first."""
        return plan(self.seed, numbers(self.tasks))

    def killer(self, stage: Stage) -> Killer:
        """Return who strikes."""
        return Killer(
            stage.airflow,
            stage.servers,
            self.plan(),
            Random(self.seed),
            self.say,
            away=away(self.tasks),
            needs={STOP: "deferred"},
        )

    def look(self, stage: Stage) -> None:
        """Measure what is of interest; called every :data:`TELL` seconds."""

    def lines(self, result: Result) -> list[str]:
        """Return what is told of the run."""
        return result.lines()

    def gaps(self, result: Result) -> list[str]:
        """Return what the run should have shown and did not, as sentences."""
        return []

    def _watch(
        self, stage: Stage, runs: Mapping[Flow, str], killer: Killer, health: Health, steps: Steps
    ) -> None:
        """Let the killer work until all runs are over; report the states now and then."""
        deadline, poll, tell = time.monotonic() + self.limit, 0.0, 0.0
        share, counts = 0.0, Counter[str]()
        while (now := time.monotonic()) < deadline:
            if now >= poll:
                poll = now + 3
                tasks = if_reachable(lambda: instances(stage.airflow, runs))
                if tasks:
                    share, counts = done(tasks), states(tasks)
                    steps.reached(share)
                if share == 1 and if_reachable(lambda: over(stage.airflow, runs)):
                    return
            if now >= tell:
                tell = now + TELL
                self.say(listed(counts))
                self.look(stage)
            killer.tick(share, counts)
            health.look(killer.absent, recovering=killer.recovering)
            if health.hopeless:
                self.say("the triggerers end again and again")
                return
            time.sleep(0.1)
        self.say(f"not over after {self.limit:g} s")

    def _rest(self, stage: Stage, killer: Killer, health: Health) -> None:
        """Bring back what is down, and wait until the API server has come back as well."""
        if killer.rest():
            time.sleep(AFTERMATH)

        def back() -> bool:
            health.look(killer.absent, recovering=killer.recovering)
            return bool(if_reachable(stage.airflow.rest.jobs))

        wait_until(back, RETURN, lambda: "the API server has not come back")

    def _books(self, stage: Stage, runs: Mapping[Flow, str], deaths: Sequence[str]) -> Books:
        each = self.tasks // len(self.suite.flows)
        books = Books(
            predictions(stage.gateway.url),
            jobs(stage.airflow, runs, each),
            cancels(stage.gateway.url),
            deaths,
        )
        (self.home / "books.json").write_text(json.dumps(asdict(books), indent=1, default=sorted))
        return books


def if_reachable(read: Callable[[], Value]) -> Value | None:
    """Return what is read from the API server; None while it, or its database, does not work."""
    try:
        return read()
    except requests.RequestException:
        return None
    except AirflowApiError as error:
        if error.status < 500:
            raise
        return None


def settle(url: str) -> None:
    """Wait until the gateway has ended all predictions, or for :data:`SETTLE` seconds."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        if all(p.status in BAD | {"succeeded"} for p in predictions(url)):
            return
        time.sleep(0.5)
