"""The plan of the killer, and whom it finds; its blows themselves are felt in the whole run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace

import psutil
import pytest

from dev.airflow_env import SETTINGS as AIRFLOW
from dev.airflow_processes import Component, end
from dev.airflow_services import API_SERVER
from dev.waiting import wait_until
from tests.chaos.killer import Killer
from tests.chaos.run import Chaos
from tests.chaos.strikes import (
    OUTAGES,
    POSTGRES,
    SKEWS,
    STOP,
    Strike,
    away,
    may_strike,
    numbers,
    plan,
    skew_of,
)
from tests.chaos.suite import QUICKROUTER
from tests.chaos.victims import pair_of, talks_to

LOCAL = "airflow worker -- LocalExecutor: some task"
WORKER = """
import subprocess, sys
from setproctitle import setproctitle
setproctitle(sys.argv[2])
task = f"from setproctitle import setproctitle; setproctitle({sys.argv[1]!r}); print(1, flush=True)"
subprocess.run([sys.executable, "-c", f"{task}; import time; time.sleep(60)"])
"""


def test_a_seed_makes_one_plan_and_another_seed_another() -> None:
    assert plan(1, numbers(200)) == plan(1, numbers(200))
    assert plan(1, numbers(200)) != plan(2, numbers(200))


def test_every_kind_is_struck_in_a_small_run_and_more_often_in_a_large_one() -> None:
    kinds = [strike.kind for strike in plan(1, numbers(16))]
    more = [strike.kind for strike in plan(1, numbers(200))]

    parts = {"task", "create", "supervisor", "worker", "triggerer", "gateway"}
    assert set(kinds) == parts | {"triggerer stop"}
    assert all(more.count(kind) > kinds.count(kind) for kind in kinds)


def test_outages_belong_to_runs_of_many_tasks() -> None:
    kinds = [strike.kind for strike in plan(1, numbers(200))]

    assert {strike.kind for strike in plan(1, numbers(40))} >= OUTAGES
    assert [kinds.count(kind) for kind in (API_SERVER, POSTGRES, STOP)] == [2, 2, 3]


def test_the_kills_of_a_seed_do_not_depend_on_the_outages() -> None:
    kills = {kind: number for kind, number in numbers(200).items() if kind not in OUTAGES | {STOP}}

    assert set(plan(1, kills)) <= set(plan(1, numbers(200)))


def test_a_stop_lasts_longer_than_a_triggerer_may_be_silent() -> None:
    threshold = float(AIRFLOW["AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD"])

    assert all(away(tasks)[STOP][0] > threshold for tasks in (16, 200))
    assert away(16)[STOP][1] < away(200)[STOP][0]


def test_a_task_outlives_an_outage_of_the_api_server() -> None:
    heartbeat = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"
    run = Chaos(QUICKROUTER, 1, 200, Path(), print)

    assert float(run.settings()[heartbeat]) > away(200)[API_SERVER][1]


def test_nothing_is_struck_during_an_outage_and_no_outage_begins_while_something_is_down() -> None:
    assert may_strike("task", {"triggerer"})
    assert not may_strike("task", {POSTGRES})
    assert not may_strike(API_SERVER, {"triggerer"})
    assert may_strike(API_SERVER, ())


def test_a_seed_fixes_by_how_much_the_gateway_s_clock_is_wrong() -> None:
    skews = [skew_of(seed) for seed in range(100)]

    assert skews == [skew_of(seed) for seed in range(100)]
    assert set(skews) == set(SKEWS)
    assert f"clock_skew={skew_of(1)}" in Chaos(QUICKROUTER, 1, 2, Path(), print).gateway_options()


def test_a_process_that_is_no_busy_worker_is_spared() -> None:
    assert pair_of(psutil.Process(os.getpid())) is None


@pytest.mark.parametrize("title", [LOCAL, "airflow supervisor: a task of Celery"])
def test_a_worker_whose_task_runs_is_found_with_it(title: str) -> None:
    with worker("airflow worker -- 0123", title) as process:
        pair = pair_of(psutil.Process(process.pid))

    assert pair is not None
    assert (pair.supervisor.pid, pair.name) == (process.pid, "0123")


def test_a_worker_whose_task_does_not_run_yet_is_spared() -> None:
    with worker(LOCAL) as process:
        assert pair_of(psutil.Process(process.pid)) is None


@contextmanager
def worker(task: str, title: str = LOCAL) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this title, of a LocalExecutor's worker by default, with a child ``task``."""
    command = [sys.executable, "-c", WORKER, task, title]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        for child in psutil.Process(process.pid).children():
            child.kill()


@pytest.mark.enable_socket
def test_a_process_talks_to_the_port_that_it_is_connected_to() -> None:
    import socket

    me = psutil.Process(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not talks_to(me, port)
        with socket.create_connection(("127.0.0.1", port)):
            assert talks_to(me, port)


def stopped_triggerer(killer: Killer, process: Component) -> psutil.Process:
    """Let the killer stop the only triggerer, which is this process."""
    services = SimpleNamespace(components={"triggerer": process})
    killer.airflow = SimpleNamespace(services=services)  # type: ignore[assignment]
    process.start()
    killer.tick(1.0, {"deferred": 1})
    assert process.process is not None
    return psutil.Process(process.process.pid)


def is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def test_a_stopped_triggerer_goes_on_with_its_process(tmp_path: Path) -> None:
    lines: list[str] = []
    killer = Killer(None, {}, [Strike(0.1, STOP)], Random(1), lines.append)  # type: ignore[arg-type]
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    component = Component(command, dict(os.environ), tmp_path / "log")
    try:
        process = stopped_triggerer(killer, component)
        wait_until(lambda: is_stopped(process), 10, process.status)
        assert killer.absent == {"triggerer"}

        assert killer.rest()
        wait_until(lambda: not is_stopped(process), 10, process.status)
        assert killer.absent == frozenset()
        assert component.returncode() is None
    finally:
        end([component], 0)
    assert killer.struck == {STOP: 1}
    assert lines[-1] == "    triggerer goes on"


def test_a_server_comes_back_and_the_recovery_of_postgresql_is_known() -> None:
    server = Server()
    strikes = [Strike(0.1, POSTGRES)]
    killer = Killer(None, {POSTGRES: server}, strikes, Random(1), print)  # type: ignore[arg-type]
    killer.tick(1.0, {})
    assert killer.absent == {POSTGRES}
    assert not killer.recovering

    killer.rest()
    assert server.calls == ["kill", "start"]
    assert not killer.absent
    assert killer.recovering


class Server:
    port = 0

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def kill(self) -> None:
        self.calls.append("kill")


def test_a_strike_waits_until_it_would_meet_work() -> None:
    killer = Killer(
        airflow=None,  # type: ignore[arg-type]  # only the plan is asked
        servers={},
        strikes=[Strike(0.1, "triggerer"), Strike(0.1, "task"), Strike(0.9, "task")],
        dice=Random(1),
        say=print,
        needs={"triggerer": "deferred"},
    )

    assert killer._due(0.5, {"running": 1}) == [Strike(0.1, "task")]
    assert killer._due(0.5, {"deferred": 1}) == [Strike(0.1, "triggerer"), Strike(0.1, "task")]
