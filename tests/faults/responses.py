"""Responses that a scripted gateway sends: HTTP as it goes over the wire, or a fault."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.faults.clock import real_sleep, real_time

MODEL = "stability-ai/stable-diffusion"

Header = tuple[str, str | bytes]
"""Name and value. A string is sent as Latin-1, bytes are sent as they are."""

JSON: Header = ("Content-Type", "application/json")
HTML: Header = ("Content-Type", "text/html; charset=utf-8")
PLAIN_TEXT: Header = ("Content-Type", "text/plain")


class Reply(Protocol):
    """What a server does with a connection after it has read the request."""

    def send(self, connection: socket.socket) -> None: ...


@dataclass(frozen=True)
class Response:
    """One HTTP response.

    :ivar with_length: whether Content-Length is sent. Without it, the body ends with the
        connection.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    with_length: bool = True

    def send(self, connection: socket.socket) -> None:
        connection.sendall(self.raw())

    def raw(self) -> bytes:
        """Return the bytes on the wire."""
        headers: list[Header] = [("Connection", "close"), *self.headers]
        if self.with_length:
            headers.append(("Content-Length", str(len(self.body))))
        lines = [name.encode() + b": " + _value_bytes(value) for name, value in headers]
        return b"\r\n".join([f"HTTP/1.1 {self.status} Scripted".encode(), *lines, b"", self.body])


def _value_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def json_response(body: Any, status: int = 200, *headers: Header) -> Response:
    """Return a response whose body is this value as JSON. Bytes are sent as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, raw, (JSON, *headers))


def html_page(status: int, title: str, *headers: Header) -> Response:
    """Return an HTML page, as a proxy, a firewall or a load balancer sends it."""
    body = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Response(status, body.encode(), (HTML, *headers))


def plain_text(status: int, body: str, *headers: Header) -> Response:
    """Return a response of plain text."""
    return Response(status, body.encode(), (PLAIN_TEXT, *headers))


@dataclass
class Hang:
    """Send nothing for this many real seconds, or until the client closes the connection.

    :ivar ended_at: when that was, on the clock of ``real_time``; infinite until then.
    """

    seconds: float = 30.0
    ended_at: float = math.inf

    def send(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        until = real_time() + self.seconds
        try:
            while real_time() < until:
                with suppress(TimeoutError):
                    if not connection.recv(1):
                        return
        finally:
            self.ended_at = real_time()


@dataclass
class Drip:
    """Send bytes one by one for this many real seconds, then close the connection.

    :ivar data: is repeated until the seconds are over.
    :ivar finished: is set when the seconds are over; it stays unset if the client closes the
        connection earlier.
    """

    data: bytes
    seconds: float
    pause: float = 0.1
    finished: threading.Event = field(default_factory=threading.Event)

    def send(self, connection: socket.socket) -> None:
        began = real_time()
        sent = 0
        while real_time() < began + self.seconds:
            connection.sendall(self.data[sent % len(self.data) :][:1])
            sent += 1
            real_sleep(self.pause)
        self.finished.set()


@dataclass(frozen=True)
class Cut:
    """Close the connection without a response."""

    def send(self, connection: socket.socket) -> None:
        connection.close()


def prediction(prediction_id: str, status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """Return a prediction as the API describes it.

    :param fields: replace its fields or are added. ``output`` is absent unless it is given.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    over = status.casefold() not in ("starting", "processing", "queued")
    return {
        "id": prediction_id,
        "status": status,
        "model": MODEL,
        "version": "hidden",
        "input": {},
        "error": None,
        "logs": "",
        "created_at": now,
        "started_at": None if status == "starting" else now,
        "completed_at": now if over else None,
        "metrics": {"predict_time": 1.0} if over else {},
        "urls": {"get": f"https://api.replicate.com/v1/predictions/{prediction_id}"},
    } | fields


ODD_RESPONSES = {
    "401 JSON, same key": json_response(
        {"error": {"message": "无效的令牌 (request id: 2026)", "type": "new_api_error", "code": ""}}, 401
    ),
    "403 page": html_page(403, "Just a moment...", ("cf-mitigated", "challenge")),
    "403 JSON": json_response({"error": {"message": "Forbidden"}}, 403),
    "403 text": plain_text(403, "RBAC: access denied"),
    "404 page": html_page(404, "404 Not Found"),
    "404 JSON": json_response({"detail": "The requested resource could not be found.", "status": 404}, 404),
    "404 text": plain_text(404, "default backend - 404"),
    "400 task_not_exist": json_response(
        {"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400
    ),
    "405 page": html_page(405, "405 Not Allowed"),
    "302": Response(302, b"", (("Location", "https://status.example/maintenance"),)),
    "431 page": html_page(431, "Request Header Fields Too Large"),
}
"""Responses to a poll that contain nothing about the prediction."""
