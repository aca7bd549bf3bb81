"""How long 50 predictions wait beside 24 that hang, compared with the same 50 alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.clock import real_time
from tests.faults.gateway import Gateway, connect, hang_for, processing_for
from tests.faults.triggers import wait_for_all

HANGING, GOOD = 24, 50
DEADLINE = 10.0

ALWAYS_ALLOWED = 5.0
"""Seconds that are never too long, since a busy machine may stall in either measurement. Polls that
wait for hanging ones take until the deadline."""


def seconds_until_noticed(gateway: Gateway, good: Sequence[str], hanging: Sequence[str]) -> float:
    """Return how long it takes until all good predictions are noticed, which end after a second."""
    gateway.on_poll = processing_for(gateway, 1.0)
    hang_for(gateway, hanging)
    began = real_time()
    ends = wait_for_all([*hanging, *good], seconds=DEADLINE, cancel_on=["timeout"])
    assert {ends[each].reason for each in good} == {"succeeded"}
    return max(ends[each].at for each in good) - began


def test_good_predictions_are_noticed_as_soon_beside_many_hanging_polls_as_alone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No poll that hangs times out before the deadline.
    connect(monkeypatch, gateway.url, timeout=[2, 30])
    hanging, good, others = [
        [gateway.accept() for _ in range(count)] for count in (HANGING, GOOD, GOOD)
    ]
    alone = seconds_until_noticed(gateway, good, [])
    beside = seconds_until_noticed(gateway, others, hanging)
    assert beside <= max(2 * alone, ALWAYS_ALLOWED)
    assert {request.prediction_id for request in gateway.cancels} == set(hanging)
