"""Canceling: as well as possible, in bounded time, and told in a sentence."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission import cancel as stopping
from airflow_provider_quickrouter.submission.cancel import CANCELS_AT_ONCE, Owner
from tests.conftest import connect
from tests.hooks.test_hook import create, unused_port
from tests.tasks import TASK_RUNNER, Clock, TaskInstance, join_stops, statuses_of_cancels, tell_state

LOG = logging.getLogger("tests")
WAITS = ["scheduled", "queued", "running", "deferred", "up_for_reschedule"]
BEGINS_AGAIN = [None, "restarting", "up_for_retry"]
OVER = ["failed", "success", "skipped", "removed", "upstream_failed"]

AT_TIMEOUT = Owner(None, over=True)
"""Of a task that is known to be over: Airflow need not be asked."""

Stop = Callable[[str], str]


def stop_here(prediction_id: str) -> str:
    return stopping.cancel(QuickRouterHook(), prediction_id)


def stop_in_a_thread(prediction_id: str) -> str:
    return asyncio.run(stopping.cancel_in_thread(QuickRouterHook(), prediction_id))


both = pytest.mark.parametrize("stop", [stop_here, stop_in_a_thread])


def cancels(gateway: Sandbox) -> int:
    return sum(entry.path.endswith("/cancel") for entry in gateway.requests)


@pytest.fixture
def running(gateway: Sandbox) -> str:
    gateway.set_faults(Faults(never=True), times=1)
    return create().id


@both
def test_a_cancel_is_one_request(gateway: Sandbox, running: str, stop: Stop) -> None:
    assert stop(running) == "It was canceled."
    assert (cancels(gateway), gateway.predictions[0]["status"]) == (1, "canceled")


@both
def test_passing_trouble_is_met_by_two_more_attempts(
    gateway: Sandbox, running: str, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    gateway.set_faults(Faults(status=503), times=2)
    assert stop(running) == "It was canceled."
    assert (cancels(gateway), clock.pauses) == (3, [0, 1, 2])


@both
def test_trouble_that_lasts_is_told(
    gateway: Sandbox, running: str, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    gateway.set_faults(Faults(status=500))
    assert stop(running).startswith("It could not be canceled and may run on: HTTP 500: ")
    assert cancels(gateway) == 3


@both
@pytest.mark.parametrize("fault", [Faults(no_cancel=405), Faults(no_cancel=404), Faults(quota=True)])
def test_what_lasts_is_not_tried_again(gateway: Sandbox, running: str, stop: Stop, fault: Faults) -> None:
    gateway.set_faults(fault)
    assert "could not be canceled" in stop(running)
    assert cancels(gateway) == 1


@both
def test_a_gateway_that_is_down_is_told(running: str, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    assert "may run on: no connection to" in stop(running)


@both
def test_what_is_no_id_is_told_and_not_sent(gateway: Sandbox, stop: Stop) -> None:
    assert "may run on: prediction_id: '../x' does not look like an id" in stop("../x")
    assert gateway.requests == []


@both
@pytest.mark.parametrize("body", ["html", "cut", "empty"])
def test_an_answer_that_is_none_is_passing_trouble(
    gateway: Sandbox, running: str, stop: Stop, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    gateway.set_faults(Faults(body=body), times=1)
    assert stop(running) == "It was canceled."
    assert cancels(gateway) == 2


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def stop_in_all_ways(prediction_id: str, owner: Owner) -> None:
    """Stop on a worker and in the triggerer, one prediction and many."""
    for ids in ([prediction_id], [prediction_id, prediction_id]):
        stopping.stop(QuickRouterHook, ids, owner, LOG)
        asyncio.run(stopping.stop_in_triggerer(QuickRouterHook, ids, owner, LOG))


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("state", WAITS)
def test_a_task_that_may_still_wait_keeps_its_prediction(
    gateway: Sandbox,
    running: str,
    state: str,
    resumable: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    asked = tell_state(monkeypatch, state)
    stop_in_all_ways(running, Owner(TaskInstance(), resumable))
    assert (cancels(gateway), len(asked)) == (0, 4)
    assert [line.levelname for line in caplog.records] == ["INFO"] * 4
    assert all(line.startswith("Leaving ") for line in caplog.messages)
    assert all("task is not over, or Airflow does not report it" in line for line in caplog.messages)


@pytest.mark.parametrize(("resumable", "expected"), [(True, 0), (False, 6)])
@pytest.mark.parametrize("state", BEGINS_AGAIN)
def test_a_task_that_begins_again_keeps_its_prediction_if_it_can_resume_it(
    gateway: Sandbox,
    running: str,
    state: str | None,
    resumable: bool,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = tell_state(monkeypatch, state)
    stop_in_all_ways(running, Owner(TaskInstance(), resumable))
    assert (cancels(gateway), len(asked)) == (expected, 4)


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("state", OVER)
def test_a_task_that_is_over_loses_its_prediction(
    gateway: Sandbox, running: str, state: str, resumable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tell_state(monkeypatch, state)
    stop_in_all_ways(running, Owner(TaskInstance(), resumable))
    assert (cancels(gateway), len(asked)) == (6, 4)


@pytest.mark.parametrize("resumable", [True, False])
def test_an_airflow_that_cannot_say_leaves_the_prediction_running(
    gateway: Sandbox,
    running: str,
    resumable: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell_state(monkeypatch, ConnectionError("no server"))
    stop_in_all_ways(running, Owner(TaskInstance(), resumable))
    assert cancels(gateway) == 0
    assert warnings(caplog) == ["Airflow did not report the state of this task"] * 4
    assert caplog.text.count("no server") >= 4


def test_a_task_that_is_known_to_be_over_loses_its_prediction_without_a_request_to_airflow(
    gateway: Sandbox, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tell_state(monkeypatch, "running")
    stop_in_all_ways(running, Owner(TaskInstance(), over=True))
    assert (cancels(gateway), asked) == (6, [])


@pytest.mark.parametrize(("state", "expected"), [("failed", 6), ("running", 0), (None, 0)])
def test_on_airflow_2_the_state_is_read_by_the_task_instance(
    gateway: Sandbox, running: str, state: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, TASK_RUNNER, None)
    task_instance = SimpleNamespace(current_state=lambda: state)
    stop_in_all_ways(running, Owner(task_instance))
    assert cancels(gateway) == expected


@pytest.mark.parametrize(("index", "asked_for"), [(-1, None), (None, None), (0, 0), (7, 7)])
def test_the_state_of_the_very_task_instance_is_asked_for(
    gateway: Sandbox, running: str, index: int | None, asked_for: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, task_instance = tell_state(monkeypatch, "running"), TaskInstance()
    monkeypatch.setattr(task_instance, "map_index", index)
    stopping.stop(QuickRouterHook, [running], Owner(task_instance), LOG)
    (question,) = asked
    assert (question.dag_id, question.task_ids, question.run_ids) == ("test", ["run"], ["a run"])
    assert question.map_index == asked_for


def test_on_a_worker_it_swallows_whatever_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> QuickRouterHook:
        raise RuntimeError("a bug")

    stopping.stop(fail, ["p1"], AT_TIMEOUT, LOG)
    assert "Prediction p1 could not be canceled in time and may run on" in caplog.text
    assert "a bug" in caplog.text


def test_on_a_worker_it_does_not_wait_for_ever(
    gateway: Sandbox, running: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = stopping.Limits(state=1.5, total=0.3)
    gateway.set_faults(Faults(latency=3), method="POST")
    stopping.stop(QuickRouterHook, [running], AT_TIMEOUT, LOG, short)
    assert statuses_of_cancels(gateway) == [None]
    join_stops()
    assert f"Prediction {running} could not be canceled in time" in caplog.text


def test_a_server_of_airflow_that_does_not_respond_leaves_the_prediction_running(
    gateway: Sandbox, running: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    short = stopping.Limits(state=0.1, total=4)
    monkeypatch.setattr(stopping, "TRIGGERER", short)
    hold = threading.Event()
    late = {TaskInstance.run_id: {TaskInstance.task_id: "failed"}}
    silent = SimpleNamespace(get_task_states=lambda **_: hold.wait() and late)
    monkeypatch.setattr(f"{TASK_RUNNER}.RuntimeTaskInstance", silent)
    stopping.stop(QuickRouterHook, [running], Owner(TaskInstance()), LOG, short)

    async def in_the_triggerer() -> None:
        try:
            await stopping.stop_in_triggerer(QuickRouterHook, [running], Owner(TaskInstance()), LOG)
        finally:
            hold.set()

    asyncio.run(in_the_triggerer())
    assert cancels(gateway) == 0
    assert warnings(caplog) == ["Airflow did not report the state of this task"] * 2


def test_in_the_triggerer_it_does_not_wait_for_ever_either(
    gateway: Sandbox, running: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "TRIGGERER", stopping.Limits(state=9, total=0.3))
    gateway.set_faults(Faults(latency=3), method="POST")
    asyncio.run(stopping.stop_in_triggerer(QuickRouterHook, [running], AT_TIMEOUT, LOG))
    assert statuses_of_cancels(gateway) == [None]
    assert f"Prediction {running} could not be canceled in time" in caplog.text


def test_in_the_triggerer_no_number_of_cancellations_prevents_the_cancel(
    gateway: Sandbox, running: str
) -> None:
    gateway.set_faults(Faults(latency=0.5), times=1, method="POST")

    async def impatient() -> None:
        task = asyncio.create_task(stopping.stop_in_triggerer(QuickRouterHook, [running], AT_TIMEOUT, LOG))
        while not task.done():
            await asyncio.sleep(0.1)
            task.cancel()
        await task

    asyncio.run(impatient())
    assert cancels(gateway) == 1


def test_in_the_triggerer_a_wrong_connection_is_told_and_not_raised(
    gateway: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    asyncio.run(stopping.stop_in_triggerer(QuickRouterHook, ["p1"], AT_TIMEOUT, LOG))
    assert "extra.timeout" in caplog.text


def test_what_could_not_be_canceled_of_many_is_counted(
    gateway: Sandbox, running: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids = [running, create().id]
    stopping.stop(QuickRouterHook, [*ids, "../x"], AT_TIMEOUT, LOG)
    asyncio.run(stopping.stop_in_triggerer(QuickRouterHook, ids, AT_TIMEOUT, LOG))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "2 predictions canceled, 1 may run on"),
        ("INFO", "2 predictions canceled, 0 may run on"),
    ]


def test_many_are_canceled_a_few_at_a_time(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = [0]

    lock, all_of_them = threading.Lock(), threading.Barrier(CANCELS_AT_ONCE)

    def cancel(hook: QuickRouterHook, prediction_id: str) -> str:
        for change in (1, -1):
            with lock:
                at_once.append(at_once[-1] + change)
            all_of_them.wait(10)
        return "It was canceled."

    monkeypatch.setattr(stopping, "cancel", cancel)
    ids = [f"p{number}" for number in range(6 * CANCELS_AT_ONCE)]
    asyncio.run(stopping.stop_in_triggerer(QuickRouterHook, ids, AT_TIMEOUT, LOG))
    assert (len(at_once), max(at_once)) == (12 * CANCELS_AT_ONCE + 1, CANCELS_AT_ONCE)
