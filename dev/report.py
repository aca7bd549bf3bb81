"""What a run looks like on a terminal.

Its tasks as their states change, its XComs, its picture, and of a task that failed the end of its
log.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from dev.airflow_rest import Json
from dev.local_airflow import FINISHED_RUN, LocalAirflow


class Clock:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line, at once."""
        print(f"[{self.seconds():5.1f} s] {text}", flush=True)

    def seconds(self) -> float:
        """Return the seconds since this clock was made."""
        return time.monotonic() - self._began


def watch(airflow: LocalAirflow, dag_id: str, run_id: str, say: Callable[[str], None], timeout: float) -> str:
    """Print each change of a task's state until the run ends, and return the run's state.

    :raises TimeoutError: not over after ``timeout`` seconds.
    """
    shown: dict[str, str | None] = {}
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = str(airflow.rest.run(dag_id, run_id)["state"])
        for task in airflow.task_instances(dag_id, run_id):
            print_change(task, shown, say)
        if state in FINISHED_RUN:
            return state
        time.sleep(0.25)
    raise TimeoutError(f"{dag_id} did not end within {timeout:g} s: {shown}")


def print_change(task: Json, shown: dict[str, str | None], say: Callable[[str], None]) -> None:
    """Print the state of a task instance if it is new."""
    name = label(task["task_id"], task["map_index"])
    state = task["state"]
    if state is not None and shown.get(name) != state:
        shown[name] = state
        say(f"    {name}: {state}")


def label(task_id: str, map_index: int) -> str:
    """Return the name of a task instance, with its index if it is a mapped one."""
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def xcom_lines(xcoms: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
    """Return the XComs of a run, one line for each key and for each item of a dict.

    Airflow stores the URLs of extra links as XComs too, whose keys begin with ``_link_``.
    """
    lines = []
    for (task_id, map_index), values in xcoms.items():
        lines.append(f"    {label(task_id, map_index)}")
        for key, value in sorted(values.items()):
            if not key.startswith("_link_"):
                lines += [f"        {line}" for line in value_lines(key, value)]
    return lines


def value_lines(key: str, value: Any) -> list[str]:
    """Return one XCom as readable lines of JSON."""
    if not isinstance(value, dict):
        return [f"{key} = {json.dumps(value)}"]
    return [f"{key} ="] + [f"    {name}: {json.dumps(item)}" for name, item in value.items()]


def stored_pictures(files: list[Json]) -> dict[Path, tuple[int, int]]:
    """Open what a task stored on this machine: each file with its width and height in pixels.

    :raises OSError: a file does not exist, or is not a picture.
    """
    found = {}
    for file in files:
        path = Path(urlsplit(file["path"]).path)
        with Image.open(path) as picture:
            picture.load()
            found[path] = picture.size
    return found


def failed_logs(airflow: LocalAirflow, dag_id: str, run_id: str, lines: int = 25) -> str:
    """Return the end of the log of each failed task of a run."""
    parts = []
    for task in airflow.task_instances(dag_id, run_id):
        if task["state"] == "failed":
            number, index = task["try_number"], task["map_index"]
            log = airflow.task_log(dag_id, run_id, task["task_id"], number, index)
            readable = [readable_line(line) for line in log.splitlines() if line][-lines:]
            parts += [f"--- log of {label(task['task_id'], index)}", *readable]
    return "\n".join(parts)


def readable_line(line: str) -> str:
    """Return one line of a task log, which is JSON, as level, message and errors."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    errors = [f"{e['exc_type']}: {e['exc_value']}" for e in entry.get("error_detail", [])]
    return " ".join([f"{entry.get('level', ''):8}", str(entry.get("event", "")), *errors])
