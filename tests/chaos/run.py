"""One run: everything is started, struck while it works, and settled in a ledger."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from dev.airflow_rest import Json
from dev.gateway import SandboxProcess, sandbox
from dev.local_airflow import FINISHED_RUN, FINISHED_TASK, LocalAirflow
from dev.postgres import postgres
from tests.chaos.books import BAD, Books
from tests.chaos.gathering import count_requests, jobs, predictions
from tests.chaos.killer import Killer, plan
from tests.chaos.ledger import Ledger, balance
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


@dataclass(frozen=True)
class Result:
    """What came of a run: the books, the ledger made of them, and what it cost."""

    books: Books
    ledger: Ledger
    seconds: float
    requests: int
    struck: Counter[str]

    def lines(self) -> list[str]:
        """Return all of it, for people."""
        struck = ", ".join(f"{number} {kind}" for kind, number in sorted(self.struck.items()))
        rate = self.requests / self.seconds
        return [
            f"seconds: {self.seconds:.0f}",
            f"requests: {self.requests} ({rate:.1f} per second)",
            f"kills: {struck or 'none'}",
            *self.ledger.lines(),
        ]


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
        with self._stage() as (airflow, gateway):
            began = time.monotonic()
            runs = {flow: airflow.trigger(flow.dag_id) for flow in self.suite.flows}
            dice = Random(self.seed)
            killer = Killer(airflow, gateway, plan(self.seed, self.tasks), dice, self.say)
            self._watch(airflow, runs, killer)
            seconds = time.monotonic() - began
            killer.rest()
            settle(gateway.url)
            total = count_requests(gateway.url)
            each = self.tasks // len(self.suite.flows)
            books = Books(predictions(gateway.url), jobs(airflow, runs, each))
        keep(books, self.home / "books.json")
        ledger = balance(books.accepted, books.jobs)
        return Result(books, ledger, seconds, total, killer.struck)

    @contextmanager
    def _stage(self) -> Iterator[tuple[LocalAirflow, SandboxProcess]]:
        logs = self.home / "logs"
        options = ["--state", str(self.home / "gateway.state"), "--chaos", str(self.seed)]
        logs.mkdir(parents=True)
        with (
            postgres(logs / "postgres.log") as database,
            sandbox(logs / "sandbox.log", options=options + LATENCY) as gateway,
        ):
            env = {
                **SETTINGS,
                **self.suite.env(gateway.url),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                "CHAOS_TASKS": str(self.tasks),
            }
            with LocalAirflow(self.home, self.suite.dags, env, say=self.say, triggerers=2) as made:
                yield made, gateway

    def _watch(self, airflow: LocalAirflow, runs: Mapping[Flow, str], killer: Killer) -> None:
        """Let the killer work until all runs are over; tell the states every 15 seconds."""
        deadline, poll, tell, share = time.monotonic() + self.limit, 0.0, 0.0, 0.0
        while (now := time.monotonic()) < deadline:
            if now >= poll:
                poll, tasks = now + 3, instances(airflow, runs)
                share = done(tasks)
                if now >= tell:
                    tell = now + 15
                    self.say(states(tasks))
                if share == 1 and over(airflow, runs):
                    return
            killer.tick(share)
            if killer.all_up:
                airflow.check_alive()
            time.sleep(0.1)
        self.say(f"not over after {self.limit:g} s")


def instances(airflow: LocalAirflow, runs: Mapping[Flow, str]) -> list[Json]:
    """Return the task instances of all runs."""
    return [
        task
        for flow, run_id in runs.items()
        for task in airflow.task_instances(flow.dag_id, run_id)
    ]


def done(tasks: list[Json]) -> float:
    """Return the share of the work that is done: a wait in the triggerer is half of a task's."""
    part = {**dict.fromkeys(FINISHED_TASK, 1.0), "running": 0.2, "deferred": 0.5}
    return sum(part.get(task["state"], 0.0) for task in tasks) / max(1, len(tasks))


def over(airflow: LocalAirflow, runs: Mapping[Flow, str]) -> bool:
    """Whether all runs have ended."""
    return all(
        airflow.rest.run(flow.dag_id, run_id)["state"] in FINISHED_RUN
        for flow, run_id in runs.items()
    )


def states(tasks: list[Json]) -> str:
    """Return how many task instances are in which state."""
    counts = Counter(str(task["state"]) for task in tasks)
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))


def settle(url: str) -> None:
    """Wait until the gateway has ended all predictions, or for :data:`SETTLE` seconds."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        if all(p.status in BAD | {"succeeded"} for p in predictions(url)):
            return
        time.sleep(0.5)


def keep(books: Books, file: Path) -> None:
    """Write down what the ledger was made of."""
    file.write_text(json.dumps(asdict(books), indent=1, default=sorted))
