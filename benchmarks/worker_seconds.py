"""``python -m benchmarks.worker_seconds``: what a wait costs on the workers, by way of waiting.

A real Airflow (LocalExecutor, PostgreSQL) runs one DAG for each way, one after the other. Each has
``--waits`` sensors without a predecessor; their predictions are made when the DAG is triggered and
end ``--seconds`` later. The worker's processes are looked at ten times a second:

- processes: task processes that the executor's workers forked;
- worker seconds: the sum of the lives of these processes, from fork to the last look; a wait in
  ``poke`` mode holds one all the time. All begin at once, so that the cores are busy with their
  beginnings: a short process lives longer here than alone;
- CPU seconds: of the executor's workers with all that they forked.

A way whose keyword the sensor does not know yet is left out, with a note.
"""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from benchmarks.report import circumstances, markdown, number, version_of
from dev.gateway import SANDBOX_KEY, connection, connection_env, sandbox
from dev.local_airflow import FINISHED_RUN, LocalAirflow
from dev.postgres import postgres
from dev.report import Clock
from dev.waiting import ending_in_order
from tests.chaos.victims import TASK, WORKER, title

ROOT = Path(__file__).resolve().parent.parent
DAGS = Path(__file__).parent / "worker_dags"
HOME = ROOT / ".airflow" / "benchmark-workers"

WAYS: Mapping[str, Mapping[str, Any]] = {
    "poke": {},
    "deferred": {"deferrable": True},
    "ended_in_triggerer": {"deferrable": True, "end_from_trigger": True},
    "started_in_triggerer": {"start_from_trigger": True},
}
"""Keywords of the sensor, by the name of the DAG."""

LOOK = 0.1
"""Seconds between two looks."""


@dataclass
class Census:
    """The children of workers that were seen: when each was forked and last seen, epoch seconds.

    Those that took the title of a task are ``tasks``, by process id; others are short helpers.
    """

    lives: dict[int, tuple[float, float]] = field(default_factory=dict)
    tasks: set[int] = field(default_factory=set)

    def look(self, workers: list[psutil.Process], now: float) -> None:
        """Note who lives now."""
        for worker in workers:
            for child in children(worker):
                self._note(child, now)

    def _note(self, child: psutil.Process, now: float) -> None:
        with suppress(psutil.Error):
            self.lives[child.pid] = (child.create_time(), now)
            if title(child).startswith(TASK) and not title(child).startswith(WORKER):
                self.tasks.add(child.pid)

    @property
    def seconds(self) -> float:
        """Return the sum of the tasks' lives."""
        lives = [self.lives[task] for task in self.tasks]
        return sum(max(0.0, seen - forked) for forked, seen in lives)


@dataclass(frozen=True)
class Cost:
    """What the waits of one way took; ``wall``: seconds from the trigger to the end of the run."""

    processes: int
    worker_seconds: float
    cpu_seconds: float
    wall: float
    state: str


def main() -> int:
    """Measure and print; return 0 when all runs succeeded."""
    options, clock = parser().parse_args(), Clock()
    shutil.rmtree(HOME, ignore_errors=True)
    costs: dict[str, Cost | None] = dict.fromkeys(options.only or WAYS)
    with ending_in_order(clock.say), stage(options, clock) as (airflow, url):
        warm_up(airflow)
        for way in filter(is_known, costs):
            costs[way] = cost = measured(airflow, url, way, options)
            clock.say(f"{way}: {cost}")
    sys.stdout.write("\n".join(["", *report(options, costs), ""]))
    return int(any(cost and cost.state != "success" for cost in costs.values()))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    kind = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser("benchmarks.worker_seconds", description=__doc__, formatter_class=kind)
    made.add_argument("--waits", type=int, default=20)
    made.add_argument("--seconds", type=float, default=25.0, help="that a prediction takes")
    made.add_argument("--only", nargs="+", choices=list(WAYS), help="default: all")
    return made


def is_known(way: str) -> bool:
    """Whether the sensor has the keywords of a way."""
    return WAYS[way].keys() <= inspect.signature(QuickRouterPredictionSensor.__init__).parameters.keys()


