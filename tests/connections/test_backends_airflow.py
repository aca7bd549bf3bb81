"""Whole DAG runs whose key is in a secrets backend only: neither in the database nor set."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from tests.connections.company import CompanyStore
from tests.connections.test_backends import LOCAL_FILES, as_json

pytestmark = [
    pytest.mark.slow("starts an Airflow of its own, with secrets backends"),
    pytest.mark.integration,
    pytest.mark.enable_socket,
]

HERE = Path(__file__).parent
DAG = "secret_keys"
BLOCKED = re.compile(r"Triggerer's async thread was blocked for ([\d.]+) seconds")
PAUSE = 1.0
"""Seconds that the workers' backend takes for each answer."""


@pytest.fixture(scope="module")
def key() -> str:
    """A key that occurs nowhere else and looks otherwise in a URI."""
    return f"qr/{secrets.token_hex(16)}+x=="


@pytest.fixture(scope="module")
def sandbox(key: str) -> Iterator[Sandbox]:
    """The gateway, which lets in nobody but who has the key."""
    with Sandbox(api_key=key) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def store(key: str, sandbox: Sandbox) -> Iterator[CompanyStore]:
    """The store that the workers' backend asks."""
    values = {"quickrouter_workers": as_json(sandbox.url, key)}
    with CompanyStore(values, pause=PAUSE).running() as store:
        yield store


@pytest.fixture(scope="module")
def airflow(
    key: str, sandbox: Sandbox, store: CompanyStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAirflow]:
    """An Airflow with a backend of its workers and another one of its servers."""
    folder = tmp_path_factory.mktemp("secrets")
    file = folder / "connections.yaml"
    file.write_text(json.dumps({"quickrouter_servers": json.loads(as_json(sandbox.url, key))}))
    env = {
        "PYTHONPATH": str(HERE.parent.parent),
        "AIRFLOW__SECRETS__BACKEND": LOCAL_FILES,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "tests.connections.company.CompanyBackend",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": json.dumps({"url": store.url}),
    }
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), HERE / "dags", env) as airflow:
        yield airflow


def spellings(key: str) -> set[str]:
    """Return the key as it is, percent-encoded, as JSON, and as any base64 would contain it."""
    found = {key, quote(key, safe=""), quote(key), json.dumps(key).strip('"')}
    for ahead in range(3):
        encoded = base64.b64encode(b" " * ahead + key.encode()).decode()
        found.add(encoded[4:-4])  # the ends depend on what stands beside it
    return found


def test_worker_and_triggerer_have_the_key_and_it_is_left_nowhere(
    airflow: LocalAirflow, sandbox: Sandbox, store: CompanyStore, key: str
) -> None:
    run_id = airflow.trigger(DAG)
    assert airflow.wait_for_run(DAG, run_id) == "success"
    assert sandbox.creates == 2
    # The submit's worker and the triggerer ask for it; each asks for the other one before the
    # API server, which has that.
    for whose in ("workers", "servers"):
        assert store.asked.count(f"quickrouter_{whose}") >= 2
    # A busy machine may hold the loop up by itself, but not for as long as the backend would.
    assert all(float(seconds) < PAUSE for seconds in BLOCKED.findall(airflow.log_text()))

    store.down = True
    failed = airflow.trigger(DAG)
    assert airflow.wait_for_run(DAG, failed) == "failed"
    assert airflow.task_state(DAG, failed, "submit_workers") == "failed"
    assert "'quickrouter_workers' was not found" in airflow.task_log(DAG, failed, "submit_workers")

    places = {"logs": airflow.log_text(), "xcoms": json.dumps(str(airflow.xcoms(DAG, run_id)))}
    for file in airflow.home.glob("airflow.db*"):
        places[file.name] = file.read_bytes().decode("latin-1")
    assert len(places) >= 3
    leaks = [name for name, text in places.items() if any(form in text for form in spellings(key))]
    assert leaks == []
