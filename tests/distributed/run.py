"""One run on two workers, two triggerers and two schedulers, each of which is killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from dev.airflow_services import SCHEDULER, TRIGGERER, WORKER
from dev.gateway import sandbox
from dev.local_airflow import LocalAirflow
from dev.postgres import postgres
from dev.redis import redis_server
from tests.chaos.killer import Killer
from tests.chaos.run import Chaos, Result, Stage
from tests.chaos.steps import Steps
from tests.chaos.strikes import GATEWAY, Strike, plan
from tests.distributed.settings import WORKERS, celery_env
from tests.distributed.weights import Weights

REDIS = "Redis"
DOWN = (3.0, 9.0)
"""Seconds that what was killed is away."""

PAUSE = (5.0, 15.0)
"""Seconds between two strikes."""

NEEDS = {TRIGGERER: "deferred", SCHEDULER: "scheduled", REDIS: "running"}
"""What must be going on for a strike; a worker must be at work anyway."""

PROCESSING = 20.0
"""Seconds that a prediction takes."""


def numbers(tasks: int) -> dict[str, int]:
    """Return how many strikes of each kind there are, which is more for more tasks."""
    return dict.fromkeys((WORKER, TRIGGERER, SCHEDULER, REDIS), 1 + tasks // 200)


@dataclass
class Distributed(Chaos):
    """A run with CeleryExecutor, Redis and PostgreSQL, and two of each part of Airflow."""

    weights: Weights = field(default_factory=Weights)

    @contextmanager
    def stage(self, steps: Steps) -> Iterator[Stage]:
        """Run PostgreSQL, Redis, the gateway, and Airflow."""
        logs = self.home / "logs"
        with (
            postgres(logs / "postgres.log") as database,
            redis_server(logs / "redis.log") as broker,
            sandbox(logs / "sandbox.log", options=self.gateway_options()) as gateway,
        ):
            steps.done("the servers are up")
            env = {**celery_env(broker.url, database), **self.env(gateway.url, database)}
            with LocalAirflow(
                self.home, self.suite.dags, env, say=self.say, schedulers=2, triggerers=2, workers=WORKERS
            ) as made:
                steps.done("Airflow is up")
                yield Stage(made, gateway, {GATEWAY: gateway, REDIS: broker})

    def plan(self) -> list[Strike]:
        """Return the strikes, first one first."""
        return plan(self.seed, numbers(self.tasks))

    def gateway_options(self) -> list[str]:
        """Return the sandbox's command line: there is always something that is waited for."""
        return [*super().gateway_options(), "--processing", str(PROCESSING)]

    def killer(self, stage: Stage) -> Killer:
        """Return who strikes, with longer pauses than among the processes of one machine."""
        return Killer(
            stage.airflow,
            stage.servers,
            self.plan(),
            Random(self.seed),
            self.say,
            down=DOWN,
            pause=PAUSE,
            needs=NEEDS,
        )

    def look(self, stage: Stage) -> None:
        """Weigh Airflow's components."""
        self.weights.look(stage.airflow.services.components)

    def lines(self, result: Result) -> list[str]:
        """Return the ledger, what was killed and when, what Airflow weighed, and the steps."""
        killed = [f"  {blow}" for blow in result.blows]
        weights = [f"  {line}" for line in self.weights.lines()]
        steps = [f"  {seconds:6.1f} s  {name}" for name, seconds in result.steps.items()]
        return [*result.lines(), "killed:", *killed, "weights:", *weights, "steps:", *steps]

    def gaps(self, result: Result) -> list[str]:
        """Return which parts were never killed."""
        return [f"{kind} was never killed" for kind in numbers(0) if not result.struck[kind]]
