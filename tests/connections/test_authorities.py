"""A gateway behind a private CA, and certificates that will not do."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from urllib3.exceptions import InsecureRequestWarning

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import connect
from tests.connections.senders import Send, both_gets
from tests.connections.servers import HOST, port_of, tls_front

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_of_the_environment_is_taken_unless_it_is_not_trusted(
    tls_port: int, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send, variable: str
) -> None:
    monkeypatch.setenv(variable, bundle)
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}")
    assert create().id
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}", extra={"trust_env": False})
    with pytest.raises(errors.InvalidConnectionError, match=r"extra\.verify: .* is not trusted"):
        create()
    assert gateway.creates == 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_variables_of_openssl_are_not_taken(
    tls_port: int, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send, variable: str
) -> None:
    monkeypatch.setenv(variable, bundle if variable == "SSL_CERT_FILE" else str(Path(bundle).parent))
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}")
    with pytest.raises(errors.InvalidConnectionError, match="is not trusted"):
        create()


def test_the_connections_bundle_goes_before_that_of_the_environment(
    tls_port: int, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}", extra={"verify": bundle})
    assert create().id
    assert gateway.creates == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("there", [True, False], ids=["no certificate", "missing"])
def test_a_bundle_of_the_environment_that_cannot_be_used_is_named_and_nothing_is_sent(
    tls_port: int,
    gateway: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    variable: str,
    there: bool,
) -> None:
    file = tmp_path / "bundle.pem"
    if there:
        file.write_text("no certificate")
    monkeypatch.setenv(variable, str(file))
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}")
    with pytest.raises(errors.InvalidConnectionError) as caught:
        create()
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)
    assert f"'{file}' on this machine" in str(caught.value)
    assert gateway.requests == []


@both_gets
def test_a_bundle_that_no_tls_needs_is_not_even_read(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Send
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(errors.NotFoundError):
        get()


def test_verify_false_works_whoever_has_signed(
    tls_port: int, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}", extra={"verify": False})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        assert create().id
    assert gateway.creates == 1


def test_a_certificate_for_another_name_is_told_with_the_remedy(
    tls_port: int, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    connect(monkeypatch, host=f"https://localhost:{tls_port}", extra={"verify": bundle})
    with pytest.raises(errors.InvalidConnectionError) as caught:
        create()
    assert f"host: the certificate of https://localhost:{tls_port} is for another name" in str(caught.value)
    assert gateway.requests == []


@pytest.mark.parametrize("over", [True, False], ids=["expired", "not valid yet"])
def test_a_certificate_out_of_its_time_is_trouble_that_passes(
    gateway: Sandbox,
    authority: trustme.CA,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    over: bool,
) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    times = (LONG_AGO, LONG_AGO + timedelta(days=2)) if over else (later, later + timedelta(days=2))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert(HOST, not_before=times[0], not_after=times[1])
    issued.configure_cert(context)
    with tls_front(port_of(gateway.url), context) as port:
        connect(monkeypatch, host=f"https://{HOST}:{port}", extra={"verify": bundle})
        with pytest.raises(errors.NotConnectedError, match="has expired or is not valid yet"):
            create()
    assert gateway.requests == []


def test_a_handshake_that_ends_or_never_ends_leaves_a_create_uncertain(
    monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    for hangs in (False, True):
        with deaf_server(hangs=hangs) as port:
            connect(monkeypatch, host=f"https://{HOST}:{port}", extra={"timeout": [0.3, 0.2]})
            # The libraries' public exceptions are the same before and after a request is sent.
            with pytest.raises(errors.UncertainCreateError):
                create()


@contextmanager
def deaf_server(*, hangs: bool) -> Iterator[int]:
    """A server that takes connections, and closes them at once or says nothing."""
    kept: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                if not hangs:
                    connection.close()

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()
