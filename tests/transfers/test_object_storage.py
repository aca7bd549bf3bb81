"""The operator that keeps an output: what it returns, leaves, refuses, and what a retry does."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from pytest_httpserver import HTTPServer
from werkzeug import Response

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, Prediction
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage.store import Storing
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.conftest import connect
from tests.storage.files import data_uri, image
from tests.tasks import Clock, TaskInstance, context_of, run

NO_ID = "qpt5jq1fssrmc0cmd5hvy31mdg"


@pytest.fixture(autouse=True)
def _private(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox's files lie on this machine."""
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"file://{tmp_path}/kept"


def finished(count: int = 2, **faults: Any) -> str:
    """Make a prediction that is over when this returns; these faults of the sandbox happen."""
    body = {"prompt": "a cat", "num_outputs": count, "width": 128, "height": 64}
    body |= {"sandbox": {"starting": 0, "processing": 0} | faults}
    return QuickRouterHook().create_prediction(body, version=STABLE_DIFFUSION, wait=60).id


def store(task_instance: TaskInstance | None = None, **arguments: Any) -> Any:
    return run(
        lambda: QuickRouterToObjectStorageOperator(task_id="run", **arguments),
        task_instance or TaskInstance(),
    )


def failure(**arguments: Any) -> Any:
    with pytest.raises(AirflowException) as failed:
        store(**arguments)
    return failed.value


def test_it_returns_the_paths_and_leaves_files_and_manifest(gateway: Sandbox, path: str) -> None:
    prediction_id, task_instance = finished(), TaskInstance()
    paths = store(task_instance, path=path, prediction_id=prediction_id)
    assert paths == [f"{path}/{prediction_id}/{n}.png" for n in range(2)]
    files, manifest = task_instance.xcoms["files"], task_instance.xcoms["prediction"]
    for n, file in enumerate(files):
        data = requests.get(manifest["output"][n], timeout=5).content
        assert ObjectStoragePath(file["path"]).read_bytes() == data
        assert file == {
            "path": paths[n],
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "content_type": "image/png",
            "width": 128,
            "height": 64,
            "key": None,
            "index": n,
        }
    assert (manifest["id"], manifest["status"]) == (prediction_id, "succeeded")


def test_without_xcoms_it_leaves_none(gateway: Sandbox, path: str) -> None:
    task_instance = TaskInstance()
    assert store(task_instance, path=path, prediction_id=finished(), do_xcom_push=False)
    assert task_instance.xcoms == {}


def test_an_output_is_stored_under_a_digest_of_it(gateway: Sandbox, path: str) -> None:
    output = QuickRouterHook().get_prediction(finished()).items
    task_instance = TaskInstance()
    first = store(task_instance, path=path, output=output)
    assert [one.rpartition("/")[2] for one in first] == ["0.png", "1.png"]
    assert store(path=path, output=tuple(output)) == first
    assert store(path=path, output=output[:1]) != first[:1]
    assert "prediction" not in task_instance.xcoms
    assert [file["path"] for file in task_instance.xcoms["files"]] == first


def test_data_uris_that_xcom_could_not_hold_are_asked_for_anew(gateway: Sandbox, path: str) -> None:
    output = [{"image": data_uri(image())}, "text"]
    (stored,) = store(path=path, prediction_id=finished(output=output))
    assert ObjectStoragePath(stored).read_bytes() == image()


def test_what_the_event_of_a_trigger_left_out_is_asked_for_anew(gateway: Sandbox, path: str) -> None:
    hook = QuickRouterHook()
    whole = hook.get_prediction(finished(output=[data_uri(image())]))
    told = Prediction.from_json(whole.manifest("https://x.test"))
    assert LEFT_OUT in str(told.output)
    (stored,) = Storing(hook, logging.getLogger(), path=path).store_prediction(told)
    assert ObjectStoragePath(stored.path).read_bytes() == image()


def test_a_note_in_place_of_data_names_the_remedy(path: str) -> None:
    error = failure(path=path, output=[[f"{LEFT_OUT}data: URI of 400000 characters]"]])
    assert isinstance(error, InvalidInputError)
    assert isinstance(error, AirflowFailException)
    assert "Pass prediction_id= instead" in str(error)


