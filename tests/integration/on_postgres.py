"""An Airflow of its own on PostgreSQL, whose triggerers a test may stop, for the tests here."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, create_engine, text

from dev.airflow_processes import is_alive
from dev.airflow_services import TRIGGERER
from dev.gateway import connection, connection_env
from dev.local_airflow import LocalAirflow
from dev.postgres import postgres, programs
from dev.waiting import wait_until

DAGS = Path(__file__).parent / "postgres_dags"
KEY = "qr-key-of-scripted-gateways-0123456789"

needs_postgres = pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql")


@dataclass(frozen=True)
class OnPostgres:
    """A running Airflow and its database."""

    airflow: LocalAirflow
    database: Engine

    def processes(self, triggerer: str = TRIGGERER) -> set[psutil.Process]:
        """Return a triggerer's living processes: the one that was started, and its runner."""
        family = self.airflow.services.components[triggerer].family()
        return {process for process in family if is_alive(process.pid)}

    def owners(self) -> dict[int, int | None]:
        """Return ``{trigger's id: job id of the triggerer that it is assigned to}``."""
        with self.database.connect() as session:
            rows = session.execute(text("SELECT id, triggerer_id FROM trigger"))
            return {row.id: row.triggerer_id for row in rows}

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return ``{name of the task instance: state}``, a mapped one as ``task[index]``."""
        tasks = self.airflow.task_instances(dag_id, run_id)
        return {_name(task["task_id"], task["map_index"]): task["state"] for task in tasks}

    def raised(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the class of the error that ended the first try of a task, "" without one."""
        lines = self.airflow.task_log(dag_id, run_id, task_id).splitlines()
        details = [json.loads(line).get("error_detail") for line in lines if line]
        errors = [detail[0]["exc_type"] for detail in details if detail]
        return str(errors[-1]) if errors else ""

    @contextmanager
    def stopped(self, triggerer: str = TRIGGERER) -> Iterator[None]:
        """Stop a triggerer's processes as a frozen machine does; they continue afterwards.

        It is not stopped inside a transaction, whose locks would hold up the whole Airflow.
        """
        processes = self.processes(triggerer)
        try:
            wait_until(lambda: self._stop(processes), 60, lambda: "always in a transaction", 0.3)
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def _stop(self, processes: set[psutil.Process]) -> bool:
        """Stop the processes; let them continue and return False if a transaction is open."""
        for process in processes:
            process.suspend()
        time.sleep(0.5)  # what the database is working on ends
        if not self._in_transaction(processes):
            return True
        for process in processes:
            process.resume()
        return False

    def _in_transaction(self, processes: set[psutil.Process]) -> bool:
        ports = {c.laddr.port for each in processes for c in each.net_connections("tcp") if c.laddr}
        query = text("SELECT client_port FROM pg_stat_activity WHERE xact_start IS NOT NULL")
        with self.database.connect() as session:
            return not ports.isdisjoint(session.scalars(query))


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


@contextmanager
def airflow_on_postgres(
    home: Path, dag_file: str, gateway_url: str, env: Mapping[str, str], *, triggerers: int = 1
) -> Iterator[OnPostgres]:
    """Run an Airflow with one DAG file of ``postgres_dags``, which uses the gateway.

    :param env: more settings of Airflow, and what the DAG file reads.
    """
    (home / "dags").mkdir(parents=True)
    shutil.copy(DAGS / dag_file, home / "dags")
    with postgres(home / "postgres.log") as address:
        settings = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address, **env}
        settings |= connection_env(connection(KEY, gateway_url))
        database = create_engine(address)
        try:
            with LocalAirflow(home, home / "dags", settings, triggerers=triggerers) as airflow:
                yield OnPostgres(airflow, database)
        finally:
            database.dispose()
