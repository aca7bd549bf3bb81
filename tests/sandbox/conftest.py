from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(processing=0.05) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    running_sandbox.clear()
    return running_sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(sandbox, session)
