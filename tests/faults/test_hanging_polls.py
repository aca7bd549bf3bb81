"""Polls that hang: they must delay neither other polls nor cancel requests."""

from __future__ import annotations

import pytest

from tests.faults.gateway import Gateway, connect, hang_for, processing_for
from tests.faults.triggers import wait_for_all


def test_polls_that_hang_delay_no_other_poll_and_no_cancel_request(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hanging polls time out after 6 s: three poll intervals after the good predictions end.
    connect(monkeypatch, gateway.url, timeout=[2, 6])
    hanging, good = [[gateway.accept() for _ in range(count)] for count in (24, 50)]
    gateway.on_poll = processing_for(gateway, 3.0)
    hangs = hang_for(gateway, hanging)
    ends = wait_for_all([*hanging, *good], seconds=9, cancel_on=["timeout"])
    assert {ends[each].reason for each in good} == {"succeeded"}
    first_timeout = min(hang.ended_at for hang in hangs)
    assert [each for each in good if ends[each].at > first_timeout] == []
    assert {request.prediction_id for request in gateway.cancels} == set(hanging)
