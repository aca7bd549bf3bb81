"""One Airflow and one sandbox for all integration tests; both are real and end with the session."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.airflow_processes import is_alive
from dev.gateway import connection, connection_env
from dev.local_airflow import LocalAirflow

HERE = Path(__file__).parent
DAG_FOLDERS = (HERE.parent.parent / "dags_examples", HERE / "dags")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.enable_socket)


@pytest.fixture(scope="session")
def api_key() -> str:
    """A key that occurs nowhere else, so that a search for it finds every leak."""
    return f"qr-{secrets.token_hex(16)}"


@pytest.fixture(scope="session")
def sandbox(api_key: str) -> Iterator[Sandbox]:
    """The gateway of the session: half a second to start a prediction, three to make it."""
    with Sandbox(api_key=api_key, starting=0.5, processing=3.0) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example DAGs and those of the integration tests, in one folder."""
    folder = tmp_path_factory.mktemp("dags")
    for source in DAG_FOLDERS:
        for file in source.glob("*.py"):
            shutil.copy(file, folder)
    return folder


@pytest.fixture
def gateway(sandbox: Sandbox) -> Sandbox:
    """The gateway, which has forgotten what came before."""
    sandbox.clear()
    return sandbox


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, dags_folder: Path, sandbox: Sandbox, api_key: str
) -> Iterator[LocalAirflow]:
    """The Airflow of the session, with two connections that lead to the sandbox."""
    env = connection_env(connection(api_key, sandbox.url))
    env["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "True"  # for what an asset sets off
    stored = {"connection_id": "quickrouter_in_database", "conn_type": "quickrouter"}
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags_folder, env) as airflow:
        fields = {**stored, "password": api_key, "host": sandbox.url}
        airflow.rest.call("POST", "/connections", json=fields)
        yield airflow
        processes = airflow.processes()
        assert len(processes) >= 4
    left = [pid for pid in processes if is_alive(pid)]
    assert left == [], "Airflow left processes behind"


@pytest.fixture(scope="session")
def _wrong_key(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    fields = {"conn_type": "quickrouter", "password": "qr-not-the-key", "host": sandbox.url}
    connection = {"connection_id": "quickrouter_wrong_key", **fields}
    airflow.rest.call("POST", "/connections", json=connection)
