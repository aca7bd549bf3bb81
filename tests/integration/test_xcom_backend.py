"""An Airflow that stores XComs as large installations do: in object storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.gateway import connection, connection_env
from dev.local_airflow import LocalAirflow

DAG_ID = "stored_elsewhere"
DAG = """
from airflow.sdk import DAG
from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator as Run, QuickRouterSubmitPredictionOperator as Submit)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor as Sensor

with DAG("stored_elsewhere", schedule=None):
    submit = Submit(task_id="submit", version=SDXL, input={"prompt": "plain"})
    Sensor(task_id="no_worker", prediction_id=submit.output, start_from_trigger=True)
    Run(task_id="run", version=SDXL, input={"prompt": "plain"}, deferrable=False)
"""


@pytest.fixture(scope="module")
def backend(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, api_key: str
) -> Iterator[tuple[LocalAirflow, str]]:
    """An Airflow of its own whose XComs are files, and a run of it."""
    home = tmp_path_factory.mktemp("backend")
    (home / "dags").mkdir()
    (home / "dags" / "dag.py").write_text(DAG)
    env = connection_env(connection(api_key, sandbox.url)) | {
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{home}/xcoms",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
    }
    with LocalAirflow(home / "airflow", home / "dags", env) as airflow:
        run_id = airflow.trigger(DAG_ID)
        assert airflow.wait_for_run(DAG_ID, run_id, 240) == "success"
        tasks = {task["task_id"]: task for task in airflow.task_instances(DAG_ID, run_id)}
        assert tasks["no_worker"]["pid"] is None  # it has ended in the triggerer
        yield airflow, run_id


def test_with_an_xcom_backend_there_are_pictures_or_a_reason_why_not(
    backend: tuple[LocalAirflow, str],
) -> None:
    airflow, run_id = backend
    token = requests.get(f"{airflow.url}/auth/token", timeout=30).json()["access_token"]
    answer = requests.get(
        f"{airflow.url}/quickrouter/api/dags/{DAG_ID}/pictures",
        params={"run_id": run_id},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert answer.json()["cards"] or "backend" in answer.text.casefold()


pytestmark = pytest.mark.slow("starts an Airflow of its own, with an XCom backend")


@pytest.mark.parametrize("task_id", ["submit", "no_worker", "run"])
def test_with_an_xcom_backend_the_button_leads_to_the_prediction(
    backend: tuple[LocalAirflow, str], task_id: str
) -> None:
    airflow, run_id = backend
    (address,) = airflow.extra_links(DAG_ID, run_id, task_id).values()
    assert address
    assert "/predictions/" in address
    assert address.startswith("http")
