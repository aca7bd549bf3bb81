from __future__ import annotations

import socket

import pytest
import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client


def test_a_sandbox_responds_until_it_ends() -> None:
    with Sandbox() as sandbox:
        assert sandbox.port > 0
        assert requests.get(sandbox.url, timeout=5).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url, timeout=5)


def test_several_sandboxes_know_nothing_of_each_other() -> None:
    with Sandbox() as one, Sandbox() as other, requests.Session() as session:
        Client(one, session).create_id()
        assert (one.creates, other.creates) == (1, 0)
        assert one.port != other.port


def test_a_sandbox_may_be_started_again() -> None:
    sandbox = Sandbox()
    for _ in range(2):
        with sandbox, requests.Session() as session:
            assert Client(sandbox, session).create().status_code == 201
    assert sandbox.creates == 2


def test_a_sandbox_ends_though_a_request_hangs() -> None:
    with Sandbox() as sandbox, requests.Session() as session, pytest.raises(requests.ReadTimeout):
        Client(sandbox, session).create(faults={"hang": 3600}, timeout=0.1)
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url, timeout=5)


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sandbox = Sandbox(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"), sandbox:
            pass


def test_clearing_forgets_everything(client: Client) -> None:
    client.create_id()
    client.sandbox.clear()
    assert client.sandbox.predictions == []
    assert client.sandbox.requests == []
    assert client.sandbox.creates == 0
