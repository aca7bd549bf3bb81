"""A secrets backend as a company writes its own, and the store of secrets that it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from airflow.secrets.base_secrets import BaseSecretsBackend

from tests.connections.servers import serving


class CompanyBackend(BaseSecretsBackend):
    """Ask a store over HTTP for ``/connections/<id>``; a 404 means that it has none.

    :param url: of the store.
    :param timeout: seconds that it may take.
    """

    def __init__(self, url: str, timeout: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._url, self._timeout = url, timeout

    def get_conn_value(self, conn_id: str, *_: Any, **__: Any) -> str | None:
        """Return a connection as JSON or URI."""
        return self._value(f"connections/{conn_id}")

    def get_variable(self, key: str, *_: Any, **__: Any) -> str | None:
        """Return None: it keeps connections only."""
        return None

    def _value(self, path: str) -> str | None:
        answer = requests.get(f"{self._url}/{path}", timeout=self._timeout)
        if answer.status_code == requests.codes.not_found:
            return None
        answer.raise_for_status()
        return answer.text


@dataclass
class CompanyStore:
    """A store of secrets; all but ``url`` may be changed while it runs.

    :ivar values: text of a connection by its id.
    :ivar pause: seconds that it thinks about each question.
    :ivar down: it answers 503.
    :ivar asked: the ids that it was asked for.
    """

    values: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    down: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[CompanyStore]:
        """Serve."""
        with serving(self._answer) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        conn_id = head.split(" ", 2)[1].rpartition("/")[2]
        self.asked.append(conn_id)
        await asyncio.sleep(self.pause)
        value = self.values.get(conn_id)
        status = 503 if self.down else 200 if value else 404
        body = (value or "" if status == 200 else "secret trouble").encode()
        lines = (f"HTTP/1.1 {status} .", f"Content-Length: {len(body)}", "Connection: close")
        writer.write("\r\n".join((*lines, "", "")).encode() + body)
        await writer.drain()
