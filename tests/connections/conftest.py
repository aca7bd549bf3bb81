"""The gateway under a name that only the tests' proxy knows, plain and behind TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.connections.senders import Send, create_once
from tests.connections.servers import HOST, port_of, tls_front

NAME = "gateway.invalid"
"""A name that no DNS has: what reaches the gateway by it has come through the proxy."""

_OF_THE_USER = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_OF_THE_USER, *map(str.upper, _OF_THE_USER), *_BUNDLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before a create is sent again, instead of making them."""
    made: list[float] = []
    monkeypatch.setattr("airflow_provider_quickrouter.hooks.quickrouter.time.sleep", made.append)
    return made


@pytest.fixture
def create() -> Send:
    """Sends a create request once."""
    return create_once


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the file that has its certificate."""
    path: Path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """What a server needs to be the one of these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="session")
def tls_port(_gateway: Sandbox, authority: trustme.CA) -> Iterator[int]:
    """Port of the sandbox with TLS, by the name ``NAME`` or by its address."""
    with tls_front(port_of(_gateway.url), server_context(authority, NAME, HOST)) as port:
        yield port


@pytest.fixture
def ports(gateway: Sandbox, tls_port: int) -> dict[str, int]:
    """Port of the sandbox by scheme."""
    return {"http": port_of(gateway.url), "https": tls_port}
