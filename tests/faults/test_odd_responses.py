"""Responses to a poll that contain nothing about the prediction: the wait must go on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.faults.clock import Clock
from tests.faults.dags import run_operator, sensor, worker_and_deferred
from tests.faults.gateway import DEFAULT, FIRST_ID, OUTPUT, Gateway, ReceivedRequest, connect
from tests.faults.responses import ODD_RESPONSES, Response, json_response
from tests.faults.running import TaskInstance, failure_of, is_retried, run_task

GONE = ("404 JSON", "400 task_not_exist")


def after_a_minute(gateway: Gateway, odd: Response, how_often: int = 1) -> Any:
    """Make a script: processing for a minute, then the odd responses, then success."""
    began = time.time()
    processing = json_response(gateway.describe(FIRST_ID, status="processing"))
    left = [*[odd] * how_often, processing]

    def step(request: ReceivedRequest) -> Any:
        if time.time() < began + 60:
            return processing
        return left.pop(0) if left else DEFAULT

    return step


@pytest.mark.parametrize("how_often", [1, 5], ids=["once", "5 times"])
@pytest.mark.parametrize("name", ODD_RESPONSES)
@worker_and_deferred
def test_odd_responses_between_good_ones_do_not_end_a_paid_wait(
    name: str, how_often: int, deferrable: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway.url, timeout=3000)
    # A 404 of the API that lasts for a minute ends a wait: a busy machine must not take that long.
    Clock(monkeypatch, 20.0 if name in GONE and how_often > 1 else 120.0)
    gateway.on_poll = after_a_minute(gateway, ODD_RESPONSES[name], how_often)
    assert run_task(run_operator(deferrable=deferrable)) == OUTPUT
    assert (len(gateway.creates), len(gateway.cancels)) == (1, 0)


@pytest.mark.parametrize("name", ["401 JSON, same key", "403 page", "400 task_not_exist", "302"])
@worker_and_deferred
def test_an_odd_response_to_the_very_first_poll_does_not_end_a_paid_wait(
    name: str, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    gateway.on_poll = [ODD_RESPONSES[name], DEFAULT]
    assert run_task(run_operator(deferrable=deferrable)) == OUTPUT
    assert (len(gateway.creates), len(gateway.cancels)) == (1, 0)


@pytest.mark.parametrize("name", ["403 page", "401 JSON, same key", "404 page"])
@worker_and_deferred
def test_an_odd_response_does_not_end_the_wait_of_a_sensor(
    name: str, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    prediction_id = gateway.accept()
    gateway.on_poll = after_a_minute(gateway, ODD_RESPONSES[name])
    task = sensor(prediction_id, deferrable=deferrable, poke_interval=10)
    assert run_task(task) == OUTPUT


@pytest.mark.parametrize("name", ["401 JSON, same key", "403 page", "404 text"])
@worker_and_deferred
def test_a_retry_after_ten_minutes_of_odd_responses_resumes_the_same_prediction(
    name: str, deferrable: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway.url, timeout=3000)
    Clock(monkeypatch, 200.0)
    ti = TaskInstance()
    gateway.on_poll = after_a_minute(gateway, ODD_RESPONSES[name], 10_000)
    began = time.time()
    error = failure_of(run_operator(deferrable=deferrable), ti)
    assert is_retried(error), repr(error)
    assert time.time() - began > 60 + 590  # on the fast clock
    assert len(gateway.cancels) == 0
    gateway.on_poll = DEFAULT
    assert run_task(run_operator(deferrable=deferrable), ti.next_try()) == OUTPUT
    assert (len(gateway.creates), len(gateway.cancels)) == (1, 0)
