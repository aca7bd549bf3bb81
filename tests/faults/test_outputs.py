"""Outputs of every shape: what a task returns and stores of them, on a worker and deferred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_quickrouter.api.errors import InvalidInputError, PredictionEmpty
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.faults.clock import Clock
from tests.faults.dags import in_dag, run_operator, sensor, worker_and_deferred
from tests.faults.files import bytes_of, file, picture, store_of_prediction, stored_in, storing_run
from tests.faults.gateway import Gateway
from tests.faults.responses import MODEL
from tests.faults.running import TaskInstance, failure_of, run_task

PNG = picture()
NOTHING: dict[str, Any] = {"an object": {"detections": []}, "a string": "", "null": None, "a list": [None]}


@worker_and_deferred
@pytest.mark.parametrize(
    ("output", "returned", "names"),
    [
        (lambda url: [None, f"{url}/0.png"], None, ["1.png"]),
        (lambda url: {"text": "la " * 10_000, "image": f"{url}/0.png"}, None, ["0.png", "1.json"]),
        (lambda url: {"label": "cat", "scores": [0.5, None]}, None, ["0.json"]),
        (lambda url: [{"label": "cat"}], [{"label": "cat"}], ["0.json"]),
        (lambda url: ["one", None, " two"], ["one", None, " two"], ["0.txt"]),
    ],
    ids=["null and file", "long text and file", "object", "list of an object", "tokens"],
)
def test_what_is_stored_is_the_same_on_a_worker_and_deferred(
    output: Any,
    returned: Any,
    names: list[str],
    deferrable: bool,
    gateway: Gateway,
    fast: Clock,
    tmp_path: Path,
) -> None:
    gateway.routes["GET /0.png"] = file(PNG)
    gateway.result["output"] = expected = output(gateway.url)
    ti = TaskInstance()
    result = run_task(storing_run(tmp_path, deferrable=deferrable), ti)
    if returned:
        assert result == returned
    assert [path.name for path in stored_in(tmp_path)] == names
    if names[-1].endswith(".json"):
        whole = json.loads(bytes_of(ti.xcoms["files"][-1]))
        assert whole == (expected[0] if isinstance(expected, list) else expected)
    for entry in ti.xcoms["files"]:
        assert 0 <= entry["index"] < len(result)


def test_the_index_of_a_file_is_its_place_in_what_the_task_returns(gateway: Gateway, tmp_path: Path) -> None:
    gateway.routes["GET /0.png"] = file(PNG)
    gateway.result["output"] = [None, f"{gateway.url}/0.png"]
    ti = TaskInstance()
    returned = run_task(storing_run(tmp_path), ti)
    (entry,) = ti.xcoms["files"]
    assert returned == [None, f"{gateway.url}/0.png"]
    assert returned[entry["index"]].endswith("/0.png")


@worker_and_deferred
@pytest.mark.parametrize("output", NOTHING.values(), ids=NOTHING)
def test_an_output_that_holds_nothing_is_an_error_unless_it_is_allowed(
    output: Any, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    gateway.result["output"] = output
    assert isinstance(failure_of(run_operator(deferrable=deferrable)), PredictionEmpty)
    waiting = sensor(gateway.accept(), deferrable=deferrable, allow_empty=True)
    items = output if isinstance(output, list) else [] if output is None else [output]
    assert run_task(run_operator(deferrable=deferrable, allow_empty=True)) == items
    assert run_task(waiting) == items


@worker_and_deferred
@pytest.mark.parametrize(
    ("output", "stored"),
    [({"detections": []}, {"0.json": b'{"detections": []}'}), ("", {"0.txt": b""}), (None, {})],
)
def test_an_empty_output_that_is_allowed_is_stored(
    output: Any, stored: dict[str, bytes], deferrable: bool, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.result["output"] = output
    ti = TaskInstance()
    run_task(storing_run(tmp_path, deferrable=deferrable, allow_empty=True), ti)
    assert {path.name: path.read_bytes() for path in stored_in(tmp_path)} == stored
    assert len(ti.xcoms["files"]) == len(stored)
    assert len(store_of_prediction(gateway, tmp_path, output, allow_empty=True)) == len(stored)


def test_a_cleared_task_does_not_pay_again_for_an_empty_output_that_it_allows(
    gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.result["output"] = {"detections": []}
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    ti = TaskInstance()
    failure_of(storing_run(blocked, allow_empty=True), ti)
    blocked.unlink()
    run_task(storing_run(blocked, allow_empty=True), ti.next_try(cleared=True))
    assert len(gateway.creates) == 1


@pytest.mark.parametrize("wrong", ["false", None, 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda wrong: run_operator(allow_empty=wrong),
        lambda wrong: sensor("p1", allow_empty=wrong),
        lambda wrong: QuickRouterToObjectStorageOperator(
            task_id="s", path="file:///x", output=[], allow_empty=wrong
        ),
        lambda wrong: quickrouter_pictures(
            input={"prompt": "x"}, path="file:///x", version=MODEL, allow_empty=wrong or "no"
        ),
    ],
    ids=["run", "sensor", "store", "group"],
)
def test_whether_an_empty_output_is_allowed_is_checked_when_the_dag_is_parsed(make: Any, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="allow_empty: must be True or False"):
        in_dag(lambda: make(wrong))


def test_a_group_passes_on_that_an_empty_output_is_allowed() -> None:
    with DAG("test", schedule=None, default_args={"allow_empty": True}) as dag:
        quickrouter_pictures(input={"prompt": "x"}, path="file:///x", version=MODEL)
        strict = quickrouter_pictures.override(group_id="strict")
        strict(input={"prompt": "x"}, path="file:///x", version=MODEL, allow_empty=False)
    found = {task_id: vars(task).get("allow_empty", False) for task_id, task in dag.task_dict.items()}
    assert found == {
        "pictures.submit": False,
        "pictures.wait": True,
        "pictures.store": True,
        "strict.submit": False,
        "strict.wait": False,
        "strict.store": False,
    }
