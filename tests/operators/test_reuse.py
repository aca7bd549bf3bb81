"""``reuse=True``: what an equal request has stored is not paid for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SD_IMG2IMG, STABLE_DIFFUSION
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.pictures import render
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage.target import Target
from tests.conftest import connect
from tests.tasks import Store, TaskInstance, context_of, run

GIVEN = {"prompt": "a cat", "num_outputs": 2, "seed": 3, "width": 64, "height": 64}
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])


@pytest.fixture(autouse=True)
def _private(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's files lie on this machine."""
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})


def runs(folder: Path, given: Any = GIVEN, **arguments: Any) -> Callable[[], Any]:
    defaults: dict[str, Any] = {"task_id": "run", "version": STABLE_DIFFUSION, "reuse": True}
    return lambda: QuickRouterRunPredictionOperator(
        **defaults | {"input": given, "output_path": f"file://{folder}"} | arguments
    )


@MODES
def test_twenty_runs_pay_once_and_once_more_after_an_input_file_has_changed(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(render("one", 1, 0, (64, 64)))
    given = {"prompt": "a dog", "image": f"file://{picture}", "seed": 1}
    task = runs(tmp_path / "out", given, version=SD_IMG2IMG, deferrable=deferrable)
    for _ in range(20):
        assert run(task, TaskInstance(Store()))
    assert gateway.creates == 1
    picture.write_bytes(render("two", 1, 0, (64, 64)))
    assert run(task, TaskInstance(Store()))
    assert run(task, TaskInstance(Store()))
    assert gateway.creates == 2


@MODES
def test_a_reused_prediction_has_the_same_output_files_and_manifest(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    first, second = TaskInstance(), TaskInstance()
    task = runs(tmp_path, deferrable=deferrable)
    output = run(task, first)
    gateway.clear()  # the API has forgotten it
    assert run(task, second) == output
    assert second.xcoms["files"] == first.xcoms["files"]
    assert "reused" not in first.xcoms["prediction"]
    assert second.xcoms["prediction"] == first.xcoms["prediction"] | {"reused": True}
    assert gateway.requests == []


def test_a_clear_after_a_success_costs_nothing(gateway: Sandbox, tmp_path: Path) -> None:
    done = TaskInstance(Store(), 1, 2)
    output = run(runs(tmp_path), done)
    assert run(runs(tmp_path), done.again(cleared=True)) == output
    assert gateway.creates == 1


def test_a_running_prediction_of_an_earlier_attempt_is_resumed_first(
    gateway: Sandbox, tmp_path: Path
) -> None:
    lost = TaskInstance(Store(), 1, 2)
    submit = runs(tmp_path, deferrable=True)
    with DAG("test"):
        task = submit()
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, lost))
    (first,) = gateway.predictions
    retry = lost.again()
    run(submit, retry)
    assert retry.xcoms["prediction"]["id"] == first["id"]
    assert (gateway.creates, "reused" in retry.xcoms["prediction"]) == (1, False)


@pytest.mark.parametrize(
    "other",
    [
        {"given": {**GIVEN, "seed": 4}},
        {"given": {**GIVEN, "prompt": "a dog"}},
        {"version": STABLE_DIFFUSION.partition(":")[2]},
        {"folder": "elsewhere"},
    ],
    ids=["seed", "prompt", "version", "folder"],
)
def test_another_request_or_folder_is_paid_for(
    gateway: Sandbox, tmp_path: Path, other: dict[str, Any]
) -> None:
    run(runs(tmp_path), TaskInstance())
    run(runs(tmp_path / other.pop("folder", ""), **other), TaskInstance())
    assert gateway.creates == 2


