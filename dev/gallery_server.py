"""Airflow's API server alone, with users and passwords, for what looks at the gallery.

Its database holds the DAGs of a folder and what :mod:`dev.gallery_data` fills in.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from psutil import Process

from dev.airflow_env import HOST, airflow_env, free_port
from dev.airflow_processes import Component, end
from dev.airflow_rest import AirflowRest
from dev.gallery_data import FilledRun, as_json
from dev.waiting import wait_until

ROOT = Path(__file__).parent.parent
DAGS = ROOT / "dev" / "gallery_dags"


def users_env(home: Path, users: Mapping[str, str]) -> dict[str, str]:
    """Return settings by which users must log in to Airflow.

    :param home: where their passwords are stored; each one is the user's name and ``-password``.
    :param users: role by name.
    """
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: password_of(name) for name in users}))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(map(":".join, users.items())),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }


def password_of(name: str) -> str:
    """Return the password of one of the users."""
    return f"{name}-password"


def token_of(url: str, name: str) -> str:
    """Log a user in over the API and return the token."""
    body = {"username": name, "password": password_of(name)}
    response = requests.post(f"{url}/auth/token", json=body, timeout=30)
    response.raise_for_status()
    return str(response.json()["access_token"])


class UserRest(AirflowRest):
    """Airflow's API as one of the users sees it."""

    def __init__(self, base_url: str, user: str) -> None:
        super().__init__(base_url)
        self._user = user

    def log_in(self) -> None:
        """Take a token, which is valid for a day, and use it from now on."""
        self._session.headers["Authorization"] = f"Bearer {token_of(self.base_url, self._user)}"


class GalleryServer:
    """A context manager: inside it an API server runs, after it no process of it is left.

    :param home: its AIRFLOW_HOME.
    :param users: role by name.
    :param dags: folder of the DAGs that it knows.
    :param env: more settings.
    :param python: what runs Airflow's command; by default this interpreter.
    """

    def __init__(
        self,
        home: Path,
        users: Mapping[str, str],
        dags: Path = DAGS,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        self.home = home
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        more = {"PYTHONPATH": str(ROOT), **users_env(home, users), **(env or {})}
        self.env = airflow_env(home, dags, port, more)
        command = [*python, "-m", "airflow", "api-server"]
        self._server = Component(command, self.env, home / "api-server.log")

    def __enter__(self) -> Self:
        try:
            self.run("airflow", "db", "migrate")
            self.run("airflow", "dags", "reserialize")
            self._server.start()
            wait_until(self._answers, 60, self._server.tail)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; calling it again does nothing."""
        end([self._server], grace=5)

    def processes(self) -> set[Process]:
        """Return the living processes of the server."""
        return self._server.family()

    def _answers(self) -> bool:
        if self._server.returncode() is not None:
            raise RuntimeError(f"the API server ended:\n{self._server.tail()}")
        try:
            return requests.get(f"{self.url}/api/v2/version", timeout=5).ok
        except requests.ConnectionError:
            return False

    def fill(self, *runs: FilledRun) -> None:
        """Write runs into the database."""
        self.run("dev.gallery_data", given=as_json(list(runs)))

    def run(self, module: str, *arguments: str, given: str | None = None) -> None:
        """Run a module with Airflow's settings.

        :raises RuntimeError: it failed; the message is what it wrote.
        """
        fill_in(self.env, module, *arguments, given=given)


def fill_in(env: Mapping[str, str], module: str, *arguments: str, given: str | None = None) -> None:
    """Run a module with the settings of an Airflow, and an input.

    :raises RuntimeError: it failed; the message is what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=dict(env),
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
