"""A retry after its previous attempt was lost: it must find the prediction that was paid for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.clock import Clock
from tests.faults.dags import run_operator
from tests.faults.gateway import DEFAULT, FIRST_ID, OUTPUT, Gateway
from tests.faults.responses import ODD_RESPONSES, json_response
from tests.faults.running import TaskInstance, failure_of, is_retried, run_task


def lose_first_attempt(gateway: Gateway) -> TaskInstance:
    """Let an attempt be lost after its create request; return the next attempt."""

    def broken_triggerer(trigger: Any) -> None:
        raise RuntimeError("the triggerer is lost")

    ti = TaskInstance()
    error = failure_of(run_operator(deferrable=True), ti, triggerer=broken_triggerer)
    assert is_retried(error)
    assert len(gateway.creates) == 1
    return ti.next_try()


@pytest.mark.parametrize(
    "name",
    ["404 page", "404 JSON", "404 text", "400 task_not_exist", "403 page", "401 JSON, same key", "302"],
)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_a_retry_whose_first_poll_returns_an_odd_response_pays_and_cancels_nothing(
    name: str, deferrable: bool, gateway: Gateway, fast: Clock
) -> None:
    second = lose_first_attempt(gateway)
    fast.jump(120)
    processing = json_response(gateway.describe(FIRST_ID, status="processing"))
    gateway.on_poll = [ODD_RESPONSES[name], processing, DEFAULT]
    assert run_task(run_operator(deferrable=deferrable), second) == OUTPUT
    assert (len(gateway.creates), len(gateway.cancels)) == (1, 0)
