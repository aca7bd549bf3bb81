"""The environment in which a private Airflow runs.

Settings that keep it on this machine, apart from any other Airflow of the user, and quick enough to
be watched. No process is started here.
"""

import base64
import json
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
FOREIGN_PREFIXES = ("AIRFLOW", "_AIRFLOW", "PYTHON", "PYTEST", "COV_", "COVERAGE")


def free_port(preferred: int = 0) -> int:
    """Return ``preferred`` if nothing listens there, else any free port of the loopback address."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # Like a server does: a port that was closed a moment ago may be taken again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free port on {HOST}")


def home_keys(home: Path) -> dict[str, str]:
    """Return the keys of this home, made at the first call: all components must share them."""
    file = home / "keys.json"
    if not file.exists():
        keys = {
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(keys))
    return dict(json.loads(file.read_text()))


def airflow_env(home: Path, dags_folder: Path, port: int, env: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment for Airflow's processes; ``env`` is applied last."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_PREFIXES)}
    places = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # The processes write to one SQLite file: wait for the lock, in seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=30",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "PYTHONUNBUFFERED": "1",
    }
    return {**inherited, **places, **SETTINGS, **home_keys(home), **dict(env)}


SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    # Only what is triggered runs: a schedule would add runs, and with a real key costs, of its own.
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    # How soon a task's process is seen to have ended. After the default, 5 s, the end of a short
    # deferral's first process may be taken for that of the second, and the task fails.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # After a triggerer was killed another takes its triggers once this many seconds have passed.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # A changed file is parsed again at once, whatever min_file_process_interval says.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
}
