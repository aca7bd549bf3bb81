"""The gateway of these tests: it replaces the sandbox of ``tests/conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.clock import Clock
from tests.faults.gateway import Gateway, connect
from tests.faults.supervisor import airflow_reports


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A scripted gateway, as the connection ``quickrouter_default``."""
    with Gateway() as gateway:
        connect(monkeypatch, gateway.url)
        airflow_reports(monkeypatch, "running")
        yield gateway


@pytest.fixture
def fast(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on which two minutes pass in a second."""
    # A busy machine may take a real second for a response: two minutes on this clock.
    connect(monkeypatch, gateway.url, timeout=3000)
    return Clock(monkeypatch, 120.0)
