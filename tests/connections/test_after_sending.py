"""What comes after a create was read: middlemen, alerts, early and informing answers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import trustme

from airflow_provider_quickrouter.api import errors, protocol
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from tests.conftest import connect
from tests.connections.conftest import server_context
from tests.connections.senders import CREATE, ID, Send
from tests.connections.servers import HOST, Proxy, serving
from tests.connections.test_client_certificates import demanding

Behave = Callable[[socket.socket, socket.socket], None]
"""What a server does after it has read a request; takes the stream, and the bare socket."""


def created(prediction_id: str = ID) -> bytes:
    """The answer to a create."""
    body = json.dumps({"id": prediction_id, "status": "starting"})
    return f"HTTP/1.1 201 .\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@contextmanager
def accepting(
    *behaviours: Behave, context: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """A server that accepts each request wholly, and then does the next of what is given.

    One connection after the other, each kept as long as the client keeps it.
    """
    accepted: list[bytes] = []
    kept: list[socket.socket] = []
    ahead = iter(behaviours)

    def serve() -> None:
        with suppress(OSError):
            while True:
                bare, _ = listener.accept()
                with bare, suppress(OSError, StopIteration), ExitStack() as stack:
                    bare.settimeout(5)
                    kept[:] = [bare]
                    stream = bare
                    if context:
                        copy = bare.dup()
                        stream = stack.enter_context(context.wrap_socket(copy, server_side=True))
                    while request := read_request(stream):
                        accepted.append(request)
                        next(ahead)(stream, bare)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], accepted
        for each in (listener, *kept):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def read_request(stream: socket.socket) -> bytes:
    """Read a whole request, b"" if there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := stream.recv(65536)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        body += (piece := stream.recv(65536))
        missing -= len(piece)
    return head + b"\r\n\r\n" + body


def answer(stream: socket.socket, _bare: socket.socket) -> None:
    """Answer well."""
    stream.sendall(created())


def in_clear(_stream: socket.socket, bare: socket.socket) -> None:
    """A middleman's timeout, written into the TLS stream as plain text."""
    bare.sendall(b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: 0\r\n\r\n")
    bare.shutdown(socket.SHUT_WR)


def half_then_in_clear(stream: socket.socket, bare: socket.socket) -> None:
    stream.sendall(created()[:-5])
    in_clear(stream, bare)


def demand_certificate(stream: socket.socket, _bare: socket.socket) -> None:
    """End it by an alert about the client's certificate, as after a policy has changed."""
    assert isinstance(stream, ssl.SSLSocket)
    stream.verify_client_post_handshake()
    stream.do_handshake()
    stream.recv(1)


def half_then_demand_certificate(stream: socket.socket, bare: socket.socket) -> None:
    stream.sendall(created()[:-5])
    demand_certificate(stream, bare)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("breaks", [in_clear, half_then_in_clear])
def test_plain_text_within_tls_after_a_create_was_read_makes_it_uncertain(
    authority: trustme.CA,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    version: ssl.TLSVersion,
    breaks: Behave,
) -> None:
    context = server_context(authority, HOST)
    context.minimum_version = context.maximum_version = version
    with accepting(breaks, context=context) as (port, accepted):
        connect(monkeypatch, host=f"https://{HOST}:{port}", extra={"verify": bundle})
        with pytest.raises(errors.UncertainCreateError):
            create()
    assert len(accepted) == 1


def test_a_refusal_that_comes_before_a_large_create_is_written_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = protocol.create({"prompt": "a" * 6_000_000}, model="a/b")
    told = set()
    with refusing() as port:
        connect(monkeypatch, host=f"http://{HOST}:{port}")
        for _ in range(10):  # now and then the system drops the answer that has come
            with pytest.raises(errors.APIError) as caught:
                QuickRouterHook().send_create(large, wanted=lambda: False)
            told.add(type(caught.value))
    assert errors.InvalidRequestError in told


@contextmanager
def refusing() -> Iterator[int]:
    """A server that refuses a request as too large when its first bytes have come."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 413 .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.transport.abort()

    with serving(refuse) as port:
        yield port


@pytest.mark.parametrize(
    "behaviours",
    [(half_then_demand_certificate,), (answer, demand_certificate)],
    ids=["within the answer", "on a kept connection"],
)
def test_an_alert_after_an_answer_has_come_leaves_a_create_uncertain(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch, behaviours: tuple[Behave, ...]
) -> None:
    context = demanding(authority, HOST)
    context.post_handshake_auth = True  # nothing is demanded at the beginning
    with accepting(*behaviours, context=context) as (port, accepted):
        connect(monkeypatch, host=f"https://{HOST}:{port}", extra={"verify": bundle})
        hook = QuickRouterHook()
        for _ in behaviours[1:]:
            assert hook.send_create(CREATE).id
        with pytest.raises(errors.UncertainCreateError):
            hook.send_create(CREATE)
    assert len(accepted) == len(behaviours)


@pytest.mark.parametrize("key", ["http://bücher.invalid", "http://xn--bcher-kva.invalid", "http"])
def test_a_create_for_a_host_of_other_letters_that_a_proxy_has_read_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, create: Send, key: str
) -> None:
    proxy = Proxy(drops=True)
    with proxy.running() as url:
        extra = {"proxies": {key: url}, "timeout": 2}
        connect(monkeypatch, host="http://bücher.invalid", extra=extra)
        with pytest.raises(errors.APIError) as caught:
            create()
    # The host's other name is the one by which requests looks for a proxy.
    used = "bücher" not in key
    assert isinstance(caught.value, errors.UncertainCreateError) == used
    assert len(proxy.seen) == used


def test_a_create_is_uncertain_after_a_response_that_only_informs(
    monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    def inform(stream: socket.socket, _bare: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 .\r\nLink: </a>\r\n\r\n")
        stream.sendall(created())

    with accepting(inform) as (port, accepted):
        connect(monkeypatch, host=f"http://{HOST}:{port}")
        with pytest.raises(errors.UncertainCreateError):
            create()
    assert len(accepted) == 1


def test_what_comes_after_an_informing_answer_is_not_taken_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up = threading.Event()

    def late(stream: socket.socket, _bare: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 103 .\r\n\r\n")
        given_up.wait(0.3)
        stream.sendall(created("first"))

    def second(stream: socket.socket, _bare: socket.socket) -> None:
        stream.sendall(created("second"))

    with accepting(late, second) as (port, _):
        connect(monkeypatch, host=f"http://{HOST}:{port}")
        hook = QuickRouterHook()
        found = []
        for _ in range(2):
            with suppress(errors.UncertainCreateError):
                found.append(hook.send_create(CREATE).id)
            given_up.set()
    assert found == ["second"]
