"""A server that answers each connection with bytes as they are, well formed or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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
                    connection.sendall(answers[min(len(asked), len(answers)) - 1])

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
    """An answer with no headers but these."""
    lines = [f"HTTP/1.1 {status} .", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
