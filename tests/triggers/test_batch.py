"""The trigger of a batch: what crosses into it, and what comes out of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_quickrouter.batch import waits
from airflow_provider_quickrouter.batch.journal import Journal, Record
from airflow_provider_quickrouter.batch.waits import Waits
from airflow_provider_quickrouter.polling import poller as poller_module
from airflow_provider_quickrouter.polling.poll import PATIENCE
from airflow_provider_quickrouter.polling.poller import Poller
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.batch import QuickRouterBatchTrigger
from tests.conftest import connect
from tests.operators.batches import inputs_of, operator, rebuilt
from tests.tasks import Clock, TaskInstance, context_of, event_of

GIVEN: dict[str, Any] = {
    "output_path": "s3://b/r.jsonl",
    "owner": "0123456789abcdef",
    "total": 5,
    "deadline": 1_790_000_000.0,
    "quickrouter_conn_id": "other",
    "cancel_on_kill": False,
    "store_path": "s3://b/pictures",
}


def test_every_argument_crosses_the_border() -> None:
    trigger = QuickRouterBatchTrigger(**GIVEN)
    _, kwargs = trigger.serialize()
    names = set(inspect.signature(QuickRouterBatchTrigger.__init__).parameters)
    assert set(kwargs) == names - {"self", "_ignored"}
    assert kwargs == GIVEN
    assert rebuilt(trigger).serialize() == trigger.serialize()


def test_what_a_later_version_adds_is_ignored() -> None:
    assert QuickRouterBatchTrigger(**GIVEN, colour="blue").total == 5


def deferred(path: Path, count: int) -> Any:
    task = operator(inputs_of(count, processing=0.5), path, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context_of(task, TaskInstance()))
    return caught.value


def test_kwargs_and_event_are_small_however_many_there_are(gateway: Sandbox, tmp_path: Path) -> None:
    trigger = deferred(tmp_path / "r", 40).trigger
    event = event_of(rebuilt(trigger))
    assert len(json.dumps(trigger.serialize()[1])) < 400
    assert event == {"payload_version": 1, "outcomes": {"succeeded": 40}, "error": None}


def test_a_connection_that_cannot_work_for_ten_minutes_leaves_the_items_to_a_retry(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(tmp_path / "r", 2).trigger
    clock = Clock(monkeypatch)
    connect(monkeypatch, host=gateway.url, password="")
    requests = len(gateway.requests)
    event = event_of(rebuilt(trigger))
    assert event == {"payload_version": 1, "outcomes": {"api_error": 2}, "error": None}
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + 90
    ledger = Record(trigger.output_path, trigger.owner).read(2)
    resumed = ledger.resume(lambda index: f"{ledger._prints[index]:x}", cleared=False)
    assert [entry["id"] for entry in resumed] == list(ledger.ids)
    assert len(gateway.requests) == requests


def test_a_connection_that_is_corrected_in_time_loses_nothing(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SHORTEST_REFRESH", 0.0)
    trigger = rebuilt(deferred(tmp_path / "r", 2).trigger)
    connect(monkeypatch, host=gateway.url, password="")
    correct = threading.Timer(1.0, connect, (monkeypatch,), {"host": gateway.url})
    correct.start()
    assert event_of(trigger)["outcomes"] == {"succeeded": 2}
    correct.join()


async def test_a_kill_before_anything_is_known_cancels_nothing() -> None:
    await QuickRouterBatchTrigger(**GIVEN | {"cancel_on_kill": True}).on_kill()


async def test_progress_is_logged_while_nothing_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PROGRESS_EVERY", 0.05)
    logged = list[str]()
    record = await asyncio.to_thread(Record, str(tmp_path / "r"), "run")
    journal = Journal(record, await asyncio.to_thread(record.read, 5))
    log = SimpleNamespace(info=logged.append)
    async with Waits(journal, Poller("quickrouter_default"), 2e9, log).progress_logged():
        await asyncio.sleep(0.5)
        assert len(logged) > 2
    assert all(line.startswith("0 of 5 done") for line in logged)