@contextmanager
def stage(options: argparse.Namespace, clock: Clock) -> Iterator[tuple[LocalAirflow, str]]:
    """Run database, gateway and Airflow; yield Airflow and the gateway's address."""
    logs = HOME / "logs"
    logs.mkdir(parents=True)
    times = ["--starting", "0", "--processing", str(options.seconds)]
    with postgres(logs / "postgres.log") as database, sandbox(logs / "sandbox.log", options=times) as gateway:
        env = {
            **connection_env(connection(SANDBOX_KEY, gateway.url)),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CORE__PARALLELISM": str(options.waits),
            "BENCHMARK_WAITS": str(options.waits),
            "BENCHMARK_WAYS": json.dumps({way: WAYS[way] for way in WAYS if is_known(way)}),
        }
        with LocalAirflow(HOME, DAGS, env, say=clock.say) as airflow:
            yield airflow, gateway.url


def warm_up(airflow: LocalAirflow) -> None:
    """Let the executor fork its workers, which stay: they are no part of what is measured."""
    run_id = airflow.trigger("warm_up")
    airflow.wait_for_run("warm_up", run_id)


def measured(airflow: LocalAirflow, url: str, way: str, options: argparse.Namespace) -> Cost:
    """Run one way and watch the workers until it is over."""
    airflow.wait_for_dag(way)
    census, before = Census(), cpu_seconds(workers(airflow))
    began = time.time()
    ids = [create(url) for _ in range(options.waits)]
    run_id = airflow.trigger(way, {"ids": ids})
    state = watch(airflow, way, run_id, census, began + options.seconds + 300)
    wall = time.time() - began
    cpu = cpu_seconds(workers(airflow)) - before
    return Cost(len(census.tasks), census.seconds, cpu, wall, state)


def watch(airflow: LocalAirflow, way: str, run_id: str, census: Census, until: float) -> str:
    """Look at the workers until the run is over; return its state."""
    state, asked = "", 0.0
    while state not in FINISHED_RUN and (now := time.time()) < until:
        census.look(workers(airflow), now)
        if now >= asked + 1:
            state, asked = str(airflow.rest.run(way, run_id)["state"]), now
        time.sleep(LOOK)
    return state


def create(url: str) -> str:
    """Make a prediction; return its id."""
    answer = requests.post(
        f"{url}/replicate/v1/predictions",
        json={"version": STABLE_DIFFUSION, "input": {"prompt": "worker seconds"}},
        headers={"Authorization": f"Bearer {SANDBOX_KEY}"},
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["id"])


def workers(airflow: LocalAirflow) -> list[psutil.Process]:
    """Return the executor's workers: children of the scheduler, which stay."""
    scheduler = airflow.services.components["scheduler"].process
    found = children(psutil.Process(scheduler.pid)) if scheduler else []
    return [process for process in found if is_worker(process)]


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return the children of a process; none of one that is gone."""
    try:
        return list(process.children())
    except psutil.Error:
        return []


def is_worker(process: psutil.Process) -> bool:
    """Whether it calls itself a worker of the LocalExecutor."""
    try:
        return title(process).startswith(WORKER)
    except psutil.Error:
        return False


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return what the processes took, with all of theirs that have ended."""
    return sum(sum(process.cpu_times()[:4]) for process in processes)


def report(options: argparse.Namespace, costs: Mapping[str, Cost | None]) -> list[str]:
    """Return the lines to print."""
    head = ("way", "processes", "worker s", "worker s a wait", "CPU s", "seconds", "state")
    rows = [head, *(row(way, cost, options.waits) for way, cost in costs.items())]
    return [
        circumstances(),
        f"Provider {version_of('airflow-provider-quickrouter')}; {options.waits} waits of "
        f"{options.seconds:g} s on LocalExecutor and PostgreSQL.",
        "",
        *markdown(rows),
    ]


def row(way: str, cost: Cost | None, waits: int) -> tuple[str, ...]:
    """Return the cells of one way."""
    if cost is None:
        return (way, *5 * ["-"], "not in this version")
    each = number(cost.worker_seconds / waits, 2)
    cells = number(cost.processes), number(cost.worker_seconds, 1), each
    return (way, *cells, number(cost.cpu_seconds, 1), number(cost.wall, 1), cost.state)


if __name__ == "__main__":
    sys.exit(main())
