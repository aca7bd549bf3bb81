"""The processes of an Airflow: started, watched until healthy, restarted and ended together.

Does not wait for a process that has ended: the error shows its log.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import requests
from psutil import Process

from dev.airflow2 import OURS, Release
from dev.airflow_processes import Component, end
from dev.airflow_rest import AirflowApiError, AirflowRest, Json
from dev.waiting import wait_until

API_SERVER = "api-server"
SCHEDULER = "scheduler"
DAG_PROCESSOR = "dag-processor"
TRIGGERER = "triggerer"
WORKER = "celery-worker"
JOBS = {SCHEDULER: "SchedulerJob", DAG_PROCESSOR: "DagProcessorJob", TRIGGERER: "TriggererJob"}
READY = {WORKER: re.compile(r"celery-worker[-\d]*@\S+ ready")}
"""What a component that has no job writes when it works."""

# The servers of task logs would take fixed ports; the API server reads the files themselves.
LOGLESS = "--skip-serve-logs"


class AirflowServices:
    """The database and ``api-server``, ``scheduler``, ``dag-processor``, ``triggerer``, workers.

    ``env``: their whole environment. ``logs``: folder of their ``<name>.log``.
    ``say``: receives one line for each long step, with seconds.
    ``names``: of the components; the second triggerer is ``triggerer-2``, and so on.
    ``release``: the Airflow that is run.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        logs: Path,
        rest: AirflowRest,
        say: Callable[[str], None],
        names: Sequence[str] = (API_SERVER, *JOBS),
        release: Release = OURS,
    ) -> None:
        self._env = env
        self._logs = logs
        self._rest = rest
        self._say = say
        self._python = release.python
        self._migration = self._component("db", "db", "migrate")
        self.components = {name: self._component(name, *arguments_of(name, release)) for name in names}

    def _component(self, name: str, *arguments: str) -> Component:
        command = [self._python, "-m", "airflow", *arguments]
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
            jobs = self._rest.jobs()
        except (requests.ConnectionError, requests.Timeout, AirflowApiError):
            return [API_SERVER]
        return [name for name in self.components if not self._has_begun(name, jobs)]

    def _has_begun(self, name: str, jobs: list[Json]) -> bool:
        kind = kind_of(name)
        if kind in READY:
            return bool(READY[kind].search(self.components[name].output()))
        if kind == API_SERVER:
            return True
        alike = [part.started for other, part in self.components.items() if kind_of(other) == kind]
        begun = [epoch(job["start_date"]) for job in jobs if job["job_type"] == JOBS[kind]]
        return has_begun(self.components[name].started, alike, begun)

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
        self.start_again(name)
        self.wait_healthy(timeout)

    def start_again(self, name: str, grace: float = 15) -> None:
        """End one component and what it left behind, and start it, without waiting for it."""
        end([self.components[name]], grace)
        self.components[name].start()

    def family(self) -> set[Process]:
        """Return the living processes of all components, their children included."""
        return set().union(*(component.family() for component in self.components.values()))

    def stop(self) -> None:
        """End every process; calling it again does nothing.

        Does not wait for running tasks.
        """
        end([self._migration, *self.components.values()], grace=3)


def component_names(schedulers: int = 1, triggerers: int = 1, workers: int = 0) -> list[str]:
    """Return the names of all components, in the order in which they are started."""
    numbers = {SCHEDULER: schedulers, DAG_PROCESSOR: 1, TRIGGERER: triggerers, WORKER: workers}
    more = [numbered(kind, n + 1) for kind, number in numbers.items() for n in range(number)]
    return [API_SERVER, *more]


def numbered(kind: str, number: int) -> str:
    """Return the name of a component: the first has that of its kind."""
    return kind if number == 1 else f"{kind}-{number}"


def kind_of(name: str) -> str:
    """Return the kind of a component: ``triggerer`` for ``triggerer-2``."""
    return name.rstrip("-0123456789")


def arguments_of(name: str, release: Release) -> list[str]:
    """Return the command line of a component, after ``airflow``.

    Workers on one machine need names of their own, ``%h`` is the machine's.
    """
    kind = kind_of(name)
    if kind == API_SERVER and release.major == 2:
        return ["webserver"]
    if kind == WORKER:
        return ["celery", "worker", LOGLESS, "--celery-hostname", f"{name}@%h"]
    return [kind, LOGLESS] if kind in (SCHEDULER, TRIGGERER) else [kind]


def has_begun(since: float, alike: Sequence[float], begun: Sequence[float]) -> bool:
    """Whether a component that was started at ``since`` has begun its job.

    A job does not name its component, and the health page shows only the newest job of a kind. So
    there must be one job for each component that is not older. Times are epoch seconds.
    """
    return sum(job >= since for job in begun) >= sum(start >= since for start in alike)


def epoch(moment: str | None) -> float:
    """Return an ISO 8601 instant as epoch seconds, 0 for none."""
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0