@pytest.mark.parametrize("change", ["deleted", "overwritten", "cut"])
def test_files_that_are_not_as_they_were_are_paid_for(gateway: Sandbox, tmp_path: Path, change: str) -> None:
    run(runs(tmp_path), TaskInstance())
    file = next(tmp_path.rglob("1.png"))
    data = file.read_bytes()
    file.write_bytes(data[:-1] if change == "cut" else data[:-1] + b"x")
    if change == "deleted":
        file.unlink()
    again = TaskInstance()
    run(runs(tmp_path), again)
    assert (gateway.creates, "reused" in again.xcoms["prediction"]) == (2, False)
    run(runs(tmp_path), TaskInstance())
    assert gateway.creates == 2


HOSTILE = [
    b"",
    b"[]",
    b'{"prediction_id": "../p", "version": 1, "total": 1, "files": 1}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("damaged", ["requests/*.txt", "*.json"], ids=["entry", "record"])
def test_what_is_damaged_is_paid_for_and_replaced(
    gateway: Sandbox, tmp_path: Path, damaged: str, content: bytes
) -> None:
    run(runs(tmp_path), TaskInstance())
    (file,) = (tmp_path / ".quickrouter").glob(damaged)
    file.write_bytes(content)
    for _ in range(2):
        run(runs(tmp_path), TaskInstance())
    assert gateway.creates == 2


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        1,
        {},
        {"id": "p"},
        {"id": "p", "status": "failed", "output": ["u"]},
        {"id": "p", "status": "succeeded"},
    ],
)
def test_a_record_without_a_success_is_paid_for(gateway: Sandbox, tmp_path: Path, manifest: Any) -> None:
    run(runs(tmp_path), TaskInstance())
    (record,) = (tmp_path / ".quickrouter").glob("*.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"manifest": manifest}))
    run(runs(tmp_path), TaskInstance())
    assert gateway.creates == 2


def test_a_record_leads_to_no_file_outside_of_the_folder(gateway: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(runs(folder), TaskInstance())
    (record,) = (folder / ".quickrouter").glob("*.json")
    stored = json.loads(record.read_text())
    for file in stored["files"].values():
        name = Path(file["path"]).name
        next(folder.rglob(name)).rename(tmp_path / name)
        file["path"] = f"file://{folder}/../{name}"
    record.write_text(json.dumps(stored))
    run(runs(folder), TaskInstance())
    assert gateway.creates == 2


def test_a_storage_that_cannot_be_read_now_leads_to_no_create(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(runs(tmp_path), TaskInstance())
    with monkeypatch.context() as patch:
        patch.setattr(Target, "_place", lambda *_: forbidden())
        with pytest.raises(AirflowException, match="could not be read") as failed:
            run(runs(tmp_path), TaskInstance())
    assert not isinstance(failed.value, AirflowFailException)
    assert gateway.creates == 1


def forbidden() -> Any:
    raise PermissionError("no access to this bucket")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"given": {"prompt": "a cat"}}, "the input has no seed"),
        ({"given": {"prompt": "a cat", "seed": None}}, "input.seed: is null|the input has no seed"),
        ({"output_path": None}, "reuse: needs output_path="),
        ({"reuse": "yes"}, "reuse: 'yes' is none of True, False, 'any_seed'"),
    ],
)
def test_what_cannot_be_reused_is_refused_when_the_dag_is_parsed(
    tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match=says), DAG("test"):
        runs(tmp_path, **arguments)()


def test_a_seed_that_is_missing_when_the_task_runs_is_refused_before_anything_is_paid(
    gateway: Sandbox, tmp_path: Path
) -> None:
    with DAG("test"):
        task = runs(tmp_path, "{{ whole }}")()
    task.render_template_fields({"whole": '{"prompt": "a cat"}'})
    with pytest.raises(AirflowFailException, match="the input has no seed"):
        task.execute(context_of(task, TaskInstance()))
    assert gateway.requests == []


def test_any_seed_takes_the_stored_picture(gateway: Sandbox, tmp_path: Path) -> None:
    for _ in range(2):
        run(runs(tmp_path, {"prompt": "a cat"}, reuse="any_seed"), TaskInstance())
    assert gateway.creates == 1


