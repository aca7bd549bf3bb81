"""Servers that send their headers byte by byte, without an end."""

from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from tests.conftest import KEY
from tests.faults.gateway import FIRST_ID, Gateway, connect
from tests.faults.responses import MODEL, Drip

TIMEOUT = [1, 2]
"""Seconds to connect, and between two bytes: together far less than a server drips."""

DRIP_SECONDS = 8.0
DRIPS = {
    "header": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Padding: " + b"x" * 600,
    "status line": b"HTTP/1.1 200 " + b"K" * 600,
}


@pytest.mark.parametrize("name", DRIPS)
def test_a_poll_whose_headers_drip_ends_within_the_timeouts(
    name: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway.url, timeout=TIMEOUT)
    drip = gateway.on_poll = Drip(DRIPS[name], DRIP_SECONDS)
    with pytest.raises(errors.ConnectionLostError):
        QuickRouterHook().get_prediction(FIRST_ID)
    assert not drip.finished.is_set()


def test_a_create_request_whose_headers_drip_is_uncertain_within_the_timeouts(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway.url, timeout=TIMEOUT)
    drip = gateway.on_create = Drip(DRIPS["header"], DRIP_SECONDS)
    with pytest.raises(errors.UncertainCreateError) as raised:
        QuickRouterHook().create_prediction({"prompt": "x"}, version=MODEL)
    assert not drip.finished.is_set()
    assert KEY not in str(raised.value)
