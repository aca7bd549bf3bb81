"""What OpenLineage's own file transport is told, by a real Airflow, of pictures that are stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.gateway import connection, connection_env
from dev.local_airflow import LocalAirflow

HERE = Path(__file__).parent
EVENTS = "events.jsonl"


def is_intact(file: dict[str, Any]) -> bool:
    data = Path(urlsplit(file["path"]).path).read_bytes()
    whole = (len(data), sha256(data).hexdigest()) == (file["size"], file["sha256"])
    return whole and (file["width"], file["height"], file["content_type"]) == (768, 768, "image/png")


def outputs_told(file: Path, run_id: str, task_id: str) -> tuple[set[str], list[Any]]:
    """The outputs and the run facets that OpenLineage was told when a task of the run ended."""
    events = [json.loads(line) for line in file.read_text().splitlines()]
    ended = [
        event
        for event in events
        if event["eventType"] == "COMPLETE"
        and event["job"]["name"] == f"kept.{task_id}"
        and event["run"]["facets"]["airflow"]["dagRun"]["run_id"] == run_id
    ]
    names = {f"{out['namespace']}:{out['name']}" for event in ended for out in event["outputs"]}
    return names, [event["run"]["facets"].get("quickrouter_prediction") for event in ended]


@pytest.fixture
def listening(
    tmp_path: Path, sandbox: Sandbox, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalAirflow]:
    """An Airflow of its own: where OpenLineage listens, no task may end in the triggerer."""
    (tmp_path / "dags").mkdir()
    for file in (HERE / "lineage_dags").glob("*.py"):
        shutil.copy(file, tmp_path / "dags")
    transport = {"type": "file", "log_file_path": str(tmp_path / EVENTS), "append": True}
    env = connection_env(connection(api_key, sandbox.url))
    env["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    with LocalAirflow(tmp_path / "airflow", tmp_path / "dags", env) as airflow:
        yield airflow


@pytest.mark.slow("starts an Airflow of its own, with OpenLineage")
def test_run_sensor_and_transfer_store_the_same_way_and_tell_openlineage(
    listening: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    run_id = listening.trigger("kept", {"folder": f"file://{tmp_path}"})

    assert listening.wait_for_run("kept", run_id) == "success"
    for task_id, maker in {"run": "run", "wait": "submit", "store": "submit"}.items():
        files = listening.xcom("kept", run_id, task_id, "files")
        manifest = listening.xcom("kept", run_id, maker, "prediction")
        folder = f"file://{tmp_path}/{task_id}/{manifest['id']}"
        assert [file["path"] for file in files] == [f"{folder}/0.png", f"{folder}/1.png"]
        assert all(map(is_intact, files))
        outputs, facets = outputs_told(tmp_path / EVENTS, run_id, task_id)
        assert outputs == {f"file:{urlsplit(file['path']).path}" for file in files}
        (facet,) = facets
        assert (facet["predictionId"], facet["seed"]) == (manifest["id"], 7)
        assert facet["model"] == "stability-ai/stable-diffusion"
    assert listening.xcom("kept", run_id, "store") == [
        file["path"] for file in listening.xcom("kept", run_id, "store", "files")
    ]
    assert gateway.creates == 2
