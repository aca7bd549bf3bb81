"""The server, a process of its own: status routes of all services, counted, and nothing else.

``python -m benchmarks.waiting.server`` prints its port. It speaks as much HTTP/1.1 as the clients
need, on bare protocols, so that it takes a small part of one core. It knows when each wait ends,
and notes the time of each poll and of each connection that polled.

Control routes: ``/control/begin?waits=&seconds=&at=`` starts the window at an epoch second,
``/control/counts?since=&until=`` returns what came between two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import ssl
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Coroutine
from importlib import import_module
from random import Random
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from benchmarks.waiting import bodies
from benchmarks.waiting.plan import WARM_UP, ends, prediction_id

HOST = "127.0.0.1"
ROUTE = re.compile(
    rb"/replicate/v1/predictions/p0*(\d+)$|/http/(\d+)$|/api/v2/accounts/\d+/runs/(\d+)/$"
    rb"|/v1/batches/batch_(\d+)$|/api/2\.\d/jobs/runs/get(?:$|\?)"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RUN_ID = re.compile(rb'"run_id": *"?(\d+)')
MISSING = bodies.answer(404, "Not Found", b'{"detail": "not found"}')
BUSY = bodies.answer(503, "Service Unavailable", b'{"detail": "try again"}')


class Gateway:
    """Who has ended, and the counts. ``errors``: share of polls that are answered 503."""

    def __init__(self, errors: float) -> None:
        self.polls, self.connections = array("d"), array("d")
        self.others = self.refused = 0
        self._errors, self._dice = errors, Random(1)  # noqa: S311
        self._begin = float("inf")
        self._ends: list[float] = []

    def answer(self, target: bytes, body: bytes) -> bytes:
        """Return the answer to a request that is not about control."""
        found = ROUTE.match(target)
        if not found:
            self.others += 1
            return MISSING
        now = time.time()
        self.polls.append(now)
        if self._errors and self._dice.random() < self._errors:
            self.refused += 1
            return BUSY
        kind = found.lastindex or 5
        number = int(found[kind] if found.lastindex else RUN_ID.search(body)[1])  # type: ignore[index]
        return ANSWERS[kind](number, self.is_over(number, now))

    def is_over(self, number: int, now: float) -> bool:
        """Whether a wait has ended; those of the warm-up have."""
        if number in WARM_UP:
            return True
        return bool(self._ends) and now >= self._begin + self._ends[number]

    def control(self, target: bytes) -> bytes:
        """Do what the client wants."""
        parts = urlsplit(target.decode())
        given = {name: float(values[0]) for name, values in parse_qs(parts.query).items()}
        done = self._start(**given) if parts.path.endswith("begin") else self._count(**given)
        return bodies.answer(200, "OK", json.dumps(done).encode())

    def _start(self, waits: float, seconds: float, at: float) -> dict[str, Any]:
        self._begin, self._ends = at, ends(int(waits), seconds)
        return {"began": at}

    def _count(self, since: float, until: float) -> dict[str, Any]:
        first, last = bisect_left(self.polls, since), bisect_left(self.polls, until)
        return {
            "polls": last - first,
            "requests": len(self.polls) + self.others,
            "refused": self.refused,
            "connections": len(self.connections),
        }


ANSWERS: dict[int, Callable[[int, bool], bytes]] = {
    1: lambda n, over: _ok(bodies.prediction(n, prediction_id(n), over)),
    2: lambda n, over: _ok(bodies.http(n, over)) if over else MISSING,
    3: lambda n, over: _ok(bodies.dbt(n, over)),
    4: lambda n, over: _ok(bodies.openai(n, over)),
    5: lambda n, over: _ok(bodies.databricks(n, over)),
}


def _ok(body: bytes) -> bytes:
    return bodies.answer(200, "OK", body)


class Connection(asyncio.Protocol):
    """One connection: requests come one after the other, each with its whole body."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._buffer, self._noted = gateway, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer what has arrived whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, length = self._buffer[:end], 0
            if found := LENGTH.search(head):
                length = int(found[1])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(self._answer(head.split(b" ", 2)[1], body))

    def _answer(self, target: bytes, body: bytes) -> bytes:
        if target.startswith(b"/control/"):
            return self._gateway.control(target)
        if not self._noted:
            self._noted = True
            self._gateway.connections.append(time.time())
        return self._gateway.answer(target, body)


async def serve(errors: float, certificate: str | None) -> None:
    """Serve until the process is ended."""
    gateway, tls = Gateway(errors), None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(gateway), HOST, 0, ssl=tls, backlog=4096, reuse_address=True
    )
    sys.stdout.write(f"port {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, which takes half the CPU time, where it is installed."""
    try:
        factory = import_module("uvloop").new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errors", type=float, default=0.0)
    parser.add_argument("--certificate", help="file with key and certificate: speak TLS")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run(serve(options.errors, options.certificate))


if __name__ == "__main__":
    main()
