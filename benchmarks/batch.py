"""``python -m benchmarks.batch``: one task that makes thousands of predictions, on a real Airflow.

The sandbox lets ``--creates-per-minute`` through, and every hundredth prediction fails. With
``--kill`` the batch's worker is killed (SIGKILL: the task's process and its supervisor) at a third
of the creates, and the triggerer at two thirds, and once more while it waits. It prints the
wall time against what the limit alone needs, how many predictions were made, whether exactly the
lines that should have failed say so, and the memory of the task's process and of the triggerer.

With ``--mapped N`` the first N inputs are then run as mapped tasks, under the same limit.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.report import circumstances, markdown, number
from dev.airflow_services import TRIGGERER
from dev.gateway import SANDBOX_KEY, connection, connection_env, sandbox
from dev.local_airflow import FINISHED_RUN, LocalAirflow
from dev.postgres import postgres
from dev.report import Clock
from dev.waiting import ending_in_order
from tests.chaos.killer import kill
from tests.chaos.run import SETTINGS
from tests.chaos.victims import Pair, busy_pairs

ROOT = Path(__file__).resolve().parent.parent
DAGS = Path(__file__).parent / "batch_dags"
HOME = ROOT / ".airflow" / "benchmark-batch"
RESULTS = HOME / "results.jsonl"
MEGABYTE = 2**20

LOOK = 0.5
"""Seconds between two looks."""


@dataclass
class Watching:
    """One run that is watched, and struck where ``strikes`` says so."""

    airflow: LocalAirflow
    url: str
    inputs: int
    strikes: list[str]
    say: Any
    first: float = 0.0
    peak: float = 0.0
    triggerer: float = 0.0
    struck: list[str] = field(default_factory=list)

    def look(self, state: str | None) -> None:
        """Note the memory, and strike if it is time to."""
        pairs = [pair for pair in busy_pairs(self.airflow) if state == "running"]
        if pairs:
            now = memory(pairs[0].task)
            self.first = self.first or now
            self.peak = max(self.peak, now)
        family = self.airflow.services.components[TRIGGERER].family()
        self.triggerer = max([self.triggerer, *map(memory, family)])
        if self.strikes and self._is_time(self.strikes[0], state, pairs):
            kind = self.strikes.pop(0)
            self._strike(kind, pairs)
            self.struck.append(kind)

    def _is_time(self, kind: str, state: str | None, pairs: list[Pair]) -> bool:
        made = creates(self.url)
        if kind == "worker":
            return made >= self.inputs / 3 and bool(pairs)
        return state == "deferred" if kind == "waiting" else made >= 2 * self.inputs / 3

    def _strike(self, kind: str, pairs: list[Pair]) -> None:
        self.say(f"killing: {kind}, after {creates(self.url)} creates")
        if kind == "worker":
            kill(pairs[0].supervisor)
            kill(pairs[0].task)
            return
        for process in self.airflow.services.components[TRIGGERER].family():
            kill(process)
        self.airflow.services.start_again(TRIGGERER, grace=0)


def main() -> int:
    """Measure and print; return 0 when nothing was paid for twice and the right lines failed."""
    options, clock = parser().parse_args(), Clock()
    shutil.rmtree(HOME, ignore_errors=True)
    with ending_in_order(clock.say), stage(options, clock) as (airflow, url):
        rows, good = measured(airflow, url, options, clock)
        if options.mapped:
            rows.append(mapped(airflow, url, options, clock))
    sys.stdout.write("\n".join(["", circumstances(), "", *markdown(rows), ""]))
    return 0 if good else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    kind = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser("benchmarks.batch", description=__doc__, formatter_class=kind)
    made.add_argument("--inputs", type=int, default=2000)
    made.add_argument("--creates-per-minute", type=float, default=600.0)
    made.add_argument("--processing", type=float, default=3.0, help="seconds of a prediction")
    made.add_argument("--kill", action="store_true")
    made.add_argument("--mapped", type=int, default=0, help="default: not at all")
    return made


@contextmanager
def stage(options: argparse.Namespace, clock: Clock) -> Iterator[tuple[LocalAirflow, str]]:
    """Run database, gateway and Airflow; yield Airflow and the gateway's address."""
    logs = HOME / "logs"
    logs.mkdir(parents=True)
    limits = ["--creates-per-minute", str(options.creates_per_minute)]
    times = ["--starting", "0.5", "--processing", str(options.processing)]
    faults = ["--calls-per-minute", "3000", "--fault", "latency=0.1"]
    with (
        postgres(logs / "postgres.log") as database,
        sandbox(logs / "sandbox.log", options=[*limits, *times, *faults]) as gateway,
    ):
        env = {
            **SETTINGS,
            **connection_env(connection(SANDBOX_KEY, gateway.url)),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "BENCHMARK_INPUTS": str(options.inputs),
            "BENCHMARK_MAPPED": str(options.mapped or 1),
            "BENCHMARK_LIMIT": str(options.creates_per_minute),
            "BENCHMARK_RESULTS": str(RESULTS),
        }
        with LocalAirflow(HOME, DAGS, env, say=clock.say) as airflow:
            yield airflow, gateway.url


