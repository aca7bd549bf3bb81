"""A gateway of one response: it accepts creates if asked to, and else always sends the same."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

ID = "qpt5jq1fssrmc0cmd5hvy31mdg"


class Network(Enum):
    """What is no answer at all."""

    REFUSED = "the connection is refused"
    DROPPED = "the connection breaks after sending"


@dataclass(frozen=True)
class Response:
    """A bad answer; ``body`` is JSON, or text as it is."""

    status: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        lines = [f"HTTP/1.1 {self.status} .", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(text.encode())}", "", text]
        return "\r\n".join(lines).encode()


ACCEPTED = Response(201, {"id": ID, "status": "starting"})
PROCESSING = Response(200, {"id": ID, "status": "processing"})


@contextmanager
def answering(
    response: Response | Network, *, accepts: bool = False, good: int = 0
) -> Iterator[tuple[str, list[str]]]:
    """Serve; give the address, and the methods of the requests that come.

    :param accepts: whether a create is accepted.
    :param good: how many of the first polls show that the prediction is processing.
    """
    methods: list[str] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    methods.append(_read(connection).partition(" ")[0])
                    _reply(connection, methods[-1])

    def _reply(connection: socket.socket, method: str) -> None:
        if method == "POST" and accepts and response is Network.REFUSED:
            listener.close()
        is_good = methods.count("GET") <= good
        reply = _chosen(method, accepts=accepts, is_good=is_good) or response
        if isinstance(reply, Response):
            connection.sendall(reply.as_bytes())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if response is Network.REFUSED and not accepts:
            listener.close()
        else:
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
        yield url, methods
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _chosen(method: str, *, accepts: bool, is_good: bool) -> Response | None:
    """Return what a good gateway would send; None for what the test has given."""
    if method == "POST":
        return ACCEPTED if accepts else None
    return PROCESSING if is_good else None


def _read(connection: socket.socket) -> str:
    """Read one request whole, else the connection would be reset before its answer is read."""
    connection.settimeout(5)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return data.decode("latin-1")
