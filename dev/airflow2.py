"""What a private Airflow 2 needs that Airflow 3 does not: settings, and the older REST API."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from dev.airflow_env import HOST
from dev.airflow_rest import AirflowApiError, AirflowRest, Json, task_path

JOBS = "SELECT job_type, start_date FROM job ORDER BY id DESC LIMIT 100"
OPEN = "AUTH_ROLE_PUBLIC = 'Admin'\n"
"""The content of ``webserver_config.py``: everyone on this machine is admin."""


@dataclass(frozen=True)
class Release:
    """The Airflow that is run: the Python that has it, and its first number."""

    python: str = sys.executable
    major: int = 3


OURS = Release()
"""The Airflow of this Python."""


def settings(home: Path, port: int) -> dict[str, str]:
    """Return the settings of Airflow 2, whose names differ, and let everyone in."""
    (home / "webserver_config.py").write_text(OPEN)
    return {
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": HOST,
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__WORKERS": "2",
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
        "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        # A task whose supervisor was killed is found dead after that many seconds without a word.
        "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "3",
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
    }


class Airflow2Rest(AirflowRest):
    """The API of an Airflow 2 that lets everyone in.

    :param database: as SQLAlchemy takes it, since this API does not list jobs.
    """

    root = "/api/v1"

    def __init__(self, base_url: str, database: str) -> None:
        super().__init__(base_url)
        self._engine = create_engine(database)

    def log_in(self) -> None:
        """Do nothing."""

    def jobs(self) -> list[Json]:
        """Return the newest jobs.

        :raises AirflowApiError: the API, or the database, does not work.
        """
        try:
            self.call("GET", "/health")
            with self._engine.connect() as connection:
                rows = connection.execute(text(JOBS))
                return [{"job_type": kind, "start_date": start.isoformat()} for kind, start in rows]
        except (SQLAlchemyError, requests.RequestException) as error:
            raise AirflowApiError("GET", "/jobs", 503, str(error)) from error

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None) -> str:
        """Create a run and return its id."""
        body = {"conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str, map_index: int) -> Any:
        """Return the value of one XCom.

        :raises AirflowApiError: with status 404 when there is none.
        """
        path = f"{task_path(dag_id, run_id, task_id)}/xcomEntries/{key}"
        return self.call("GET", path, params={"map_index": map_index, "stringify": "false"})["value"]
