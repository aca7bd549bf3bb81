"""Storages of three kinds, and a task that stores into them what a server of the test gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from blockbuster import BlockBuster
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.storage.store import Storing
from tests.conftest import connect
from tests.s3 import s3_server
from tests.storage.files import Log


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    """Moto's server; the address of an S3 with one bucket, ``pictures``."""
    with s3_server("pictures") as address:
        yield address


@pytest.fixture
def s3(_s3: str, monkeypatch: pytest.MonkeyPatch, _no_blocking_on_the_event_loop: BlockBuster) -> str:
    """A bucket, reached through the connection ``aws_default``."""
    for function in _no_blocking_on_the_event_loop.functions.values():
        function.can_block_in("fsspec/asyn.py", "_runner")  # s3fs has a loop of its own
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": _s3, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    return "s3://aws_default@pictures"


@pytest.fixture
def memory() -> Iterator[str]:
    attach("memory", fs=MemoryFileSystem())
    yield "memory://pictures"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


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
