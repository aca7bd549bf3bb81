"""A small client of Airflow's public REST API, to trigger and read DAG runs.

It decides nothing and waits for nothing.
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import requests

Json = dict[str, Any]
PAGE = 100
"""Items that Airflow hands out at once, unless it is configured otherwise."""


class AirflowApiError(RuntimeError):
    """Airflow's API refused a request; ``status`` is the HTTP status."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path} returned {status}: {body[:500]}")
        self.status = status


class AirflowRest:
    """The API of an Airflow at ``base_url`` whose auth manager treats every user as admin.

    It logs in at the first call.
    """

    root = "/api/v2"

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc concerns the loopback

    def log_in(self) -> None:
        """Take a token, which is valid for a day, and use it from now on."""
        response = self._session.get(f"{self.base_url}/auth/token", timeout=30)
        token = self._json(response, "GET", "/auth/token")["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **kwargs: Any) -> Json:
        """Send one request below ``root`` and return the JSON of the response.

        :raises AirflowApiError: the status was not 2xx.
        :raises requests.ConnectionError: no server listens.
        """
        if "Authorization" not in self._session.headers:
            self.log_in()
        response = self._session.request(method, f"{self.base_url}{self.root}{path}", timeout=30, **kwargs)
        return self._json(response, method, path)

    def every(self, path: str, key: str) -> list[Json]:
        """Return all items of a list, which the API hands out in pages."""
        found: list[Json] = []
        while True:
            page = self.call("GET", path, params={"limit": PAGE, "offset": len(found)})
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    @staticmethod
    def _json(response: requests.Response, method: str, path: str) -> Json:
        if not response.ok:
            raise AirflowApiError(method, path, response.status_code, response.text)
        return cast(Json, response.json())

    def jobs(self) -> list[Json]:
        """Return the newest jobs: each start of a scheduler, DAG processor or triggerer is one."""
        newest = {"order_by": "-id", "limit": PAGE}
        return cast(list[Json], self.call("GET", "/jobs", params=newest)["jobs"])

    def dag(self, dag_id: str) -> Json:
        """Return a DAG; 404 until it is parsed."""
        return self.call("GET", f"/dags/{quote(dag_id)}")

    def unpause(self, dag_id: str) -> None:
        """Let the runs of a DAG start."""
        self.call("PATCH", f"/dags/{quote(dag_id)}", json={"is_paused": False})

    def import_errors(self) -> str:
        """Return the stack traces of the DAG files that could not be parsed."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        return "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None) -> str:
        """Create a run without a logical date and return its id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        """Return a DAG run."""
        return self.call("GET", run_path(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the task instances of a run, each mapped one by itself."""
        return self.every(f"{run_path(dag_id, run_id)}/taskInstances", "task_instances")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str, map_index: int) -> Any:
        """Return the value of one XCom.

        :raises AirflowApiError: with status 404 when there is none.
        """
        path = f"{task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}"
        return self.call("GET", path, params={"map_index": map_index})["value"]

    def xcom_keys(self, dag_id: str, run_id: str) -> list[tuple[str, int, str]]:
        """Return ``(task_id, map_index, key)`` of each XCom of a run."""
        path = f"{task_path(dag_id, run_id, '~')}/xcomEntries"
        entries = self.every(path, "xcom_entries")
        return [(entry["task_id"], entry["map_index"], entry["key"]) for entry in entries]

    def extra_links(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> Json:
        """Return ``{name of the link: address or None}``."""
        path = f"{task_path(dag_id, run_id, task_id)}/links"
        params = {"map_index": map_index}
        return cast(Json, self.call("GET", path, params=params)["extra_links"])


def run_path(dag_id: str, run_id: str) -> str:
    """Return the path of a run, whose id holds ``+`` and ``:``."""
    return f"/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}"


def task_path(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the path of a task instance; ``~`` means each."""
    return f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='~')}"
