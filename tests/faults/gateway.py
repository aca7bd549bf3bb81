"""A gateway on the loopback address whose responses a test scripts."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

import pytest

from tests import conftest
from tests.faults.responses import Hang, Reply, Response, json_response, prediction

OUTPUT = ["https://files.example/0.png"]
FIRST_ID = "p0000000000000000000000000"
"""The id that a gateway gives to the first prediction."""


class Default(Enum):
    """The type of ``DEFAULT``, which stands in a script for the gateway's own response."""

    DEFAULT = "default"


DEFAULT = Default.DEFAULT


@dataclass(frozen=True)
class ReceivedRequest:
    """One request that the gateway has received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        """The body, parsed; None if it is empty."""
        return json.loads(self.body or b"null")

    @property
    def path_only(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def creates(self) -> bool:
        """Whether the request creates a prediction."""
        return self.method == "POST" and self.path_only.endswith("/predictions")

    @property
    def cancels(self) -> bool:
        """Whether the request cancels a prediction."""
        return self.method == "POST" and self.path_only.endswith("/cancel")

    @property
    def polls(self) -> bool:
        """Whether the request reads one prediction."""
        return self.method == "GET" and "/predictions/" in self.path

    @property
    def prediction_id(self) -> str:
        """The id in the path of a poll or a cancel request."""
        return self.path_only.removesuffix("/cancel").rpartition("/")[2]


Script = Any
"""A reply, ``DEFAULT``, a function of the request that returns either, or a list of these.

The items of a list are used one after the other, the last one for all further requests.
"""

OwnResponse = Callable[[ReceivedRequest], Response]


@dataclass
class Gateway:
    """A gateway on a port of its own, as a context manager.

    By default it accepts each create request (201), merges ``result`` into each prediction that is
    polled, and cancels. A canceled prediction stays canceled.

    :ivar result: fields of a prediction that is polled.
    :ivar routes: scripts of other paths, ``{"GET /0.png": response}``; the path has no query.
    :ivar requests: all received requests, oldest first.
    """

    on_create: Script = DEFAULT
    on_poll: Script = DEFAULT
    on_cancel: Script = DEFAULT
    on_list: Script = DEFAULT
    result: dict[str, Any] = field(default_factory=lambda: {"status": "succeeded", "output": OUTPUT})
    routes: dict[str, Script] = field(default_factory=dict)
    requests: list[ReceivedRequest] = field(default_factory=list)
    predictions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept_all, daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _shut_down(self._listener)
        self._accepting.join(10)
        self._listener.close()
        # Hanging and dripping connections would outlive the test, and so would their clients.
        for connection in self._connections:
            _shut_down(connection)
        for thread in self._threads:
            thread.join(10)

    @property
    def creates(self) -> list[ReceivedRequest]:
        """The create requests, oldest first."""
        return [request for request in self.requests if request.creates]

    @property
    def cancels(self) -> list[ReceivedRequest]:
        """The cancel requests, oldest first."""
        return [request for request in self.requests if request.cancels]

    @property
    def polls(self) -> list[ReceivedRequest]:
        """The requests that read one prediction, oldest first."""
        return [request for request in self.requests if request.polls]

    def accept(self, given: Any = None, **fields: Any) -> str:
        """Create a prediction as a create request does; return its id."""
        with self._lock:
            prediction_id = f"p{len(self.predictions):025d}"
            self.predictions[prediction_id] = {"status": "starting", "input": given or {}} | fields
            return prediction_id

    def describe(self, prediction_id: str, **fields: Any) -> dict[str, Any]:
        """Return a prediction as a response describes it; ``fields`` replace its own."""
        return prediction(prediction_id, **self.predictions.get(prediction_id, {}) | fields)

    def _create(self, request: ReceivedRequest) -> Response:
        return json_response(self.describe(self.accept((request.json or {}).get("input"))), 201)

    def _show(self, request: ReceivedRequest) -> Response:
        known = self.predictions.get(request.prediction_id)
        if known is None:
            error = {"detail": "The requested resource could not be found.", "status": 404}
            return json_response(error, 404)
        fields = {} if known["status"] == "canceled" else self.result
        return json_response(self.describe(request.prediction_id, **fields))

    def _cancel(self, request: ReceivedRequest) -> Response:
        if known := self.predictions.get(request.prediction_id):
            known["status"] = "canceled"
        return json_response(self.describe(request.prediction_id, status="canceled"))

    def _unknown_route(self, request: ReceivedRequest) -> Response:
        error = {"message": "Invalid URL", "type": "invalid_request_error"}
        return json_response({"error": error}, 404)

    def _accept_all(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._connections.append(connection)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            request = _read(connection)
            if request is None:
                return
            self.requests.append(request)
            self._reply(request).send(connection)
            # Wait until the client has read everything: closing now could reset the connection.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            connection.recv(1)

    def _reply(self, request: ReceivedRequest) -> Reply:
        route = f"{request.method} {request.path_only}"
        if route in self.routes:
            return self._play(self.routes, route, self._unknown_route, request)
        if request.creates:
            return self._play(vars(self), "on_create", self._create, request)
        if request.cancels:
            return self._play(vars(self), "on_cancel", self._cancel, request)
        if request.polls:
            return self._play(vars(self), "on_poll", self._show, request)
        return self._play(vars(self), "on_list", self._unknown_route, request)

    def _play(
        self, scripts: dict[str, Script], name: str, own: OwnResponse, request: ReceivedRequest
    ) -> Reply:
        """Return what the script with this name gives for the request."""
        with self._lock:
            step = scripts[name]
            if isinstance(step, list):
                step = step.pop(0) if len(step) > 1 else step[0]
        while callable(step):
            step = step(request)
        reply: Reply = own(request) if step is DEFAULT else step
        return reply


def for_seconds(
    seconds: float, odd: Script, then: Script = DEFAULT, after: float = 0.0
) -> Callable[[ReceivedRequest], Script]:
    """Make a script that returns ``odd`` for this long, counted from the first request.

    :param after: seconds of ``then`` before ``odd`` begins.
    """
    began: list[float] = []

    def step(request: ReceivedRequest) -> Script:
        began.append(time.time())
        since = time.time() - began[0]
        return odd if after <= since < after + seconds else then

    return step


def hang_for(gateway: Gateway, ids: Collection[str]) -> list[Hang]:
    """Let each poll of these predictions hang; return a list that gets one item for each poll."""
    hangs: list[Hang] = []
    others = gateway.on_poll

    def step(request: ReceivedRequest) -> Script:
        if request.prediction_id not in ids:
            return others
        hang = Hang()
        hangs.append(hang)
        return hang

    gateway.on_poll = step
    return hangs


def processing_for(gateway: Gateway, seconds: float) -> Callable[[ReceivedRequest], Script]:
    """Make a script: predictions are processing for this long after the first poll."""

    def processing(request: ReceivedRequest) -> Response:
        return json_response(gateway.describe(request.prediction_id, status="processing"))

    return for_seconds(seconds, processing)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _read(connection: socket.socket) -> ReceivedRequest | None:
    """Read a request; return None if the client closes the connection before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return None
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.casefold(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length") or 0):
        received = connection.recv(65536)
        if not received:
            return None
        body += received
    return ReceivedRequest(method, path, headers, body, time.time())


def connect(
    monkeypatch: pytest.MonkeyPatch, url: str, conn_id: str = "quickrouter_default", **extra: Any
) -> None:
    """Set a connection to this gateway; ``extra`` goes into its extra."""
    fields = {"timeout": 30, "allow_private_addresses": True} | extra
    conftest.connect(monkeypatch, conn_id, host=url, extra=fields)
