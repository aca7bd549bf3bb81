"""What every test stands on: no network beyond this machine, no blocking call on an event
loop, and nothing of the user's own Airflow.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings
from pytest_socket import socket_allow_hosts

# Before the first import of Airflow, which reads its settings then.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "QUICKROUTER_"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"

from airflow_provider_quickrouter.sandbox.server import Sandbox

HERE = Path(__file__).parent
KEY = "qr-key-of-the-tests-0123456789"
# Folders of tests that share a whole Airflow.
AIRFLOW, GALLERY = {"integration"}, {"plugins", "browser"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that are marked slow, too")


def pytest_configure(config: pytest.Config) -> None:
    # No deadlines: a test must not depend on the speed of the machine.
    settings.register_profile("tests", max_examples=100 if config.getoption("--slow") else 25, deadline=None)
    settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip slow tests unless they are asked for; start the longest first, never side by side."""
    groups = {item: group_of(item) for item in items}
    for item, group in groups.items():
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
        slow = item.get_closest_marker("slow")
        if slow and not item.config.getoption("--slow"):
            (reason,) = slow.args
            item.add_marker(pytest.mark.skip(reason=f"`make test-all` runs it: {reason}"))
    items.sort(key=lambda item: groups[item] is None)


def group_of(item: pytest.Item) -> str | None:
    """Name what is not to run side by side with this test; None for most tests."""
    folder = item.path.relative_to(HERE).parts[0]
    if folder in AIRFLOW or item.get_closest_marker("integration"):
        return "airflow"
    return "gallery" if folder in GALLERY else None


@pytest.fixture(autouse=True)
def _only_loopback() -> None:
    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _no_blocking_on_the_event_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as detector:
        # Where several threads run, coverage waits for a lock of its own.
        acquire = detector.functions["threading.Lock.acquire"]
        acquire.can_block_in("coverage/collector.py", "lock_data")
        yield detector


@pytest.fixture(scope="session")
def _gateway() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, starting=0.0, processing=0.2) as sandbox:
        yield sandbox


@pytest.fixture
def gateway(_gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox that has forgotten what came before, as the connection ``quickrouter_default``."""
    _gateway.clear()
    connect(monkeypatch, host=_gateway.url)
    return _gateway


PRICES = {
    "stability-ai/stable-diffusion": {"per_output": 0.04},
    "stability-ai/sdxl": {"per_second": 0.0123},
}


@pytest.fixture
def priced_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox with prices, as the connection ``quickrouter_default`` with the same ones."""
    with Sandbox(api_key=KEY, prices=PRICES) as sandbox:
        connect(monkeypatch, host=sandbox.url, extra={"prices": PRICES})
        yield sandbox


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str = "quickrouter_default", **fields: object) -> None:
    """Set a connection with these fields."""
    connection = {"conn_type": "quickrouter", "password": KEY, **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    """Moto's server; the address of an S3 with one bucket, ``pictures``."""
    from tests.s3 import s3_server  # a slow import, which few tests need

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
    """A storage that is no object store and cannot append."""
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

    attach("memory", fs=MemoryFileSystem())
    yield "memory://pictures"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
