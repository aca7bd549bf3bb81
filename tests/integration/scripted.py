"""A gateway on the loopback address whose responses a test writes, byte by byte if need be."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

CREATE, SHOW, CANCEL, OTHER = "create", "show", "cancel", "other"
OUTPUT = ["https://files.example/0.png"]
JSON = ("Content-Type", b"application/json")
MODEL = "stability-ai/stable-diffusion"


@dataclass(frozen=True)
class Response:
    """One HTTP response as it is sent: neither the body nor a header's value is checked."""

    status: int
    body: bytes
    headers: tuple[tuple[str, bytes], ...] = (JSON,)

    def raw(self) -> bytes:
        """Return the bytes on the wire."""
        length = ("Content-Length", str(len(self.body)).encode())
        fields = [name.encode() + b": " + value for name, value in (*self.headers, length)]
        return b"\r\n".join([f"HTTP/1.1 {self.status} Scripted".encode(), *fields, b"", self.body])


def json_response(value: Any, status: int = 200) -> Response:
    """Return a response whose body is this value as JSON."""
    return Response(status, json.dumps(value).encode())


def prediction(prediction_id: str, status: str, **fields: Any) -> dict[str, Any]:
    """Return a prediction as the API describes it; ``fields`` replace its own."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    over = status not in ("starting", "processing")
    return {
        "id": prediction_id,
        "status": status,
        "model": MODEL,
        "version": "hidden",
        "input": {},
        "output": OUTPUT if status == "succeeded" else None,
        "error": None,
        "logs": "",
        "created_at": now,
        "started_at": None if status == "starting" else now,
        "completed_at": now if over else None,
        "metrics": {"predict_time": 1.0} if over else {},
        **fields,
    }


class ScriptedGateway:
    """A server in a thread, as a context manager; it accepts all keys.

    A prediction that is polled exists, even if no request created it. It is processing until
    ``finish`` or a cancel. Subclasses override ``create``, ``show`` and ``cancel``, which run in
    threads of their own.

    :ivar created: ids of the accepted predictions, oldest first.
    :ivar polled: ids of the polls, oldest first.
    :ivar cancels: ids of the cancel requests, oldest first.
    """

    def __init__(self) -> None:
        self.created: list[str] = []
        self.polled: list[str] = []
        self.cancels: list[str] = []
        self._finished = threading.Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def finish(self) -> None:
        """Let every prediction that is not canceled succeed."""
        self._finished.set()

    def create(self, body: dict[str, Any]) -> Response:
        """Respond to a create request."""
        prediction_id = f"p{len(self.created):025d}"
        self.created.append(prediction_id)
        return json_response(prediction(prediction_id, "starting"), 201)

    def show(self, prediction_id: str) -> Response:
        """Respond to a poll."""
        if prediction_id in self.cancels:
            return json_response(prediction(prediction_id, "canceled"))
        status = "succeeded" if self._finished.is_set() else "processing"
        return json_response(prediction(prediction_id, status))

    def cancel(self, prediction_id: str) -> Response:
        """Respond to a cancel request."""
        return self.show(prediction_id)

    def respond(self, method: str, path: str, body: bytes) -> Response:
        """Respond to any request, and record it. There is no list of predictions."""
        *_, parent, last = path.partition("?")[0].split("/")
        if method == "POST" and last == "predictions":
            return self.create(json.loads(body))
        if method == "POST" and last == "cancel":
            self.cancels.append(parent)
            return self.cancel(parent)
        if method == "GET" and parent == "predictions":
            self.polled.append(last)
            return self.show(last)
        return json_response({"error": {"message": f"Invalid URL ({method} {path})"}}, 404)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    block_on_close = False

    def __init__(self, gateway: ScriptedGateway) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway = gateway

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close their connection: triggerers are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wfile.write(self.server.gateway.respond(self.command, self.path, body).raw())

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