def measured(
    airflow: LocalAirflow, url: str, options: argparse.Namespace, clock: Clock
) -> tuple[list[tuple[str, ...]], bool]:
    """Run the batch; return the rows of the table, and whether all is as it should be."""
    airflow.wait_for_dag("batch")
    strikes = ["worker", TRIGGERER, "waiting"] if options.kill else []
    watching = Watching(airflow, url, options.inputs, strikes, clock.say)
    wall, state = watch(airflow, "batch", watching, 60.0 * options.inputs)
    least = 60.0 * options.inputs / options.creates_per_minute
    wrong = wrong_lines(options.inputs)
    made = creates(url)
    rows: list[tuple[str, ...]] = [
        ("batch", "value"),
        ("state", state),
        ("inputs", number(options.inputs)),
        ("wall seconds", number(wall, 1)),
        ("what the limit alone needs", number(least, 1)),
        ("times that", number(wall / least, 3)),
        ("creates", number(made)),
        ("creates that were refused (429)", number(refused(url))),
        ("lines", number(len(RESULTS.read_text().splitlines()))),
        ("lines that say something wrong", number(wrong)),
        ("kills", ", ".join(watching.struck) or "none"),
        ("memory of the task's process: first seen, peak", sizes(watching.first, watching.peak)),
        ("memory of the triggerer: peak", sizes(watching.triggerer)),
    ]
    return rows, bool(state == "success" and made == options.inputs and not wrong)


def mapped(airflow: LocalAirflow, url: str, options: argparse.Namespace, clock: Clock) -> tuple[str, ...]:
    """Run mapped tasks; return a row: how long they took, and what the limit alone needs."""
    wall, _ = watch(airflow, "mapped", Watching(airflow, url, 0, [], clock.say), 7200)
    least = 60.0 * options.mapped / options.creates_per_minute
    return (f"{options.mapped} mapped tasks: wall seconds (limit {least:.0f})", number(wall, 1))


def watch(airflow: LocalAirflow, dag_id: str, watching: Watching, timeout: float) -> tuple[float, str]:
    """Run a DAG to its end; return seconds, from the start of its main task, and state."""
    run_id = airflow.trigger(dag_id)
    began, state, until = 0.0, "", time.time() + timeout
    while state not in FINISHED_RUN and time.time() < until:
        now = airflow.task_state(dag_id, run_id, "run") if dag_id == "batch" else None
        if not began and airflow.task_state(dag_id, run_id, "inputs") == "success":
            began = time.time()
        watching.look(now)
        state = str(airflow.rest.run(dag_id, run_id)["state"])
        time.sleep(LOOK)
    return time.time() - began, state


def creates(url: str) -> int:
    """Return how many predictions were made."""
    return int(requests.get(f"{url}/sandbox/counts", timeout=30).json()["creates"])


def refused(url: str) -> int:
    """Return how many creates met the limit."""
    entries: list[Any] = requests.get(f"{url}/sandbox/requests", timeout=60).json()["requests"]
    return sum(1 for entry in entries if (entry["method"], entry["status"]) == ("POST", 429))


def wrong_lines(inputs: int) -> int:
    """Count the lines that are missing, not in order, or say another end than they should."""
    lines = [json.loads(text) for text in RESULTS.read_text().splitlines()]
    ids = {line["id"] for line in lines}
    right = sum(
        (line["index"], line["outcome"]) == (index, "failed" if index % 100 == 50 else "succeeded")
        for index, line in enumerate(lines)
    )
    return inputs - right + len(lines) - len(ids)


def memory(process: psutil.Process) -> float:
    """Return the resident memory of a process, 0 of one that is gone."""
    try:
        return float(process.memory_info().rss)
    except psutil.Error:
        return 0.0


def sizes(*values: float) -> str:
    """Return numbers of bytes for people."""
    return ", ".join(f"{value / MEGABYTE:.0f} MB" for value in values)


if __name__ == "__main__":
    sys.exit(main())
