"""A server that answers each connection with bytes as they are, well formed or not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Dripping(bytes):
    """An answer that is sent byte by byte, ten a second."""


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each answer once, the last one again and again; give the URL and what was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(2**16))
                    send(connection, answers[min(len(asked), len(answers)) - 1])

    def send(connection: socket.socket, answer: bytes) -> None:
        if not isinstance(answer, Dripping):
            connection.sendall(answer)
            return
        with suppress(OSError):  # the client has gone
            for byte in answer:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/file", asked
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def http(body: bytes, *headers: str, status: int = 200) -> bytes:
    """An answer with no headers but these; ``"\udcff"`` in one is the byte 0xff."""
    lines = [f"HTTP/1.1 {status} .", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
