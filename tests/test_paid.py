"""What is paid for stays: no trouble around a prediction leads to a second one, or loses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.timeout import timeout as airflows_timeout
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests import tasks
from tests.conftest import connect
from tests.tasks import Store, TaskInstance, context_of, run

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
GIVEN = {"prompt": "a cat", "num_outputs": 2, "seed": 3}
TEMPLATE = "{{ var.value.pictures }}"
Make = Callable[[], Any]


@pytest.fixture(autouse=True)
def _private(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's files lie on this machine."""
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})


def runs(path: Any, given: dict[str, Any] = GIVEN, **arguments: Any) -> Make:
    return lambda: QuickRouterRunPredictionOperator(
        task_id="run", version=STABLE_DIFFUSION, input=given, output_path=path, **arguments
    )


def waits(path: Any, prediction_id: str, **arguments: Any) -> Make:
    return lambda: QuickRouterPredictionSensor(
        task_id="wait", prediction_id=prediction_id, output_path=path, **arguments
    )


def rendered(make: Callable[[Any], Make], path: Any) -> Make:
    """Make a task of a template, and put in its place what it became."""

    def task() -> Any:
        made = make(TEMPLATE)()
        made.output_path = path
        return made

    return task


class Deaf(TaskInstance):
    """A task instance that cannot push one of its XComs."""

    key = "files"

    def xcom_push(self, key: str, value: Any) -> None:
        if key == self.key:
            raise RuntimeError("the API server is away")
        super().xcom_push(key, value)


class DeafToManifests(Deaf):
    key = "prediction"


NO_FOLDER = pytest.mark.parametrize(
    "path", [None, "", "None", "nosuch://x", "s3://nobody@bucket/x", "s3://user:hush@bucket/x"]
)


@NO_FOLDER
@MODES
def test_a_path_that_will_not_do_is_told_before_anything_is_paid(
    gateway: Sandbox, path: Any, deferrable: bool
) -> None:
    with pytest.raises(errors.InvalidInputError, match="output_path") as failed:
        run(rendered(lambda given: runs(given, deferrable=deferrable), path), TaskInstance())
    assert isinstance(failed.value, AirflowFailException)
    assert gateway.creates == 0


@NO_FOLDER
@MODES
def test_a_path_that_will_not_do_is_told_before_the_wait(path: Any, deferrable: bool) -> None:
    prediction_id = QuickRouterHook().create_prediction(GIVEN, version=STABLE_DIFFUSION).id
    with pytest.raises(errors.InvalidInputError, match="output_path"):
        run(rendered(lambda given: waits(given, prediction_id, deferrable=deferrable), path), TaskInstance())


@pytest.mark.parametrize("path", ["", " ", "s3:/bucket"])
def test_a_path_that_will_not_do_is_told_when_the_dag_is_parsed(path: str) -> None:
    for make in (runs(path), waits(path, "x")):
        with pytest.raises(errors.InvalidInputError, match="output_path"):
            make()


def test_a_path_may_be_an_object(gateway: Sandbox, tmp_path: Path) -> None:
    ti = TaskInstance()
    run(runs(ObjectStoragePath(f"file://{tmp_path}")), ti)
    assert [Path(file["path"].removeprefix("file://")).exists() for file in ti.xcoms["files"]]


@MODES
def test_soft_fail_does_not_give_files_up_while_there_are_tries(deferrable: bool, tmp_path: Path) -> None:
    prediction_id = QuickRouterHook().create_prediction(GIVEN, version=STABLE_DIFFUSION).id
    (blocked := tmp_path / "folder").write_text("a file where the folder should be")
    make = waits(f"file://{blocked}", prediction_id, soft_fail=True, deferrable=deferrable)
    with pytest.raises(RuntimeError, match="could not be read or written") as failed:
        run(make, TaskInstance(try_number=1, max_tries=1))
    assert not isinstance(failed.value, AirflowException)
    with pytest.raises(AirflowSkipException):
        run(make, TaskInstance(try_number=2, max_tries=1))


@MODES
def test_where_a_retry_would_pay_again_trouble_after_a_success_fails_for_good(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    with pytest.raises(AirflowFailException, match="the API server is away"):
        run(runs(f"file://{tmp_path}", deferrable=deferrable), Deaf())
    assert gateway.creates == 1


def test_trouble_after_a_success_that_is_remembered_is_retried_without_paying(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti, make = Deaf(Store()), runs(f"file://{tmp_path}")
    with pytest.raises(RuntimeError):
        run(make, ti)
    again = TaskInstance(ti.store, try_number=2)
    run(make, again)
    assert len(again.xcoms["files"]) == 2
    assert gateway.creates == 1


def test_where_a_retry_would_pay_again_no_error_of_a_storage_leads_to_one(
    gateway: Sandbox,
    memory: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(MemoryFileSystem, "put_file", breaks)
    with pytest.raises(AirflowFailException, match="no credentials"):
        run(runs(memory, durable=False), TaskInstance(Store()))


def test_where_a_retry_would_pay_again_execution_timeout_while_telling_leads_to_none(
    gateway: Sandbox, tmp_path: Path
) -> None:
    class Slow(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            while key == "files":
                pass

    with pytest.raises(AirflowFailException), airflows_timeout(3):
        run(runs(f"file://{tmp_path}", deferrable=True), Slow())
    assert gateway.creates == 1


@MODES
def test_a_success_stays_one_though_its_manifest_cannot_be_pushed(gateway: Sandbox, deferrable: bool) -> None:
    output = run(runs(None, deferrable=deferrable), DeafToManifests())
    assert output == gateway.predictions[0]["output"]


def test_a_lasting_failure_stays_one_though_its_manifest_cannot_be_pushed(gateway: Sandbox) -> None:
    given = {**GIVEN, "sandbox": {"fail": "NSFW content detected"}}
    with pytest.raises(errors.PredictionModerated) as failed:
        run(runs(None, given), DeafToManifests(Store()))
    assert isinstance(failed.value, AirflowFailException)


@pytest.mark.parametrize("events", ["none", "broken"])
def test_asset_events_that_cannot_be_told_fail_nothing(
    events: str, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def context(task: Any, ti: TaskInstance) -> Any:
        made = context_of(task, ti)
        del made["outlet_events"]
        return made if events == "none" else made | {"outlet_events": {}}

    monkeypatch.setattr(tasks, "context_of", context)
    assert run(runs(None, outlets=[Asset("pictures")]), TaskInstance())
