"""A gateway that demands a certificate of its clients."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import connect
from tests.connections.conftest import NAME, server_context
from tests.connections.senders import ID, Send
from tests.connections.servers import HOST, Proxy, port_of, tls_front

CLIENT = "worker@example.org"


def test_a_private_authority_and_a_proxy_go_together_with_a_client_certificate(
    gateway: Sandbox,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
) -> None:
    context = demanding(authority, NAME)
    _, pair = certificate_files(authority, tmp_path)
    with tls_front(port_of(gateway.url), context) as port:
        proxy = Proxy({NAME: port})
        with proxy.running() as url:
            extra = {"verify": bundle, "cert": pair, "proxies": {"https": url}}
            connect(monkeypatch, host=f"https://{NAME}", extra=extra)
            assert create().id
    assert proxy.seen == [f"CONNECT {NAME}:443"]
    assert gateway.creates == 1


@pytest.mark.parametrize("as_pair", [True, False], ids=["pair", "one file"])
def test_a_client_certificate_is_one_file_or_two(
    gateway: Sandbox,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    as_pair: bool,
) -> None:
    one, pair = certificate_files(authority, tmp_path)
    with tls_front(port_of(gateway.url), demanding(authority, HOST)) as port:
        extra = {"verify": bundle, "cert": pair if as_pair else one}
        connect(monkeypatch, host=f"https://{HOST}:{port}", extra=extra)
        assert create().id
    assert gateway.creates == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("given", ["none", "another's"])
def test_a_create_without_the_right_client_certificate_is_uncertain_and_names_the_field(
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    version: ssl.TLSVersion,
    given: str,
) -> None:
    context = demanding(authority, HOST)
    context.minimum_version = context.maximum_version = version
    with alerting_server(context) as (port, accepted):
        extra: dict[str, object] = {"verify": bundle}
        if given != "none":
            extra["cert"] = certificate_files(trustme.CA(), tmp_path)[0]
        connect(monkeypatch, host=f"https://{HOST}:{port}", extra=extra)
        with pytest.raises(errors.UncertainCreateError) as caught:
            create()
    # The older version has no alert of its own for a certificate that is not there.
    told = given != "none" or version is ssl.TLSVersion.TLSv1_3
    assert ("extra.cert: " in str(caught.value)) is told
    assert accepted == []


def test_an_encrypted_key_is_refused_instead_of_asking_the_terminal(
    authority: trustme.CA,
    tls_port: int,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
) -> None:
    one, (cert, key) = certificate_files(authority, tmp_path)
    encrypted = encrypt(Path(key))
    Path(one).write_text(Path(cert).read_text() + Path(encrypted).read_text())
    for given in ([cert, encrypted], one):
        extra = {"verify": bundle, "cert": given}
        connect(monkeypatch, host=f"https://{HOST}:{tls_port}", extra=extra)
        with pytest.raises(errors.InvalidConnectionError, match=r"extra\.cert: .* is encrypted"):
            create()


@pytest.mark.parametrize("wrong", ["missing", "no certificate", "another key"])
def test_a_client_certificate_that_cannot_be_used_is_named(
    authority: trustme.CA,
    gateway: Sandbox,
    tls_port: int,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    wrong: str,
) -> None:
    _, pair = certificate_files(authority, tmp_path)
    file = Path(pair[1])
    if wrong == "missing":
        file.unlink()
    elif wrong == "no certificate":
        file.write_text("nothing")
    else:
        authority.issue_cert("else@example.org").private_key_pem.write_to_path(pair[1])
    extra = {"verify": bundle, "cert": pair}
    connect(monkeypatch, host=f"https://{HOST}:{tls_port}", extra=extra)
    with pytest.raises(errors.InvalidConnectionError, match=r"extra\.cert: ") as caught:
        create()
    assert str(file) in str(caught.value)
    assert "on this machine" in str(caught.value)
    assert gateway.requests == []


def demanding(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's context that lets in only who has a certificate of the authority."""
    context = server_context(authority, name)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def certificate_files(authority: trustme.CA, folder: Path) -> tuple[str, list[str]]:
    """A client's certificate: path of one file with its key, and paths of both apart."""
    issued = authority.issue_cert(CLIENT)
    names = ("client.pem", "certificate.pem", "key.pem")
    one, certificate, key = (str(folder / name) for name in names)
    issued.private_key_and_cert_chain_pem.write_to_path(one)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return one, [certificate, key]


def encrypt(key: Path) -> str:
    """Write an encrypted copy of a key beside it and return its path."""
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    data = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
    copy = key.with_suffix(".encrypted")
    copy.write_bytes(data)
    return str(copy)


@contextmanager
def alerting_server(context: ssl.SSLContext) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server that lets its alerts be read, and the requests that it has accepted."""
    accepted: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            with context.wrap_socket(connection.dup(), server_side=True) as secure:
                accepted.append(secure.recv(65536))
                body = json.dumps({"id": ID, "status": "starting"})
                secure.sendall(f"HTTP/1.1 201 .\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        except ssl.SSLError:  # what is still to be read would reset the connection
            with suppress(OSError):
                while connection.recv(65536):
                    pass

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    answer(connection)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], accepted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
