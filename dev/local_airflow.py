"""A real Airflow on this machine, for the demo, the integration tests and the chaos suite.

API server, scheduler, DAG processor and triggerer, bound to the loopback address; with SQLite and
the LocalExecutor, unless ``env`` names others.
Nothing of the user's own Airflow is read or written, and no process outlives it.
"""

import atexit
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.airflow2 import OURS, Airflow2Rest, Release, settings
from dev.airflow_env import HOST, airflow_env, free_port
from dev.airflow_rest import AirflowApiError, AirflowRest, Json
from dev.airflow_services import AirflowServices, component_names
from dev.waiting import sigterm_interrupts, wait_until

FINISHED_RUN = frozenset({"success", "failed"})
FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def no_word(text: str) -> None:
    """Ignore the line."""


class LocalAirflow:
    """A context manager: inside it Airflow runs, after it no process is left.

    SIGTERM inside raises KeyboardInterrupt, so that it is left in order.

    ``home``: its AIRFLOW_HOME, created if missing; its database is kept between starts.
    ``env``: settings and connections that are added last, ``AIRFLOW_CONN_...`` for example.
    ``port``: of the UI and the API; another free one if it is taken; 0 takes any.
    ``say``: receives one line for each long step, with seconds.
    ``schedulers``, ``triggerers``, ``workers``: how many; the second is the component
    ``triggerer-2``, and so on. SQLite is for one of each. Workers are Celery's, ``celery-worker``:
    ``env`` has to name their executor and broker.
    ``release``: the Airflow that is run, by default that of this Python.
    """

    def __init__(  # noqa: PLR0913  # each is given by its name, and most only rarely
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str],
        *,
        port: int = 0,
        say: Callable[[str], None] = no_word,
        schedulers: int = 1,
        triggerers: int = 1,
        workers: int = 0,
        release: Release = OURS,
    ) -> None:
        self.home = home.resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self.logs = self.home / "logs"
        chosen = free_port(port)
        self.url = f"http://{HOST}:{chosen}"
        if release.major == 2:
            env = {**settings(self.home, chosen), **env}
        self.env = airflow_env(self.home, dags_folder.resolve(), chosen, env)
        database = self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        self.rest = Airflow2Rest(self.url, database) if release.major == 2 else AirflowRest(self.url)
        names = component_names(schedulers, triggerers, workers)
        self.services = AirflowServices(self.env, self.logs, self.rest, say, names, release)
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._exits.enter_context(sigterm_interrupts())
        self._exits.callback(self.services.stop)
        atexit.register(self.stop)
        try:
            self.services.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process, with all of its children; calling it again does nothing."""
        atexit.unregister(self.stop)
        self._exits.close()

    def processes(self) -> set[int]:
        """Return the ids of all processes that Airflow has now, those of its tasks included."""
        return {process.pid for process in self.services.family()}

    def check_alive(self) -> None:
        """Raise RuntimeError, with the end of its log, if a component has ended by itself."""
        self.services.check_alive()

    def kill(self, component: str, signum: int) -> None:
        """Send a signal to one component alone; ``restart`` starts it again."""
        self.services.components[component].kill(signum)

    def restart(self, component: str) -> None:
        """End one component, if it still runs, start it again and wait until it is healthy."""
        self.services.restart(component)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 60) -> str:
        """Start a run as soon as the DAG is parsed and return the run's id; unpauses the DAG.

        :raises TimeoutError: no such DAG after ``timeout`` seconds; names the import errors.
        """
        self.wait_for_dag(dag_id, timeout)
        self.rest.unpause(dag_id)
        return self.rest.trigger(dag_id, conf)

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> Json:
        """Wait until a DAG is parsed and return it.

        :raises TimeoutError: no such DAG after ``timeout`` seconds; names the import errors.
        """
        return wait_until(
            lambda: self._parsed(dag_id),
            timeout,
            lambda: f"no DAG {dag_id}; import errors: {self.rest.import_errors() or 'none'}",
        )

    def _parsed(self, dag_id: str) -> Json | None:
        try:
            return self.rest.dag(dag_id)
        except AirflowApiError as error:
            if error.status == 404:
                return None
            raise

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120) -> str:
        """Wait until a run is over and return its state, ``success`` or ``failed``.

        :raises TimeoutError: not over after ``timeout`` seconds; names the tasks' states.
        """

        def finished() -> str | None:
            state = str(self.rest.run(dag_id, run_id)["state"])
            return state if state in FINISHED_RUN else None

        return wait_until(finished, timeout, lambda: self._states(dag_id, run_id))

    def _states(self, dag_id: str, run_id: str) -> str:
        tasks = self.task_instances(dag_id, run_id)
        return f"{dag_id}: " + ", ".join(f"{task['task_id']} {task['state']}" for task in tasks)

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the task instances of a run as the REST API gives them."""
        return self.rest.task_instances(dag_id, run_id)

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        """Return the state of a task instance, None before it has one or when there is none."""
        for task in self.task_instances(dag_id, run_id):
            if (task["task_id"], task["map_index"]) == (task_id, map_index):
                return None if task["state"] is None else str(task["state"])
        return None

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        state: str | None = None,
        timeout: float = 60,
        map_index: int = -1,
    ) -> str:
        """Wait until a task instance is in ``state`` (default: is over) and return its state.

        A state that lasts less than half a second may be missed.

        :raises TimeoutError: not so after ``timeout`` seconds.
        :raises RuntimeError: the task is over, in another state.
        """

        def reached() -> str | None:
            now = self.task_state(dag_id, run_id, task_id, map_index)
            if now == state or now not in FINISHED_TASK:
                return now if now == state else None
            if state is None:
                return now
            raise RuntimeError(f"{task_id} is {now}, never seen {state}")

        return wait_until(reached, timeout, lambda: self._states(dag_id, run_id))

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return the value of one XCom.

        :raises AirflowApiError: with status 404 when there is none.
        """
        return self.rest.xcom(dag_id, run_id, task_id, key, map_index)

    def xcoms(self, dag_id: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Return ``{(task_id, map_index): {key: value}}`` of a whole run, first started first."""
        tasks = sorted(self.task_instances(dag_id, run_id), key=lambda t: t["start_date"] or "")
        found: dict[tuple[str, int], dict[str, Any]] = {
            (task["task_id"], task["map_index"]): {} for task in tasks
        }
        for task_id, map_index, key in self.rest.xcom_keys(dag_id, run_id):
            value = self.rest.xcom(dag_id, run_id, task_id, key, map_index)
            found.setdefault((task_id, map_index), {})[key] = value
        return {task: values for task, values in found.items() if values}

    def extra_links(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1
    ) -> dict[str, str | None]:
        """Return the task's links, ``{name: address or None}``."""
        return self.rest.extra_links(dag_id, run_id, task_id, map_index)

    def log_text(self) -> str:
        """Return all that Airflow has written to its log files, as one string."""
        files = sorted(path for path in self.logs.rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files)

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """Return what one attempt of a task wrote, on the worker and in the triggerer."""
        folder = self.logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            folder = folder / f"map_index={map_index}"
        files = sorted(folder.glob(f"attempt={try_number}.log*"))
        return "\n".join(path.read_text(errors="replace") for path in files)