@pytest.mark.parametrize("fault", [Faults(status=503), Faults(status=403)], ids=["503", "403"])
def test_an_odd_response_is_polled_again_and_touches_neither_prediction_nor_files(
    gateway: Sandbox, path: str, fault: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction_id = finished()
    first = store(path=path, prediction_id=prediction_id)
    gateway.set_faults(fault, times=1)
    clock = Clock(monkeypatch)
    assert store(path=path, prediction_id=prediction_id) == first
    assert len(clock.pauses) == 1
    assert (gateway.creates, gateway.predictions[0]["cancels"]) == (1, 0)
    assert {entry.method for entry in gateway.requests[1:]} == {"GET"}


def test_what_was_stored_in_time_is_returned_after_its_hour(gateway: Sandbox, path: str) -> None:
    prediction_id = finished(expire_after=1)
    first = store(path=path, prediction_id=prediction_id)
    while QuickRouterHook().get_prediction(prediction_id).items:
        pass
    assert store(path=path, prediction_id=prediction_id) == first


def test_an_expired_prediction_fails_for_good_and_says_when_and_what_to_do(
    gateway: Sandbox, path: str
) -> None:
    prediction_id = finished(expire_after=0)
    error = failure(path=path, prediction_id=prediction_id)
    assert isinstance(error, errors.PredictionExpired)
    assert isinstance(error, AirflowFailException)
    expires = QuickRouterHook().get_prediction(prediction_id).expires_at
    assert expires is not None
    assert f"expired at {expires.isoformat(timespec='seconds')}" in str(error)
    assert "store them in the task that saw its success" in str(error)


def test_a_prediction_that_failed_is_told_as_such(gateway: Sandbox, path: str) -> None:
    error = failure(path=path, prediction_id=finished(fail="CUDA out of memory"))
    assert isinstance(error, errors.PredictionFailed)
    assert isinstance(error, AirflowFailException)


def test_a_prediction_that_still_runs_is_told_with_the_remedy(gateway: Sandbox, path: str) -> None:
    body = {"prompt": "a cat", "sandbox": {"never": True}}
    running = QuickRouterHook().create_prediction(body, version=STABLE_DIFFUSION).id
    error = failure(path=path, prediction_id=running)
    assert isinstance(error, errors.FileUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert "Let a QuickRouterPredictionSensor wait" in str(error)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "exactly one of prediction_id="),
        ({"prediction_id": NO_ID, "output": []}, "exactly one of prediction_id="),
        ({"prediction_id": NO_ID, "path": " "}, "path: is empty"),
        ({"prediction_id": NO_ID, "name": "../{n}.{ext}"}, "name: '../{n}.{ext}'"),
        ({"prediction_id": NO_ID, "name": "{model}.{ext}"}, "{model}"),
        ({"prediction_id": NO_ID, "max_bytes": 0}, "max_bytes: must be"),
        ({"prediction_id": NO_ID, "max_bytes": "1 MB"}, "got '1 MB'"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_dag_is_parsed(
    wrong: dict[str, Any], says: str, path: str
) -> None:
    with pytest.raises(AirflowFailException) as refused:
        QuickRouterToObjectStorageOperator(task_id="store", **{"path": path} | wrong)
    assert isinstance(refused.value, InvalidInputError)
    assert says in str(refused.value)


def test_a_template_that_renders_to_a_wrong_name_is_refused_when_it_runs(path: str) -> None:
    with DAG("test"):
        task = QuickRouterToObjectStorageOperator(
            task_id="store", path=path, output=[data_uri(image())], name="{{ folder }}/{n}.{ext}"
        )
    task.render_template_fields(cast("Any", {"folder": "../up"}))
    with pytest.raises(AirflowFailException, match="starts with a dot"):
        task.execute(context_of(task, TaskInstance()))


@pytest.mark.parametrize("nothing", ["None", ""])
def test_an_output_that_a_template_made_nothing_of_is_no_success(nothing: str, path: str) -> None:
    with pytest.raises(AirflowFailException, match="output: is empty"):
        store(path=path, output=nothing)


def test_path_name_id_and_output_are_templates(path: str) -> None:
    with DAG("test"):
        task = QuickRouterToObjectStorageOperator(
            task_id="store", path="{{ root }}/x", output="{{ found }}", name="{{ ds }}/{n}.{ext}"
        )
    given = {"root": path, "ds": "2026-11-23", "found": data_uri(image())}
    task.render_template_fields(cast("Any", given))
    (stored,) = task.execute(context_of(task, TaskInstance()))
    assert stored == f"{path}/x/2026-11-23/0.png"


@pytest.mark.parametrize("write", [str, json.dumps])
def test_a_list_that_a_template_made_text_of_is_read(write: Any, path: str) -> None:
    (stored,) = store(path=path, output=write([{"image": data_uri(image())}, None]))
    assert ObjectStoragePath(stored).read_bytes() == image()


def test_it_can_be_mapped_over_ids_and_over_outputs(path: str) -> None:
    with DAG("test"):
        partial = QuickRouterToObjectStorageOperator.partial(task_id="ids", path=path)
        assert partial.expand(prediction_id=["a", "b"]).task_id == "ids"
        partial = QuickRouterToObjectStorageOperator.partial(task_id="outputs", path=path)
        assert partial.expand(output=[["a"], ["b"]]).task_id == "outputs"


def test_a_kill_stops_the_storing_and_touches_no_prediction(
    gateway: Sandbox, path: str, tmp_path: Path, httpserver: HTTPServer
) -> None:
    task = QuickRouterToObjectStorageOperator(task_id="store", path=path, output=[httpserver.url_for("/a")])

    def killed(request: Any) -> Response:
        task.on_kill()
        return Response(image(), content_type="image/png")

    httpserver.expect_request("/a").respond_with_handler(killed)
    with pytest.raises(AirflowException, match="Airflow stopped the task") as failed:
        task.execute(context_of(task, TaskInstance()))
    assert not isinstance(failed.value, AirflowFailException)
    assert not [*tmp_path.rglob("*.p*")]
    assert gateway.requests == []


def test_a_kill_that_comes_before_the_storing_stops_it_too(path: str, tmp_path: Path) -> None:
    task = QuickRouterToObjectStorageOperator(task_id="store", path=path, output=[data_uri(image())])
    task.on_kill()
    with pytest.raises(AirflowException, match="Airflow stopped the task"):
        task.execute(context_of(task, TaskInstance()))
    assert not [*tmp_path.rglob("*.p*")]


def test_its_own_output_can_be_used_by_the_next_task(path: str) -> None:
    with DAG("test"):
        first = QuickRouterToObjectStorageOperator(task_id="first", path=path, prediction_id=NO_ID)
        then = QuickRouterToObjectStorageOperator(task_id="then", path=path, output=first.output)
    assert then.upstream_task_ids == {"first"}
    assert first.upstream_task_ids == set()
