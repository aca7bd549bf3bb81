"""The record of a task in a folder of object storage: ``durable="s3://..."``, on every Airflow."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage import target
from airflow_provider_quickrouter.submission.store import STORE_KEY, StoredState
from tests.operators.conftest import PROMPT, Execute, first_try
from tests.tasks import FolderStore, TaskInstance, run


@pytest.fixture
def lost(tmp_path: Path) -> TaskInstance:
    return first_try(FolderStore(tmp_path / "state"))


@pytest.mark.parametrize(
    ("durable", "says"),
    [
        ("state/records", "'state/records' is a relative path, which is another folder on each worker"),
        ("", "durable: is empty"),
        (None, "durable: is empty"),
        ("nosuch://bucket/state", "needs a filesystem for 'nosuch'; install the provider that brings it"),
        ("s3:/bucket/state", "has no two slashes"),
        ("s3://key:secret@bucket/state", "a path holds no password"),
        ("file:///{{ ds }}", "is a template, which is not rendered here"),
    ],
)
def test_a_folder_that_cannot_be_one_is_refused_when_the_dag_is_parsed(durable: Any, says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says) as refused, DAG("test"):
        QuickRouterSubmitPredictionOperator(
            task_id="run", input={"prompt": PROMPT}, version=STABLE_DIFFUSION, durable=durable
        )
    assert isinstance(refused.value, AirflowFailException)
    assert "secret" not in str(refused.value)


def test_a_missing_connection_is_named_before_anything_is_paid(gateway: Sandbox, execute: Execute) -> None:
    with pytest.raises(errors.InvalidInputError, match="durable: .* needs the connection 'nobody'"):
        execute(TaskInstance(None, 1, 2), durable="s3://nobody@bucket/state")
    assert gateway.creates == 0


def test_the_record_names_its_task_and_holds_no_prompt(
    gateway: Sandbox, execute: Execute, lost: TaskInstance
) -> None:
    prediction_id = execute(lost)
    assert isinstance(lost.store, FolderStore)
    (text,) = lost.store.values.values()
    stored = json.loads(text)
    assert stored[STORE_KEY]["prediction_id"] == prediction_id
    task = {"dag_id": "test", "run_id": "a run", "task_id": "run", "map_index": -1}
    assert {name: stored[name] for name in task} == task
    assert PROMPT not in text


def test_each_dag_run_task_and_map_index_has_a_record_of_its_own(tmp_path: Path) -> None:
    names = ("dag_id", "run_id", "task_id", "map_index")
    tasks: list[tuple[Any, ...]] = [
        *[("d", "r", "t", -1), ("d", "r", "t", 0), ("d", "r", "t.0", -1), ("d", "r", "t_0", -1)],
        *[("d/r", "", "t", -1), ("d", "/r", "t", -1), ("d_r", "", "t", -1)],
        *[("..", "..", "..", -1), ("d", "r:1+00:00", "t", -1), ("d", "r_1+00_00", "t", -1)],
        *[("d" * 250, "r" * 250, "ä" * 250, 7), ("d" * 250, "r" * 250, "ä" * 249 + "a", 7)],
    ]
    made = [type("TI", (), dict(zip(names, task, strict=True)))() for task in tasks]
    folder = tmp_path / "state"
    for number, ti in enumerate(made):
        StoredState(f"file://{folder}", ti).set(STORE_KEY, number)
    assert [StoredState(f"file://{folder}", ti).get(STORE_KEY) for ti in made] == [*range(len(made))]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_record_that_cannot_be_read_now_leads_to_no_create(
    gateway: Sandbox, execute: Execute, lost: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(lost)
    with monkeypatch.context() as patch:
        patch.setattr(target.Target, "_place", lambda *_: forbidden())
        with pytest.raises(AirflowException, match="no access to this bucket") as failed:
            execute(lost.again())
    assert not isinstance(failed.value, AirflowFailException)
    execute(lost.again())
    assert gateway.creates == 1


def forbidden() -> Any:
    raise PermissionError("no access to this bucket")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"quickrouter_pred'])
def test_a_damaged_record_leads_to_no_create_and_no_retry(
    gateway: Sandbox, execute: Execute, lost: TaskInstance, content: bytes
) -> None:
    execute(lost)
    assert isinstance(lost.store, FolderStore)
    (file,) = (path for path in lost.store.folder.rglob("*.json"))
    file.write_bytes(content)
    with pytest.raises(errors.FileRefused, match="is not the record of a prediction") as failed:
        execute(lost.again())
    assert isinstance(failed.value, AirflowFailException)
    assert gateway.creates == 1


def test_a_folder_that_may_not_be_written_leads_to_no_create(
    gateway: Sandbox, execute: Execute, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file where the folder should be")
    with pytest.raises(errors.FileUnavailable):
        execute(first_try(FolderStore(folder)))
    assert gateway.creates == 0
    folder.unlink()
    folder.mkdir(mode=stat.S_IRWXU)
    execute(first_try(FolderStore(folder)))
    assert gateway.creates == 1


def test_a_deferred_task_without_airflows_store_succeeds_and_a_clear_pays_again(
    gateway: Sandbox, lost: TaskInstance
) -> None:
    assert isinstance(lost.store, FolderStore)
    folder = lost.store.durable

    def task() -> QuickRouterRunPredictionOperator:
        return QuickRouterRunPredictionOperator(
            task_id="run",
            input={"prompt": PROMPT},
            version=STABLE_DIFFUSION,
            deferrable=True,
            durable=folder,
        )

    output = run(task, lost)
    assert run(task, lost.again()) == output
    assert gateway.creates == 1
    assert run(task, lost.again(cleared=True)) != output
    assert gateway.creates == 2
