"""What happens to a create when the way to the API is bad: it is paid once or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme
from airflow.providers.common.compat.sdk import timeout
from pytest_httpserver import HTTPServer
from werkzeug import Response

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import connect
from tests.hooks.test_hook import create, unused_port


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the hook would make, instead of making them."""
    made: list[float] = []
    monkeypatch.setattr("airflow_provider_quickrouter.hooks.quickrouter.time.sleep", made.append)
    return made


@pytest.mark.parametrize("form", ["header", "date", "body", "text"])
def test_a_429_is_sent_again_after_the_time_that_the_server_asks(
    gateway: Sandbox, pauses: list[float], form: str
) -> None:
    gateway.set_faults(Faults(rate_limit=form, retry_after=7), times=2)
    assert create().id
    assert pauses == [pytest.approx(7, abs=2)] * 2
    assert (gateway.creates, len(gateway.requests)) == (1, 3)


def test_a_429_without_a_time_is_sent_again_after_a_growing_pause(
    gateway: Sandbox, pauses: list[float]
) -> None:
    gateway.set_faults(Faults(rate_limit="bare"), times=3)
    assert create().id
    assert pauses == [pytest.approx(pause, rel=0.1) for pause in (1, 2, 4)]
    assert gateway.creates == 1


def test_a_429_that_lasts_is_left_to_the_schedulers_retry(gateway: Sandbox, pauses: list[float]) -> None:
    gateway.set_faults(Faults(rate_limit="header", retry_after=300))
    with pytest.raises(errors.RateLimitError) as caught:
        create()
    assert caught.value.transient
    assert pauses == []


def test_a_refused_connection_is_tried_again_for_two_minutes(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(errors.NotConnectedError):
        create()
    assert pauses == [pytest.approx(pause, rel=0.1) for pause in (1, 2, 4, 8, 16, 30, 30)]


def test_an_unknown_host_is_tried_again_for_two_minutes(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    connect(monkeypatch, host="http://nowhere.invalid")
    with pytest.raises(errors.NotConnectedError):
        create()
    assert len(pauses) == 7


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        (Faults(drop="after"), 1),
        (Faults(accepted_status=502), 1),
        (Faults(accepted_status=504), 1),
        (Faults(body="html"), 1),
        (Faults(body="cut"), 1),
        (Faults(body="empty"), 1),
        (Faults(drop="before"), 0),
        (Faults(status=500), 0),
        (Faults(status=503), 0),
    ],
)
def test_a_create_whose_answer_is_lost_is_never_sent_again(
    gateway: Sandbox, pauses: list[float], fault: Faults, accepted: int
) -> None:
    gateway.set_faults(fault, times=1)
    with pytest.raises(errors.UncertainCreateError, match="may have been accepted and billed"):
        create()
    assert (gateway.creates, len(gateway.requests), pauses) == (accepted, 1, [])


def test_a_create_that_times_out_while_reading_is_uncertain(
    gateway: Sandbox, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": [5, 0.2]})
    gateway.set_faults(Faults(hang=1), times=1)
    with pytest.raises(errors.UncertainCreateError):
        create()
    assert pauses == []


def test_a_create_that_execution_timeout_breaks_off_is_uncertain(
    gateway: Sandbox, pauses: list[float]
) -> None:
    gateway.set_faults(Faults(hang=3), times=1)
    with pytest.raises(errors.UncertainCreateError, match="execution_timeout"), timeout(seconds=1):
        create()
    assert (gateway.creates, pauses) == (1, [])


def test_a_tls_connection_that_breaks_after_sending_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    authority, received = trustme.CA(), list[bytes]()
    with breaking_tls_server(authority, received) as port, authority.cert_pem.tempfile() as bundle:
        connect(monkeypatch, host=f"https://127.0.0.1:{port}", extra={"verify": bundle})
        with pytest.raises(errors.UncertainCreateError):
            create()
    assert len(received) == 1
    assert received[0].startswith(b"POST /replicate/v1/predictions")
    assert pauses == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_through_a_proxy_that_breaks_after_sending_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], scheme: str
) -> None:
    authority, received = trustme.CA(), list[bytes]()
    with dropping_proxy(authority, received) as port, authority.cert_pem.tempfile() as bundle:
        extra = {"verify": bundle, "proxies": {scheme: f"http://127.0.0.1:{port}"}}
        connect(monkeypatch, host=f"{scheme}://gateway.invalid", extra=extra)
        with pytest.raises(errors.UncertainCreateError):
            create()
    assert [request.partition(b" ")[0] for request in received] == [b"POST"]
    assert pauses == []


@contextmanager
def dropping_proxy(authority: trustme.CA, received: list[bytes]) -> Iterator[int]:
    """A proxy, and the gateway behind it, which reads a request and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("gateway.invalid").configure_cert(context)

    def serve(listener: socket.socket) -> None:
        with suppress(TimeoutError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(5)
                request = connection.recv(65536)
                if request.startswith(b"CONNECT"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    connection = context.wrap_socket(connection, server_side=True)
                    request = connection.recv(65536)
                received.append(request)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_an_answer_with_a_broken_header_is_uncertain(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    httpserver.expect_request("/replicate/v1/predictions").respond_with_response(
        Response(b"{}", 201, {"Content-Length": "5,6"})
    )
    connect(monkeypatch, host=httpserver.url_for(""))
    with pytest.raises(errors.UncertainCreateError):
        create()


def test_a_connection_that_is_not_there_is_not_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT", raising=False)
    with pytest.raises(errors.InvalidConnectionError, match="'quickrouter_default' was not found"):
        create()


def test_whatever_fails_after_sending_is_uncertain(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr("airflow_provider_quickrouter.api.protocol.read_prediction", fail)
    with pytest.raises(errors.UncertainCreateError, match="AttributeError"):
        create()
    assert gateway.creates == 1


@contextmanager
def breaking_tls_server(authority: trustme.CA, received: list[bytes]) -> Iterator[int]:
    """A server that reads a request and answers with bytes that are no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain:
            secure = context.wrap_socket(plain.dup(), server_side=True)
            received.append(secure.recv(65536))
            plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            threading.Event().wait(0.2)  # time.sleep is recorded, not done
            secure.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(redirect="http://[bad"), errors.RedirectError),
        (Faults(quota=True), errors.QuotaError),
        (Faults(no_channel=True), errors.NoChannelError),
        (Faults(redirect="http://127.0.0.1:9/"), errors.RedirectError),
    ],
)
def test_a_refused_create_is_not_sent_again(
    gateway: Sandbox, pauses: list[float], fault: Faults, kind: type[errors.APIError]
) -> None:
    gateway.set_faults(fault)
    with pytest.raises(kind):
        create()
    assert (gateway.creates, len(gateway.requests), pauses) == (0, 1, [])


def test_an_unknown_model_is_refused_by_the_api(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(status=404), times=1)
    with pytest.raises(errors.NotFoundError):
        QuickRouterHook().create_prediction({}, model="nobody/nothing")
