"""The plan of the killer, and whom it finds; its blows themselves are felt in the whole run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil
import pytest

from tests.chaos.killer import Killer
from tests.chaos.strikes import Strike, numbers, plan
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

    assert set(kinds) == {"task", "create", "supervisor", "worker", "triggerer", "gateway"}
    assert all(more.count(kind) > kinds.count(kind) for kind in kinds)


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