def test_without_reuse_each_run_pays_and_the_manifest_says_nothing_of_it(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance()
    for _ in range(2):
        run(runs(tmp_path, reuse=False), ti)
    assert gateway.creates == 2
    assert "reused" not in ti.xcoms["prediction"]
    assert not (tmp_path / ".quickrouter" / "requests").exists()


def test_the_submit_operator_returns_the_earlier_id(gateway: Sandbox, tmp_path: Path) -> None:
    ti = TaskInstance()
    run(runs(tmp_path), ti)
    folder = f"file://{tmp_path}"
    with DAG("test"):
        task = QuickRouterSubmitPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input=GIVEN, reuse=True, output_path=folder
        )
    assert task.execute(context_of(task, TaskInstance())) == ti.xcoms["prediction"]["id"]
    assert gateway.creates == 1


def pictures(folder: Path) -> tuple[list[str], dict[str, TaskInstance]]:
    """Run the group once; return what it returns, and its task instances."""
    with DAG("test") as dag:
        quickrouter_pictures(
            input=GIVEN,
            version=STABLE_DIFFUSION,
            path=f"file://{folder}",
            name="{sha256}.{ext}",
            reuse=True,
            wait={"deferrable": False, "poke_interval": 0.1},
        )
    instances, result = {name: TaskInstance() for name in ("submit", "wait", "store")}, None
    for name, instance in instances.items():
        task: Any = dag.get_task(f"pictures.{name}")
        if name != "submit":
            task.prediction_id = instances["submit"].xcoms["prediction"]["id"]
            task.manifest = instances["submit"].xcoms["prediction"]
        result = task.execute(context_of(task, instance))
        if name == "wait":
            instance.xcoms["return_value"] = result
    return result or [], instances


def test_the_group_pays_once_and_stores_once(gateway: Sandbox, tmp_path: Path) -> None:
    paths, first = pictures(tmp_path)
    gateway.clear()
    again, second = pictures(tmp_path)
    assert again == paths
    assert len(paths) == 2
    assert gateway.requests == []
    for name in second:
        assert second[name].xcoms["prediction"]["reused"] is True
        assert second[name].xcoms["prediction"]["id"] == first["submit"].xcoms["prediction"]["id"]
    assert second["wait"].xcoms["return_value"] == first["wait"].xcoms["return_value"]
    assert second["store"].xcoms["files"] == first["store"].xcoms["files"]


def test_the_store_task_of_the_group_stores_what_has_vanished_since(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _ = pictures(tmp_path)
    execute = QuickRouterSubmitPredictionOperator.execute

    def then_lose_a_file(task: Any, context: Any) -> Any:
        result = execute(task, context)
        Path(paths[0].removeprefix("file://")).unlink()
        return result

    monkeypatch.setattr(QuickRouterSubmitPredictionOperator, "execute", then_lose_a_file)
    again, _ = pictures(tmp_path)
    assert again == paths
    assert Path(paths[0].removeprefix("file://")).exists()
    assert gateway.creates == 1


@MODES
def test_what_a_later_model_of_a_list_has_stored_is_reused(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    refused = GIVEN | {"sandbox": {"fail": "NSFW content detected"}}
    models = [(STABLE_DIFFUSION, refused), STABLE_DIFFUSION]
    task = runs(tmp_path, version=models, deferrable=deferrable)
    first, second = TaskInstance(Store()), TaskInstance(Store())
    assert run(task, first) == run(task, second)
    assert gateway.creates == 3  # nothing of the first model is stored
    assert second.xcoms["prediction"]["id"] == first.xcoms["prediction"]["id"]
    assert second.xcoms["prediction"]["reused"]


def test_each_model_of_a_list_needs_a_seed(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match="the input has no seed"), DAG("test"):
        runs(tmp_path, version=[STABLE_DIFFUSION, (STABLE_DIFFUSION, {"prompt": "a dog"})])()
