"""XCom ``file``: what a task leaves for the input of the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, XComNotFound

from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, SD_IMG2IMG, STABLE_DIFFUSION
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.hooks.input_files import LARGEST_FILE
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.conftest import connect
from tests.tasks import Clock, Store, TaskInstance, run

SMALL = {"prompt": "a cat", "num_outputs": 2, "width": 64, "height": 64}
TEXT = {"output": "a poem"}
INLINE = {"output": "data:image/png;base64,iVBORw0KGgo="}
NSFW = {"fail": "NSFW content detected"}


@pytest.fixture(autouse=True)
def _private(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's files lie on this machine; no test waits for a prediction."""
    Clock(monkeypatch)
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})


def runs(**arguments: Any) -> QuickRouterRunPredictionOperator:
    given = {**SMALL, "sandbox": {"processing": 0, **arguments.pop("faults", {})}}
    create = {"task_id": "run", "version": STABLE_DIFFUSION, "input": given}
    return QuickRouterRunPredictionOperator(**create | arguments)


def submitted(**faults: Any) -> str:
    given = {**SMALL, "sandbox": {"processing": 0, **faults}}
    return QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION).id


def waits(**arguments: Any) -> QuickRouterPredictionSensor:
    prediction_id = submitted(**arguments.pop("faults", {}))
    return QuickRouterPredictionSensor(task_id="run", prediction_id=prediction_id, **arguments)


def resolved(xcoms: dict[str, Any], given: Callable[[Any], dict[str, Any]]) -> Any:
    """The input of a task downstream of one that left these XComs."""

    def xcom_pull(task_ids: str, key: str, default: Any = None, **_: Any) -> Any:
        return xcoms.get(key, default)

    with DAG("test"):
        draft = runs()
        task = QuickRouterRunPredictionOperator(
            task_id="next", model=FLUX_KONTEXT_PRO, input={"prompt": "at night", **given(draft)}
        )
    ti = SimpleNamespace(dag_id="test", xcom_pull=xcom_pull)
    task.render_template_fields(cast("Any", {"ti": ti}))
    return task.input


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("make", [runs, waits], ids=["run", "wait"])
def test_a_task_that_waits_leaves_the_first_stored_path_or_else_the_first_url(
    make: Callable[..., Any], deferrable: bool, tmp_path: Path, gateway: Sandbox
) -> None:
    stores, stores_not = TaskInstance(), TaskInstance()
    task = make(deferrable=deferrable, output_path=f"file://{tmp_path}")
    run(lambda: task, stores)
    assert stores.xcoms["file"] == stores.xcoms["files"][0]["path"]
    assert stores.xcoms["file"] == f"file://{tmp_path}/{stores.xcoms['prediction']['id']}/0.png"
    task = make(deferrable=deferrable)
    output = run(lambda: task, stores_not)
    assert stores_not.xcoms["file"] == output[0]


def test_the_storing_task_and_the_group_leave_the_first_stored_path(tmp_path: Path) -> None:
    prediction_id, ti = submitted(), TaskInstance()
    waited = QuickRouterPredictionSensor(task_id="run", prediction_id=prediction_id)
    run(lambda: waited, TaskInstance())
    store = QuickRouterToObjectStorageOperator(
        task_id="run", path=f"file://{tmp_path}", prediction_id=prediction_id
    )
    paths = run(lambda: store, ti)
    assert ti.xcoms["file"] == paths[0]
    with DAG("test"):
        group: Any = quickrouter_pictures(version=STABLE_DIFFUSION, input={}, path="s3://b")
    assert (group["file"].operator.task_id, group["file"].key) == ("pictures.store", "file")


@pytest.mark.parametrize("faults", [TEXT, INLINE], ids=["text", "data URI"])
@pytest.mark.parametrize("make", [runs, waits], ids=["run", "wait"])
def test_an_output_without_an_address_leaves_no_file(
    make: Callable[..., Any], faults: dict[str, Any]
) -> None:
    ti, task = TaskInstance(), make(faults=faults)
    run(lambda: task, ti)
    assert "prediction" in ti.xcoms
    assert "file" not in ti.xcoms


def test_a_task_that_pushes_no_xcom_leaves_no_file() -> None:
    ti = TaskInstance()
    run(lambda: runs(do_xcom_push=False), ti)
    assert ti.xcoms == {}


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize(
    ("make", "skips"),
    [(runs, {"on_moderation": "skip"}), (waits, {"soft_fail": True})],
    ids=["run", "wait"],
)
def test_a_skipped_prediction_leaves_no_file_with_or_without_a_storage(
    make: Callable[..., Any], skips: dict[str, Any], stores: bool, tmp_path: Path
) -> None:
    folder = f"file://{tmp_path}" if stores else None
    ti, task = TaskInstance(), make(faults=NSFW, output_path=folder, **skips)
    with pytest.raises(AirflowSkipException):
        run(lambda: task, ti)
    assert "file" not in ti.xcoms


@pytest.mark.parametrize(
    "given",
    [
        lambda draft: {"input_image": draft.output["file"]},
        lambda draft: {"input_image": "{{ ti.xcom_pull(task_ids='run', key='file') }}"},
    ],
    ids=["output", "template"],
)
def test_the_next_input_takes_the_file_and_does_without_one_that_is_not_there(given: Any) -> None:
    assert resolved({"file": "s3://b/0.png"}, given) == {"prompt": "at night", "input_image": "s3://b/0.png"}
    assert resolved({}, given) == {"prompt": "at night"}


def test_another_xcom_that_is_not_there_is_an_error_as_ever() -> None:
    with pytest.raises(XComNotFound):
        resolved({}, lambda draft: {"input_image": draft.output["picture"]})


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_a_picture_that_was_stored_in_s3_reaches_the_next_model_as_a_presigned_url_that_nothing_shows(
    gateway: Sandbox,
    s3: str,
    deferrable: bool,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def draft() -> Any:
        given = {"prompt": "a cat", "width": 2048, "height": 2048, "sandbox": {"processing": 0}}
        return runs(input=given, output_path=s3)

    def next_one() -> Any:
        given = {"image": drafted.xcoms["file"], "prompt": "in oil", "sandbox": {"processing": 0}}
        return runs(version=SD_IMG2IMG, input=given, output_path=s3, deferrable=deferrable)

    drafted, painted = TaskInstance(Store()), TaskInstance(Store())
    run(draft, drafted)
    run(next_one, painted)
    logged = capsys.readouterr().out + caplog.text  # before this test itself reads the URL
    assert gateway.creates == 2
    url = gateway.predictions[-1]["input"]["image"]
    assert "Signature=" in url
    (file,) = drafted.xcoms["files"]
    assert file["path"] == f"{s3}/{drafted.xcoms['prediction']['id']}/0.png"
    assert len(requests.get(url, timeout=10).content) == file["size"] > LARGEST_FILE
    assert f"sending {file['path']} as a URL" in logged
    kept = repr([drafted.xcoms, painted.xcoms, vars(drafted.store), vars(painted.store), logged])
    assert "Signature=" not in kept
