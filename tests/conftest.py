"""What every test stands on: no network beyond this machine, and nothing of the user's Airflow."""

from __future__ import annotations

import os
import tempfile

import pytest
from pytest_socket import socket_allow_hosts

# Before the first import of Airflow, which reads its settings then.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "QUICKROUTER_"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"


@pytest.fixture(autouse=True)
def _only_loopback() -> None:
    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
