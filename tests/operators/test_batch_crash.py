"""A worker or triggerer that is lost at any point: the next try pays for nothing twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.batch.journal import Record
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.batches import batch, inputs_of, operator, rebuilt, results, retried
from tests.tasks import TaskInstance, context_of, event_of, tell_state


class LostError(BaseException):
    """The process is gone: nothing is caught, nothing cleaned up."""


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.LAG", 0.3)


def lost_at(monkeypatch: pytest.MonkeyPatch, write: int, *, before: bool) -> None:
    """Let the process end at its ``write``-th write to the record: just before or after it."""
    real, writes = Record.write, iter(range(1, 10_000))

    def fails(self: Record, entries: Any) -> Any:
        number = next(writes)
        if number >= write and before:
            raise LostError
        places = real(self, entries)
        if number >= write:
            raise LostError
        return places

    monkeypatch.setattr(Record, "write", fails)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3, 4, 5, 8, 12])
def test_a_worker_that_is_lost_at_any_write_costs_no_second_create(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, before: bool
) -> None:
    ti = TaskInstance(max_tries=2)
    with monkeypatch.context() as patch:
        lost_at(patch, write, before=before)
        with pytest.raises(LostError):
            batch(inputs_of(6), tmp_path / "r", ti)
    assert batch(inputs_of(6), tmp_path / "r", ti.again())["succeeded"] == 6
    assert gateway.creates == 6
    assert len({line["id"] for line in results(tmp_path / "r")}) == 6


def test_equal_inputs_are_not_mixed_up_nor_paid_twice(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti, inputs = TaskInstance(max_tries=2), [{"prompt": "always the same"}] * 8
    with monkeypatch.context() as patch:
        lost_at(patch, 9, before=True)
        with pytest.raises(LostError):
            batch(inputs, tmp_path / "r", ti)
    batch(inputs, tmp_path / "r", ti.again())
    assert gateway.creates == len({line["id"] for line in results(tmp_path / "r")}) == 8


@pytest.mark.parametrize("fault", [Faults(drop="after"), Faults(accepted_status=504)])
def test_a_lost_answer_is_found_on_the_list_in_the_same_try(
    gateway: Sandbox, tmp_path: Path, fault: Faults
) -> None:
    gateway.set_faults(fault, times=2, method="POST")
    assert batch(inputs_of(5), tmp_path / "r")["succeeded"] == 5
    assert gateway.creates == 5


@pytest.mark.parametrize("fault", [Faults(drop="before"), Faults(status=502)])
def test_what_was_not_accepted_is_sent_again_once_the_list_has_shown_it(
    gateway: Sandbox, tmp_path: Path, fault: Faults
) -> None:
    gateway.set_faults(fault, times=2, method="POST")
    assert batch(inputs_of(5), tmp_path / "r")["succeeded"] == 5
    assert gateway.creates == 5


def test_a_gateway_that_loses_every_create_stops_the_batch_and_a_retry_goes_on(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance(max_tries=2)
    batch([{"prompt": "of another task"}], tmp_path / "other")
    gateway.set_faults(Faults(status=502), method="POST")
    with pytest.raises(errors.BatchFailed, match="responses to 3 create requests were lost") as failed:
        batch(inputs_of(3), tmp_path / "r", ti)
    assert retried(failed.value)
    gateway.set_faults(None)
    assert batch(inputs_of(3), tmp_path / "r", ti.again())["succeeded"] == 3
    assert gateway.creates == 4


@pytest.fixture
def no_list(gateway: Sandbox) -> Sandbox:
    """A gateway that has no list of predictions, and loses the answer to the first create."""
    gateway.set_faults(Faults(drop="after", no_list=404), times=1, method="POST")
    gateway.set_faults(Faults(no_list=404), method="GET")
    return gateway


def test_without_a_list_the_line_is_uncertain_until_a_person_clears_the_task(
    no_list: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance(max_tries=2)
    with pytest.raises(errors.BatchFailed, match="1 uncertain") as failed:
        batch(inputs_of(4), tmp_path / "r", ti)
    assert not retried(failed.value)
    (line,) = (line for line in results(tmp_path / "r") if line["outcome"] != "succeeded")
    assert (line["outcome"], line["id"]) == ("uncertain", None)
    assert "created from 20" in line["error"]
    assert no_list.creates == 4
    assert batch(inputs_of(4), tmp_path / "r", ti.again(cleared=True))["succeeded"] == 4
    assert no_list.creates == 5


def test_without_a_list_the_author_may_have_it_submitted_again(no_list: Sandbox, tmp_path: Path) -> None:
    summary = batch(inputs_of(4), tmp_path / "r", on_uncertain="resubmit")
    assert (summary["succeeded"], no_list.creates) == (4, 5)


def test_a_triggerer_that_is_lost_loses_no_outcome_and_the_next_one_goes_on(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti, inputs = TaskInstance(), [*inputs_of(3, processing=0.3), *inputs_of(3, processing=2.5)]
    task = operator(inputs, tmp_path / "r", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, ti))

    async def lose() -> None:
        running = asyncio.ensure_future(anext(rebuilt(deferred.value.trigger).run()))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(running, 1.5)

    asyncio.run(lose())
    event = event_of(rebuilt(deferred.value.trigger))
    assert event == {"payload_version": 1, "outcomes": {"succeeded": 6}, "error": None}
    task = operator(inputs, tmp_path / "r", deferrable=True)
    assert task.execute_complete(context_of(task, ti), event)["succeeded"] == 6
    assert gateway.creates == 6


def test_an_event_that_cannot_be_understood_is_no_success_and_a_retry_goes_on(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti, inputs = TaskInstance(max_tries=1), inputs_of(2, processing=1)
    task = operator(inputs, tmp_path / "r", deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, ti))
    with pytest.raises(errors.UpstreamError) as failed:
        task.execute_complete(context_of(task, ti), None)
    assert retried(failed.value)
    assert batch(inputs, tmp_path / "r", ti.again())["succeeded"] == 2
    assert gateway.creates == 2


def when_running(gateway: Sandbox, count: int, act: Callable[[], None]) -> threading.Thread:
    """Act in a thread, as Airflow does in a signal handler, when so many are under way."""

    def watch() -> None:
        pause = threading.Event()
        while len(gateway.predictions) < count:
            pause.wait(0.05)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_killed_worker_submits_no_more_and_cancels_unless_another_try_goes_on(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    tell_state(monkeypatch, state)
    task = operator(inputs_of(200, never=True), tmp_path / "r", creates_per_minute=600, deferrable=True)
    killer = when_running(gateway, 5, task.on_kill)
    with pytest.raises(AirflowException, match="was killed"):
        task.execute(context_of(task, TaskInstance()))
    killer.join()
    canceled = [entry for entry in gateway.predictions if entry["status"] == "canceled"]
    assert len(gateway.predictions) < 12
    assert canceled == (gateway.predictions if state == "failed" else [])


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_deferred_batch_that_a_person_ends_is_canceled_and_a_cleared_one_goes_on(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    tell_state(monkeypatch, state)
    ti = TaskInstance()
    task = operator(inputs_of(5, never=True), tmp_path / "r", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, ti))

    async def kill() -> None:
        trigger = rebuilt(deferred.value.trigger)
        trigger.task_instance = ti  # type: ignore[assignment]
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(1)
        await trigger.on_kill()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(kill())
    ends = {entry["status"] for entry in gateway.predictions}
    assert ends == {"canceled" if state == "failed" else "processing"}
