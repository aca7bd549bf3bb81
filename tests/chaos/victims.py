"""The processes of the executors: which of them work, and with whom they talk.

The scheduler forks workers with the LocalExecutor; Celery's are components of their own, which
fork. A worker takes a task from a queue and forks a process for it, which it supervises: the worker
speaks to the API server, the task's process to the world.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import psutil

from dev.airflow_services import SCHEDULER
from dev.local_airflow import LocalAirflow

TASK = "airflow worker -- "
WORKER = f"{TASK}LocalExecutor"
CELERY_WORKER = "airflow supervisor: "
SUPERVISOR_2, TASK_2 = "airflow task supervisor: ", "airflow task runner: "
"""What they call themselves on Airflow 2, where the worker forks the supervisor."""


class Pair(NamedTuple):
    """A worker, the process of the task that it supervises, and the task instance's id."""

    supervisor: psutil.Process
    task: psutil.Process
    name: str


def busy_pairs(airflow: LocalAirflow) -> list[Pair]:
    """Return the LocalExecutor's workers that run a task now, the oldest first."""
    return pairs_of(airflow.services.components[SCHEDULER].family())


def pairs_of(processes: Iterable[psutil.Process]) -> list[Pair]:
    """Return those among the processes that are workers and run a task now, the oldest first."""
    found = [pair_of(process) for process in processes]
    return sorted((pair for pair in found if pair), key=lambda pair: pair.supervisor.pid)


def pair_of(process: psutil.Process) -> Pair | None:
    """Return a worker with its task; None for an idle one, and for everything else.

    A task has its title once Airflow counts it as running. Before, it is spared: a task that is
    ``queued`` when its worker is killed stays so, since the LocalExecutor cannot revoke it.
    """
    try:
        if not title(process).startswith((WORKER, CELERY_WORKER, SUPERVISOR_2)):
            return None
        for child in process.children():
            name = title(child)
            if name.startswith((TASK, TASK_2)) and not name.startswith(WORKER):
                return Pair(process, child, name.removeprefix(TASK).removeprefix(TASK_2))
    except psutil.Error:
        pass
    return None


def title(process: psutil.Process) -> str:
    """Return what the process calls itself."""
    return " ".join(process.cmdline()).strip()


def talks_to(process: psutil.Process, port: int) -> bool:
    """Whether a process has a connection to this port."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(connection.raddr and connection.raddr.port == port for connection in connections)
