"""``quickrouter_pictures``: three tasks in one line, once or mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, task
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import connect
from tests.tasks import TaskInstance, context_of

CAT = {"prompt": "a cat"}
FOLDER = "s3://conn@bucket/pictures"


def dag_of(**arguments: Any) -> DAG:
    with DAG("test") as dag:
        quickrouter_pictures(**{"input": CAT, "version": SDXL, "path": FOLDER, **arguments})
    return dag


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


def test_one_line_makes_three_tasks_in_a_group_and_returns_the_stored_paths() -> None:
    with DAG("test") as dag:
        paths: Any = quickrouter_pictures(version=SDXL, input=CAT, path=FOLDER)
    assert edges(dag) == {
        ("pictures.submit", "pictures.wait"),
        ("pictures.submit", "pictures.store"),
        ("pictures.wait", "pictures.store"),
    }
    assert paths.operator.task_id == "pictures.store"
    wait: Any = dag.get_task("pictures.wait")
    assert wait.deferrable


def test_the_group_takes_a_deployment_and_the_wait_of_the_submit_task() -> None:
    dag = dag_of(version=None, deployment="acme/shop", submit={"wait": 5})
    submit = vars(dag.get_task("pictures.submit"))
    assert (submit["deployment"], submit["wait"]) == ("acme/shop", 5)


def test_the_tasks_pass_on_what_they_make(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"allow_private_addresses": True})
    dag = dag_of(path=f"file://{tmp_path}", wait={"deferrable": False, "poke_interval": 0.1})
    results: dict[str, Any] = {}
    for name in ("submit", "wait", "store"):
        made: Any = dag.get_task(f"pictures.{name}")
        if name != "submit":
            made.prediction_id = results["submit"]
        results[name] = made.execute(context_of(made, TaskInstance()))
    (stored,) = results["store"]
    assert stored == f"file://{tmp_path}/{results['submit']}/0.png"
    assert Path(stored.removeprefix("file://")).read_bytes().startswith(b"\x89PNG")


def test_arguments_reach_the_part_they_are_for() -> None:
    asset = Asset("pictures")
    dag = dag_of(
        quickrouter_conn_id="other",
        name="{n}.{ext}",
        submit={"retries": 3, "pool": "paid"},
        wait={"timeout": 60, "soft_fail": True},
        store={"outlets": [asset], "max_bytes": 10, "quickrouter_conn_id": "third"},
    )
    parts: list[Any] = [dag.get_task(f"pictures.{name}") for name in ("submit", "wait", "store")]
    submit, wait, store = parts
    assert (submit.retries, submit.pool, submit.outlets) == (3, "paid", [])
    assert (wait.timeout, wait.soft_fail, wait.retries) == (60, True, 0)
    assert (store.outlets, store.max_bytes, store.name) == ([asset], 10, "{n}.{ext}")
    connections = [made.quickrouter_conn_id for made in parts]
    assert connections == ["other", "other", "third"]


def test_it_can_be_mapped_named_and_stored_with_its_dag() -> None:
    with DAG("test") as dag:

        @task
        def inputs() -> list[Any]:
            return [CAT]

        group = quickrouter_pictures.override(group_id="covers", default_args={"retries": 4})
        paths: Any = group.partial(version=SDXL, path=FOLDER).expand(input=inputs())
    assert paths.operator.task_id == "covers.store"
    assert ("inputs", "covers.submit") in edges(dag)
    assert [made.retries for made in dag.tasks if made.task_id != "inputs"] == [4, 4, 4]
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert DagSerialization.from_dict(stored).get_task("covers.store")


def test_it_can_be_used_twice_in_a_dag() -> None:
    with DAG("test") as dag:
        for _ in range(2):
            quickrouter_pictures(version=SDXL, input=CAT, path=FOLDER)
    assert {name.partition(".")[0] for name in dag.task_ids} == {"pictures", "pictures__1"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"version": None}, "exactly one of version="),
        ({"input": {"width": -1}}, r"input\.width: -1"),
        ({"path": ""}, "path: is empty"),
        ({"submit": ["retries"]}, "submit: give a dict of the task's arguments"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says):
        dag_of(**arguments)
