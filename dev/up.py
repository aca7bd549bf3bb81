"""``make airflow``: an Airflow with the example DAGs to click through, until Ctrl-C.

The home directory stays between starts, with the history of the runs.
"""

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.airflow_env import HOST
from dev.airflow_rest import AirflowApiError, AirflowRest
from dev.gateway import CONNECTION_ID, chosen_gateway
from dev.local_airflow import LocalAirflow
from dev.report import Clock
from dev.waiting import sigterm_interrupts

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".airflow" / "ui"
DAGS = ROOT / "dags_examples"
POOL = "quickrouter"
UI_PORT = 8080
SANDBOX_PORT = 8765
SETTINGS = {
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
}


def ensure_connection(rest: AirflowRest, fields: dict[str, str]) -> str:
    """Make the connection, or point it at this sandbox or gateway; return what was done.

    A connection to anything but a sandbox of this machine was edited by the user, and is not changed.
    """
    path = f"/connections/{CONNECTION_ID}"
    # Port 0: the Test button of Airflow 3.3's UI refuses a connection that has no port.
    body = {"connection_id": CONNECTION_ID, "host": None, "port": 0, **fields}
    try:
        host = rest.call("GET", path).get("host") or ""
    except AirflowApiError as error:
        if error.status != 404:
            raise
        rest.call("POST", "/connections", json=body)
        return "made"
    if HOST not in host:
        return f"unchanged ({host or 'the real gateway'})"
    rest.call("PATCH", path, json=body)
    return "updated"


def ensure_pool(rest: AirflowRest) -> None:
    """Make the pool of the example that limits what runs at once, unless it is there."""
    body = {"name": POOL, "slots": 2, "include_deferred": True, "description": "at once"}
    try:
        rest.call("POST", "/pools", json=body)
    except AirflowApiError as error:
        if error.status != 409:
            raise


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Hold a lock, which ends with the process however it ends.

    :raises RuntimeError: another process has it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError("'make airflow' runs already, in this folder") from None
        yield


def up(clock: Clock) -> None:
    """Start everything, say how to use it, and wait for ever."""
    with (
        only_one(HOME / "lock"),
        chosen_gateway(HOME / "logs", clock.say, SANDBOX_PORT, HOME / "sandbox.db") as gateway,
        LocalAirflow(HOME, DAGS, SETTINGS, port=UI_PORT, say=clock.say) as airflow,
    ):
        clock.say(f"connection {CONNECTION_ID}: {ensure_connection(airflow.rest, gateway)}")
        ensure_pool(airflow.rest)
        if not airflow.url.endswith(f":{UI_PORT}"):
            clock.say(f"port {UI_PORT} is taken, so the UI has another")
        print(f"\n    Airflow's UI: {airflow.url} (no login: every user is admin)")
        print("    The example DAGs wait for you to press Trigger; each run has a tab Pictures.")
        if "host" in gateway:
            print(f"    The sandbox and its pictures: {gateway['host']}")
        print(f"    The connection: {airflow.url}/connections")
        print("    Ctrl-C ends everything.\n", flush=True)
        while True:
            airflow.check_alive()
            time.sleep(1)


def main() -> int:
    """Run until Ctrl-C or SIGTERM, which return 0; return 1 when something ended by itself."""
    clock = Clock()
    try:
        with sigterm_interrupts():
            up(clock)
    except KeyboardInterrupt:
        clock.say("every process has ended")
        return 0
    except (RuntimeError, OSError) as error:
        clock.say(f"failed: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
