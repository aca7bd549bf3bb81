"""Polls that hang: they must delay neither other polls nor cancel requests."""

from __future__ import annotations

import pytest

from tests.faults.gateway import Gateway, connect, hang_for, processing_for
from tests.faults.triggers import wait_for_all

HANGING, GOOD = 24, 50
DEADLINE = 9.0
# In the first case a hanging poll times out three poll intervals after the good predictions end,
# in the second one not before the deadline.
TIMEOUTS = {"before the deadline": [2, 6], "after it": [2, 30]}


@pytest.mark.parametrize("timeout", TIMEOUTS.values(), ids=TIMEOUTS)
def test_polls_that_hang_delay_no_other_poll_and_no_cancel_request(
    timeout: list[int], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway.url, timeout=timeout)
    hanging, good = [[gateway.accept() for _ in range(count)] for count in (HANGING, GOOD)]
    gateway.on_poll = processing_for(gateway, 3.0)
    hangs = hang_for(gateway, hanging)
    ends = wait_for_all([*hanging, *good], seconds=DEADLINE, cancel_on=["timeout"])
    assert {ends[each].reason for each in good} == {"succeeded"}
    first_timeout = min(hang.ended_at for hang in hangs)
    assert [each for each in good if ends[each].at > first_timeout] == []
    assert {request.prediction_id for request in gateway.cancels} == set(hanging)
