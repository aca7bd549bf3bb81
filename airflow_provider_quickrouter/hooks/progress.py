"""How far a request has come: what both HTTP libraries are made to note, as no error tells it.

A proxy that hangs up before it has opened a tunnel, and one that hangs up after a create went
through it, end in the same exceptions.
"""

from __future__ import annotations

import http.client
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
    """How far a request has come.

    :ivar sent: all of it may have been.
    :ivar answered: the server has answered on its connection, this request or an earlier one:
        what it says of certificates from now on does not tell that nothing was accepted.
    """

    sent: bool = False
    answered: bool = False


_progress: ContextVar[Progress] = ContextVar("progress")


class _Response(http.client.HTTPResponse):
    """Passes over all answers that only inform, such as 103; ``http.client`` knows only 100.

    What follows one would be taken for the answer to the next request.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        informs = status < http.HTTPStatus.OK and status != http.HTTPStatus.SWITCHING_PROTOCOLS
        return version, http.HTTPStatus.CONTINUE if informs else status, reason


class _Connection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        _note(sent=True)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _note(sent=bool(self.sock))  # it may be kept from an earlier request
        super().request(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    response_class = _Response
    _answered = False

    def connect(self) -> None:
        super().connect()
        self._answered = False
        _note(sent=True)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _note(sent=bool(self.sock), answered=self._answered)
        try:
            super().request(*args, **kwargs)
        except ssl.SSLError as error:  # part of it is missing, so it cannot be accepted
            _note(sent=False)
            # At this one urllib3 still reads what the server has said, such as 413.
            raise BrokenPipeError from error

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._answered = True
        _note(sent=True, answered=True)
        return response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _note(*, sent: bool, answered: bool = False) -> None:
    if progress := _progress.get(None):
        progress.sent, progress.answered = sent, answered


def watched(session: requests.Session, url: str, proxy: str | None, progress: Progress) -> None:
    """Let the session's next request to an address, in this thread, note its progress here."""
    adapter: Any = session.get_adapter(url)
    # The key must be what requests makes of it, else the proxy would get another pool.
    as_requests: Any = prepend_scheme_if_needed
    proxy = proxy and as_requests(proxy, "http")
    manager = adapter.proxy_manager_for(proxy) if proxy else adapter.poolmanager
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    _progress.set(progress)


def tracing() -> aiohttp.TraceConfig:
    """Return what notes the progress of an aiohttp session's requests.

    It is noted on what is given as ``trace_request_ctx``, a :class:`Progress`.
    """

    async def sent(_session: Any, context: Any, _headers: Any) -> None:
        context.trace_request_ctx.sent = True

    async def answered(_session: Any, context: Any, _: Any) -> None:
        context.trace_request_ctx.answered = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(answered)
    trace.on_request_headers_sent.append(sent)
    trace.on_request_end.append(answered)
    return trace
