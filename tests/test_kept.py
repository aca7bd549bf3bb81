"""The files of an output, kept by the task that saw its success; and who is told of them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.execution_time.timeout import timeout as airflows_timeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.tasks.lineage import dataset_name
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests import tasks
from tests.conftest import connect
from tests.tasks import Store, TaskInstance, run

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
GIVEN = {"prompt": "a cat", "num_outputs": 2, "seed": 3}
PICTURES = Asset("pictures", extra={"team": "cats"})


@pytest.fixture(autouse=True)
def _private(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's files lie on this machine."""
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})


def runs(folder: Any, given: dict[str, Any] = GIVEN, **arguments: Any) -> Callable[[], Any]:
    return lambda: QuickRouterRunPredictionOperator(
        task_id="run",
        version=STABLE_DIFFUSION,
        input=given,
        output_path=folder and f"file://{folder}",
        **arguments,
    )


def submit(**faults: Any) -> str:
    given = {**GIVEN, "sandbox": faults}
    return QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION).id


def events_of(monkeypatch: pytest.MonkeyPatch) -> OutletEventAccessors:
    """The asset events of the next task."""
    events = OutletEventAccessors()
    monkeypatch.setattr(tasks, "OutletEventAccessors", lambda: events)
    return events


@MODES
def test_the_run_operator_stores_the_files_and_still_returns_the_output(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    ti = TaskInstance()
    output = run(runs(tmp_path, deferrable=deferrable), ti)
    (prediction,) = gateway.predictions
    assert output == prediction["output"]
    assert len(output) == len(ti.xcoms["files"]) == 2
    for n, file in enumerate(ti.xcoms["files"]):
        data = (tmp_path / prediction["id"] / f"{n}.png").read_bytes()
        assert file == {
            "path": f"file://{tmp_path}/{prediction['id']}/{n}.png",
            "size": len(data),
            "sha256": sha256(data).hexdigest(),
            "content_type": "image/png",
            "width": 768,
            "height": 768,
            "key": None,
            "index": n,
        }


@MODES
def test_the_sensor_stores_the_files_of_another_tasks_prediction(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    prediction_id, ti = submit(), TaskInstance()

    def sensor() -> QuickRouterPredictionSensor:
        return QuickRouterPredictionSensor(
            task_id="wait",
            prediction_id=prediction_id,
            deferrable=deferrable,
            end_from_trigger=True,
            output_path=f"file://{tmp_path}",
        )

    assert run(sensor, ti) == gateway.predictions[0]["output"]
    paths = [file["path"] for file in ti.xcoms["files"]]
    assert paths == [f"file://{tmp_path}/{prediction_id}/{n}.png" for n in range(2)]
    assert gateway.creates == 1


def test_without_a_path_nothing_is_stored_and_the_log_names_the_hour_of_deletion(
    gateway: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    ti = TaskInstance()
    run(runs(None), ti)
    assert "files" not in ti.xcoms
    hour = ti.xcoms["prediction"]["expires_at"][:16].replace("T", " ")
    told = f"The API deletes the files at {hour}+00:00: output_path= would store them"
    assert capsys.readouterr().out.count(told) == 1


def test_nothing_is_said_of_deletion_where_a_task_behind_stores_the_files(
    gateway: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction_id = submit()

    def sensor() -> QuickRouterPredictionSensor:
        wait = QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id)
        path = f"file://{tmp_path}"
        wait >> QuickRouterToObjectStorageOperator.partial(task_id="store", path=path).expand(
            prediction_id=[prediction_id]
        )
        return wait

    run(sensor, TaskInstance())
    assert "deletes the files" not in capsys.readouterr().out


def test_a_retry_after_trouble_with_a_file_takes_the_prediction_up_and_stores_it(
    gateway: Sandbox, tmp_path: Path
) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    ti = TaskInstance(Store())
    with pytest.raises(errors.FileError) as failed:
        run(runs(blocked), ti)
    assert not isinstance(failed.value, AirflowFailException)
    blocked.unlink()
    again = ti.again()
    assert run(runs(blocked), again) == gateway.predictions[0]["output"]
    assert len(again.xcoms["files"]) == 2
    assert gateway.creates == 1


def test_where_no_try_would_find_the_prediction_trouble_with_a_file_fails_for_good(
    gateway: Sandbox, tmp_path: Path
) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(errors.FileError) as failed:
        run(runs(blocked, durable=False), TaskInstance())
    assert isinstance(failed.value, AirflowFailException)


def test_execution_timeout_while_storing_is_retried_and_cancels_nothing(
    gateway: Sandbox, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/0.png"
        task = runs(tmp_path, {**GIVEN, "sandbox": {"output": [url]}})
        with pytest.raises(errors.FileUnavailable) as failed, airflows_timeout(2):
            run(task, TaskInstance(Store()))
    assert not isinstance(failed.value, AirflowFailException)
    assert not any(entry.path.endswith("/cancel") for entry in gateway.requests)
    assert list(tmp_path.rglob("*.part")) == []
    assert gateway.creates == 1


def test_asset_events_tell_of_the_prediction_and_its_files(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, ti = events_of(monkeypatch), TaskInstance()
    events[PICTURES].extra["mine"] = 1
    run(runs(tmp_path, outlets=[PICTURES, AssetAlias("alias")]), ti)
    assert events[PICTURES].extra == {
        "mine": 1,
        "prediction_id": gateway.predictions[0]["id"],
        "model": "stability-ai/stable-diffusion",
        "seed": 3,
        "cost": None,
        "files": ti.xcoms["files"],
    }
    assert len(events) == 1


def test_an_asset_event_without_stored_files_names_the_prediction(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = events_of(monkeypatch)
    run(runs(None, outlets=[PICTURES]), TaskInstance())
    assert events[PICTURES].extra["prediction_id"] == gateway.predictions[0]["id"]
    assert events[PICTURES].extra["files"] == []


def test_openlineage_is_told_of_the_files_and_of_the_prediction(gateway: Sandbox, tmp_path: Path) -> None:
    task = runs(tmp_path)()
    assert task.get_openlineage_facets_on_complete(None) is None
    task.execute(tasks.context_of(task, TaskInstance()))
    told = task.get_openlineage_facets_on_complete(None)
    prediction_id = gateway.predictions[0]["id"]
    names = [(out.namespace, out.name) for out in told.outputs]
    assert names == [("file", f"{tmp_path}/{prediction_id}/{n}.png") for n in range(2)]
    facet = told.run_facets["quickrouter_prediction"]
    assert (facet.predictionId, facet.seed) == (prediction_id, 3)


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("s3://aws_default@bucket/a/b.png", "s3://bucket", "a/b.png"),
        ("gs://bucket/b.png", "gs://bucket", "b.png"),
        ("file:///data/b.png", "file", "/data/b.png"),
        ("/data/b.png", "file", "/data/b.png"),
    ],
)
def test_openlineage_names_a_file_by_its_place_without_the_connection(
    path: str, namespace: str, name: str
) -> None:
    assert dataset_name(path) == (namespace, name)
