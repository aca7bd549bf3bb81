"""Storages of three kinds, and a task that stores into them what a server of the test gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.storage.store import Storing
from tests.conftest import connect
from tests.storage.files import Log


@pytest.fixture(params=["file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new folder on each of the three storages."""
    if request.param == "file":
        return f"file://{tmp_path}/pictures"
    return f"{request.getfixturevalue(request.param)}/{tmp_path.name}"


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> QuickRouterHook:
    """The connection's hook; files may lie on this machine, where the tests have them."""
    connect(monkeypatch, host="http://127.0.0.1:9", extra={"allow_private_addresses": True})
    return QuickRouterHook()


@pytest.fixture
def storing(hook: QuickRouterHook, log: Log, tmp_path: Path) -> Callable[..., Storing]:
    """Make what stores; by default into a local folder."""

    def make(**given: Any) -> Storing:
        return Storing(hook, log, **{"path": f"file://{tmp_path}/kept"} | given)

    return make
