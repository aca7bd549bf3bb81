"""One try after the other of a task that makes a prediction, for each operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.io import store as stores
from blockbuster import BlockBuster

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission.store import STORE_KEY, StoredState
from tests.s3 import connection_of, s3_server
from tests.tasks import FolderStore, Store, TaskInstance, context_of

PROMPT = "a prompt that nobody else should read"
KINDS: dict[str, tuple[type[QuickRouterSubmitPredictionOperator], dict[str, Any]]] = {
    "submit": (QuickRouterSubmitPredictionOperator, {}),
    "run": (QuickRouterRunPredictionOperator, {"deferrable": True}),
}


class Execute(Protocol):
    def __call__(
        self, task_instance: TaskInstance, faults: dict[str, Any] | None = None, **arguments: Any
    ) -> str: ...


@pytest.fixture(params=KINDS)
def execute(request: pytest.FixtureRequest) -> Execute:
    """Run one try in a new operator, until it is done or deferred; return its prediction's id."""
    return execute_with(request.param)


def execute_with(name: str) -> Execute:
    """Make what the fixture ``execute`` gives, for one of ``KINDS``."""
    kind, defaults = KINDS[name]

    def execute(task_instance: TaskInstance, faults: dict[str, Any] | None = None, **arguments: Any) -> str:
        given = {"prompt": arguments.pop("prompt", PROMPT), "sandbox": faults or {"never": True}}
        create = {"task_id": "run", "input": given, "version": STABLE_DIFFUSION}
        with DAG("test"):
            task = kind(**create | durable(task_instance) | defaults | arguments)
        try:
            result = task.execute(context_of(task, task_instance))
        except TaskDeferred as deferred:
            return str(deferred.trigger.prediction_id)
        return str(task_instance.xcoms["prediction"]["id"] if result else "")

    return execute


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, _no_blocking_on_the_event_loop: BlockBuster) -> Iterator[str]:
    """A bucket of a real S3 server, behind the connection ``aws_pictures``."""
    for function in _no_blocking_on_the_event_loop.functions.values():
        function.can_block_in("fsspec/asyn.py", "_runner")  # s3fs has a loop of its own
    with s3_server("bucket") as address:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_PICTURES", json.dumps(connection_of(address)))
        yield "s3://aws_pictures@bucket"
    stores._STORE_CACHE.pop("s3-aws_pictures", None)


def durable(task_instance: TaskInstance) -> dict[str, Any]:
    """Return the operator's argument that names where this task instance stores its record."""
    store = task_instance.store
    return {"durable": store.durable} if isinstance(store, FolderStore) else {}


def new_store() -> Store:
    """Return an empty store: Airflow's, or for ``each_store`` a folder as well."""
    return Store()


@pytest.fixture(params=["task store", "folder"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with Airflow's store, and with a folder in ``durable=``, as before Airflow 3.3."""
    if request.param == "folder":
        folders = (tmp_path / str(number) for number in count())
        monkeypatch.setattr(f"{__name__}.new_store", lambda: FolderStore(next(folders)))


@contextmanager
def failing_writes(after: int, error: BaseException) -> Iterator[None]:
    """Let each store fail once it was written to so many times."""
    left = count(after, -1)

    def failing(write: Any) -> Any:
        def method(store: Any, *arguments: Any) -> None:
            if next(left) <= 0:
                raise error
            write(store, *arguments)

        return method

    with pytest.MonkeyPatch.context() as patch:
        for kind in (Store, StoredState):
            patch.setattr(kind, "set", failing(kind.set))
            patch.setattr(kind, "delete", failing(kind.delete))
        yield


def first_try(store: Store | None = None, retries: int = 2) -> TaskInstance:
    return TaskInstance(store or new_store(), 1, retries)


def record(task_instance: TaskInstance) -> Any:
    assert task_instance.store is not None
    return task_instance.store.get(STORE_KEY)


def cancels(gateway: Sandbox) -> list[str | None]:
    return [e.prediction_id for e in gateway.requests if e.path.endswith("/cancel")]
