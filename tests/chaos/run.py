"""One run: everything is started, struck while it works, and settled in a ledger."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import requests

from dev.gateway import SandboxProcess, sandbox
from dev.local_airflow import LocalAirflow
from dev.postgres import postgres
from tests.chaos.books import BAD, Books
from tests.chaos.gathering import count_requests, jobs, predictions
from tests.chaos.killer import Killer, Server
from tests.chaos.ledger import Ledger, balance
from tests.chaos.progress import done, instances, listed, over, states
from tests.chaos.steps import Steps
from tests.chaos.strikes import GATEWAY, Blow, Strike, numbers, plan
from tests.chaos.suite import Flow, Suite

SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    # A task whose supervisor was killed is found dead after that many seconds without a word.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
}
LATENCY = ["--fault", "latency=0.2"]
"""A create takes as long as over a real network, so that a kill may meet it."""

SETTLE = 60.0
"""Seconds that the gateway has to end what it still works on."""


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

    def lines(self) -> list[str]:
        """Return all of it, for people."""
        rate = self.requests / self.seconds
        return [
            f"seconds: {self.seconds:.0f}",
            f"requests: {self.requests} ({rate:.1f} per second)",
            f"kills: {listed(self.struck) or 'none'}",
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

    def run(self) -> Result:
        """Run it.

        :raises RuntimeError: a component ended that nobody had killed.
        """
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "logs").mkdir(parents=True)
        steps = Steps(self.say)
        with self.stage(steps) as stage:
            killer = self.killer(stage)
            began = time.monotonic()
            runs = {flow: stage.airflow.trigger(flow.dag_id) for flow in self.suite.flows}
            self._watch(stage, runs, killer, steps)
            seconds = time.monotonic() - began
            killer.rest()
            settle(stage.gateway.url)
            steps.done("the gateway has settled")
            total = count_requests(stage.gateway.url)
            books = self._books(stage, runs)
            steps.done("the books are read")
        steps.done("everything has ended")
        ledger = balance(books.accepted, books.jobs)
        return Result(books, ledger, seconds, total, killer.struck, killer.blows, steps.seconds)

    @contextmanager
    def stage(self, steps: Steps) -> Iterator[Stage]:
        """Run PostgreSQL, the gateway, and Airflow with the LocalExecutor and two triggerers."""
        logs = self.home / "logs"
        with (
            postgres(logs / "postgres.log") as database,
            sandbox(logs / "sandbox.log", options=self.gateway_options()) as gateway,
        ):
            steps.done("the servers are up")
            env = {**SETTINGS, **self.env(gateway.url, database)}
            with LocalAirflow(self.home, self.suite.dags, env, say=self.say, triggerers=2) as made:
                steps.done("Airflow is up")
                yield Stage(made, gateway, {GATEWAY: gateway})

    def gateway_options(self) -> list[str]:
        """Return the sandbox's command line: its faults, and where it keeps what it knows."""
        state = str(self.home / "gateway.state")
        return ["--state", state, "--chaos", str(self.seed), *LATENCY]

    def env(self, gateway: str, database: str) -> dict[str, str]:
        """Return what Airflow has to know of these servers, and the DAGs of the tasks."""
        return {
            **self.suite.env(gateway),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "CHAOS_TASKS": str(self.tasks),
        }

    def plan(self) -> list[Strike]:
        """Return the strikes, first one first."""
        return plan(self.seed, numbers(self.tasks))

    def killer(self, stage: Stage) -> Killer:
        """Return who strikes."""
        return Killer(stage.airflow, stage.servers, self.plan(), Random(self.seed), self.say)

    def look(self, stage: Stage) -> None:
        """Measure what is of interest; called every :data:`TELL` seconds."""

    def lines(self, result: Result) -> list[str]:
        """Return what is told of the run."""
        return result.lines()

    def gaps(self, result: Result) -> list[str]:
        """Return what the run should have shown and did not, as sentences."""
        return []

    def _watch(self, stage: Stage, runs: Mapping[Flow, str], killer: Killer, steps: Steps) -> None:
        """Let the killer work until all runs are over; tell the states now and then."""
        deadline, poll, tell = time.monotonic() + self.limit, 0.0, 0.0
        share, counts = 0.0, Counter[str]()
        while (now := time.monotonic()) < deadline:
            if now >= poll:
                poll = now + 3
                with suppress(requests.Timeout):  # a busy API server is asked again
                    tasks = instances(stage.airflow, runs)
                    share, counts = done(tasks), states(tasks)
                    steps.reached(share)
                    if share == 1 and over(stage.airflow, runs):
                        return
            if now >= tell:
                tell = now + TELL
                self.say(listed(counts))
                self.look(stage)
            killer.tick(share, counts)
            if killer.all_up:
                stage.airflow.check_alive()
            time.sleep(0.1)
        self.say(f"not over after {self.limit:g} s")

    def _books(self, stage: Stage, runs: Mapping[Flow, str]) -> Books:
        each = self.tasks // len(self.suite.flows)
        books = Books(predictions(stage.gateway.url), jobs(stage.airflow, runs, each))
        (self.home / "books.json").write_text(json.dumps(asdict(books), indent=1, default=sorted))
        return books


def settle(url: str) -> None:
    """Wait until the gateway has ended all predictions, or for :data:`SETTLE` seconds."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        if all(p.status in BAD | {"succeeded"} for p in predictions(url)):
            return
        time.sleep(0.5)
