"""The four processes of an Airflow: started, watched until healthy, restarted and ended together.

A process that has ended is never waited for: its log says why, and the error shows it.
"""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import requests
from psutil import Process

from dev.airflow_processes import Component, end
from dev.airflow_rest import AirflowApiError, AirflowRest
from dev.waiting import wait_until

API_SERVER = "api-server"
JOBS = {
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
# The servers of task logs would take fixed ports; the API server reads the files themselves.
ARGUMENTS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}


class AirflowServices:
    """The database and ``api-server``, ``scheduler``, ``dag-processor`` and ``triggerer``.

    ``env``: their whole environment. ``logs``: folder of their ``<name>.log``.
    ``say``: is told one line for each long step, with seconds.
    """

    def __init__(
        self, env: Mapping[str, str], logs: Path, rest: AirflowRest, say: Callable[[str], None]
    ) -> None:
        self._env = env
        self._logs = logs
        self._rest = rest
        self._say = say
        self._migration = self._component("db", "migrate")
        self.components = {
            name: self._component(name, *ARGUMENTS.get(name, [])) for name in (API_SERVER, *JOBS)
        }

    def _component(self, name: str, *arguments: str) -> Component:
        command = [sys.executable, "-m", "airflow", name, *arguments]
        return Component(command, self._env, self._logs / f"{name}.log")

    def start(self, timeout: float = 120) -> None:
        """Make or upgrade the database, start all components and wait until they are healthy.

        :raises RuntimeError: one of them ended; the message shows the end of its log.
        :raises TimeoutError: not healthy after ``timeout`` seconds.
        """
        began = time.monotonic()
        self._migration.start()
        wait_until(self._migrated, timeout, lambda: "the database is not ready")
        self._say(f"database ready ({time.monotonic() - began:.1f} s)")
        began = time.monotonic()
        for component in self.components.values():
            component.start()
        self.wait_healthy(timeout)
        self._say(f"Airflow runs at {self._rest.base_url} ({time.monotonic() - began:.1f} s)")

    def _migrated(self) -> bool:
        code = self._migration.returncode()
        if code:
            raise RuntimeError(f"airflow db migrate failed:\n{self._migration.tail()}")
        return code == 0

    def wait_healthy(self, timeout: float = 120) -> None:
        """Wait until each component that was started has shown a sign of life since its start.

        :raises RuntimeError: one of them ended; the message shows the end of its log.
        :raises TimeoutError: not healthy after ``timeout`` seconds.
        """
        wait_until(lambda: not self._unhealthy(), timeout, self._not_healthy)

    def _unhealthy(self) -> list[str]:
        self.check_alive()
        try:
            health = self._rest.health()
        except (requests.ConnectionError, AirflowApiError):
            return [API_SERVER]
        return [
            name
            for name, key in JOBS.items()
            if heartbeat(health[key].get(f"latest_{key}_heartbeat")) < self.components[name].started
        ]

    def _not_healthy(self) -> str:
        late = self._unhealthy()
        tails = (f"--- {name}\n{self.components[name].tail()}" for name in late)
        return f"no sign of life from {', '.join(late)}\n" + "\n".join(tails)

    def check_alive(self) -> None:
        """Raise RuntimeError, with the end of its log, if a component has ended by itself."""
        for name, component in self.components.items():
            code = component.returncode()
            if code is not None:
                raise RuntimeError(f"Airflow's {name} ended ({code}):\n{component.tail()}")

    def restart(self, name: str, timeout: float = 60) -> None:
        """End one component, if it still runs, start it again and wait until it is healthy."""
        end([self.components[name]], grace=15)
        self.components[name].start()
        self.wait_healthy(timeout)

    def family(self) -> set[Process]:
        """Return the living processes of all components, their children included."""
        return set().union(*(component.family() for component in self.components.values()))

    def stop(self) -> None:
        """End every process; calling it again does nothing.

        Running tasks could keep Airflow up for long; what they do is of no more interest.
        """
        end([self._migration, *self.components.values()], grace=3)


def heartbeat(moment: str | None) -> float:
    """Return an ISO 8601 instant as epoch seconds, 0 for none."""
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0
