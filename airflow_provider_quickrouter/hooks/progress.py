"""How far a request has come: what both HTTP libraries are made to note, as no error tells it.

A proxy that hangs up before it has opened a tunnel, and one that hangs up after a create went
through it, end in the same exceptions.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiohttp
import requests
from requests.utils import prepend_scheme_if_needed
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


@dataclass
class Progress:
    """How far a request has come; ``sent`` means that all of it may have been."""

    sent: bool = False


_progress: ContextVar[Progress] = ContextVar("progress")


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _note(sent=True)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _note(sent=bool(self.sock))  # it may be kept from an earlier request
        super().request(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _note(sent=True)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _note(sent=bool(self.sock))
        try:
            super().request(*args, **kwargs)
        except ssl.SSLError:  # while writing: part of it is missing, so it cannot be accepted
            _note(sent=False)
            raise


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _note(*, sent: bool) -> None:
    if progress := _progress.get(None):
        progress.sent = sent


def watched(session: requests.Session, url: str, proxy: str | None) -> Progress:
    """Return what the session's next request to an address notes its progress on."""
    adapter: Any = session.get_adapter(url)
    # The key must be what requests makes of it, else the proxy would get another pool.
    as_requests: Any = prepend_scheme_if_needed
    proxy = proxy and as_requests(proxy, "http")
    manager = adapter.proxy_manager_for(proxy) if proxy else adapter.poolmanager
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    _progress.set(progress := Progress())
    return progress


def tracing() -> aiohttp.TraceConfig:
    """Return what notes the progress of an aiohttp session's requests.

    It is noted on what is given as ``trace_request_ctx``, a :class:`Progress`.
    """

    async def note(_session: Any, context: Any, _headers: Any) -> None:
        context.trace_request_ctx.sent = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(note)
    return trace
