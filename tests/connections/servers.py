"""Servers on loopback that stand between the senders and the sandbox: a proxy, and a TLS front."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"
_NO_ANSWER = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)


@contextmanager
def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server in a thread of its own and give its port; at the end nothing of it is left."""
    loop, connections = asyncio.new_event_loop(), set[asyncio.Task[None]]()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        with suppress(asyncio.CancelledError, *_NO_ANSWER):
            await handle(reader, writer)
        connections.discard(task)
        writer.transport.abort() if task.cancelling() else writer.close()

    async def stop(server: asyncio.Server) -> None:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)

    loop.set_exception_handler(lambda *_: None)  # a handshake that fails is what is tested
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = asyncio.run_coroutine_threadsafe(asyncio.start_server(guarded, HOST, 0, ssl=tls), loop)
    server = started.result(5)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    """Carry bytes between a connection and a port of this machine until one side has ended."""
    to_server, from_server = await asyncio.open_connection(HOST, port)
    from_server.write(first)

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(*_NO_ANSWER):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()

    ways = [asyncio.create_task(carry(reader, from_server))]
    ways.append(asyncio.create_task(carry(to_server, writer)))
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        from_server.close()


@contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server in front of a port that speaks plain HTTP."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, port)

    with serving(handle, context) as own:
        yield own


@dataclass
class Proxy:
    """A forward proxy: CONNECT tunnels, and requests with a whole address.

    :ivar routes: port of this machine by the host that is asked for; no name is resolved.
    :ivar credentials: ``user:password`` that it demands.
    :ivar refusal: status of its own that it answers with instead.
    :ivar hangs: it reads a request and says nothing.
    :ivar drops: it reads a request and hangs up.
    :ivar breaks: it hangs up when the first bytes come through a tunnel.
    :ivar seen: the request lines that came, without the version.
    """

    routes: Mapping[str, int] = field(default_factory=dict)
    credentials: str | None = None
    refusal: int | None = None
    hangs: bool = False
    drops: bool = False
    breaks: bool = False
    seen: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve; give the address without credentials."""
        with serving(self._handle, tls) as port:
            yield f"{'https' if tls else 'http'}://{HOST}:{port}"

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").splitlines()
        method, target, _ = line.split(" ")
        self.seen.append(f"{method} {target}")
        given = [text for text in headers if text.lower().startswith("proxy-authorization:")]
        self.authorizations += [text.partition(": ")[2] for text in given]
        if self.hangs:
            await asyncio.sleep(60)
        elif self.drops:
            return
        elif status := self._refuses(given):
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        elif method == "CONNECT":
            await self._tunnel(reader, writer, target)
        else:
            await self._forward(reader, writer, method, target, headers)

    def _refuses(self, given: list[str]) -> int | None:
        if self.refusal or not self.credentials:
            return self.refusal
        encoded = base64.b64encode(self.credentials.encode("latin-1")).decode()
        return None if given and given[0].endswith(f"Basic {encoded}") else 407

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
        port = self.routes.get(target.rpartition(":")[0])
        status = "200 OK" if port else "502 Bad Gateway"
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if port and self.breaks:
            await reader.read(1)
        elif port:
            await relay(reader, writer, port)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: list[str],
    ) -> None:
        host, _, path = target.removeprefix("http://").partition("/")
        port = self.routes.get(host.partition(":")[0])
        if not port:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        kept = [text for text in headers if not text.lower().startswith("proxy-")]
        # One request for each connection: the next one may be for another host.
        kept = [text for text in kept if text and not text.lower().startswith("connection:")]
        lines = [f"{method} /{path} HTTP/1.1", *kept, "Connection: close", "", ""]
        await relay(reader, writer, port, "\r\n".join(lines).encode("latin-1"))


def port_of(url: str) -> int:
    """Port of an address that names one."""
    return int(url.rpartition(":")[2])
