"""Download one file of an output to this machine, as often as that may help.

The URL is foreign, so it must name a public address. Nothing of the connection goes along but its
proxies, its CA bundle and its timeouts: no key, no client certificate, no cookie. Each redirect is
checked like the first address. The addresses of a name are checked where the connection is made, so
that a second response of the DNS changes nothing: aiohttp takes a resolver for that, ``requests``
does not. Through a proxy, which resolves names itself, only literal addresses are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from airflow_provider_quickrouter.api.errors import FileRefused, FileUnavailable
from airflow_provider_quickrouter.api.files import Source, decode, too_large
from airflow_provider_quickrouter.api.storable import storable_headers
from airflow_provider_quickrouter.hooks.quickrouter import USER_AGENT, QuickRouterHook
from airflow_provider_quickrouter.hooks.transport import Route, proxy_and_tls, proxy_refused
from airflow_provider_quickrouter.storage.addresses import check_url, is_public, not_public, shown
from airflow_provider_quickrouter.storage.fetching import (
    ATTEMPTS,
    Failure,
    Owner,
    check_redirect,
    is_redirect,
    pause_before,
    read_status,
)
from airflow_provider_quickrouter.storage.media import (
    HEAD,
    MAY_BE_EMPTY,
    Kind,
    Size,
    dimensions,
    is_truncated,
    kind_of,
)
from airflow_provider_quickrouter.storage.target import reason_of

SLOWEST = 2**19  # bytes a second that a download needs on average, plus five minutes

_BASE_TIME = 300.0
_BUFFER = _CHUNK = 2**20
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
# Values of Content-Encoding with which the body is the file as it is.
_UNCOMPRESSED = frozenset({"", "identity", "aws-chunked"})


class NotPublicError(OSError):
    """A name resolves to an address that is not public. An ``OSError``, as aiohttp expects."""


class PublicResolver(AbstractResolver):
    """Resolve names, but to public addresses only."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        :raises NotPublicError: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(result["host"]) for result in found):
            raise NotPublicError(host)
        return found

    async def close(self) -> None:
        """Close nothing."""


class Client:
    """Send GETs for files. An async context manager; on a worker, one for each output.

    :param hook: its connection has proxies, CA bundle, timeouts, and whether addresses may be
        private. Its settings must have been read before.
    :param max_bytes: of a file; decides how long one may take.
    """

    def __init__(self, hook: QuickRouterHook, max_bytes: int, connections: int) -> None:
        self._settings = hook.settings
        self._requests = hook.get_conn()
        self._requests.cert = None  # it identifies the user, and is for the gateway only
        self._connections = connections
        self._total = _BASE_TIME + max_bytes / SLOWEST
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._routes: dict[tuple[str, str | None], tuple[str | None, Any]] = {}

    async def __aenter__(self) -> Self:
        """Open a session for direct connections, and one for proxies."""
        connect, read = self._settings.timeout
        for proxied in (False, True):
            anywhere = proxied or self._settings.allow_private_addresses
            self._sessions[proxied] = aiohttp.ClientSession(
                headers=_HEADERS,
                connector=aiohttp.TCPConnector(
                    limit=self._connections, resolver=None if anywhere else PublicResolver()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._total, sock_connect=connect, sock_read=read),
                read_bufsize=_BUFFER,
            )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the sessions."""
        for session in self._sessions.values():
            await session.close()

    @asynccontextmanager
    async def get(self, address: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a file, through up to five redirects.

        :raises FileRefused: an address on the route is not allowed.
        :raises InvalidConnectionError: proxy or CA bundle cannot be used.
        """
        url, hops = read_url(address), 0
        while True:
            response = await self._request(url)
            location = response.headers.get("Location")
            if not (is_redirect(response.status) and location):
                break
            response.release()
            target, hops = read_url(location, url), hops + 1
            check_redirect(hops, url.scheme, target.scheme)
            url = target
        async with response:
            yield response

    async def _request(self, url: URL) -> aiohttp.ClientResponse:
        check_url(str(url), url.raw_host, private=self._settings.allow_private_addresses)
        origin = url.scheme, url.raw_authority
        if origin not in self._routes:  # in a thread, since it reads files
            plain = str(url.origin())
            self._routes[origin] = await asyncio.to_thread(proxy_and_tls, self._requests, plain)
        proxy, tls = self._routes[origin]
        session, route = self._sessions[proxy is not None], Route(str(url.origin()), proxy)
        try:
            # A server that drips header bytes stays within the read timeout for ever.
            async with asyncio.timeout(sum(self._settings.timeout)):
                response = await session.get(url, proxy=proxy, ssl=tls, allow_redirects=False)
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, NotPublicError):
                raise not_public(str(url.host)) from None
            raise
        except aiohttp.ClientHttpProxyError as error:
            if error.status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                raise
            raise proxy_refused(route) from None
        if route.refuses(response.status):
            response.release()
            raise proxy_refused(route)
        return response


def read_url(address: str, base: URL | None = None) -> URL:
    """Read the address of a file; encoded characters stay as they are, signatures need that.

    :param base: what it may be relative to.
    :raises FileRefused: it is not an address.
    """
    address = address.replace(" ", "%20")  # servers forget that in redirects
    if not address.isprintable():
        raise FileRefused("its address cannot be read")
    try:
        url = URL(address, encoded=address.isascii())
        url = (base.join(url) if base else url).with_fragment(None)
        _ = url.port, url.raw_host  # yarl checks them only now
    except ValueError:
        raise FileRefused("its address cannot be read") from None
    return url


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine, and what it is."""

    local: Path
    size: int
    sha256: str
    kind: Kind
    pixels: Size | None


class Sink:
    """Write a file in pieces, counted and digested. Blocks.

    :ivar head: its first bytes, ``HEAD`` at most.
    :raises FileRefused: the file has more than ``max_bytes``.
    :raises FileUnavailable: this machine's disk cannot store it.
    """

    def __init__(self, local: Path, max_bytes: int) -> None:
        self._local, self._max_bytes = local, max_bytes
        self._digest = hashlib.sha256()
        self.head = bytearray()
        self._file: Any = None
        self._closed = False
        # A canceled task leaves the thread that writes a piece, and closes in another one.
        self._lock = threading.Lock()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Write the next piece; nothing is written after :meth:`close`."""
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise too_large(self.size, self._max_bytes)
        self._digest.update(chunk)
        self.head += chunk[: HEAD - len(self.head)]
        try:
            with self._lock:
                if not self._closed:
                    self._file = self._file or self._local.open("wb")
                    self._file.write(chunk)
        except OSError as error:
            reason = reason_of(error)
            raise FileUnavailable(f"this machine's disk does not take it ({reason})") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            if self._file:
                self._file.close()

    def fetched(self, kind: Kind) -> Fetched:
        """Return what was written."""
        pixels = dimensions(kind.content_type, bytes(self.head))
        return Fetched(self._local, self.size, self._digest.hexdigest(), kind, pixels)

    def is_truncated(self, kind: Kind) -> bool:
        """Return whether a part of it is missing, as far as its kind shows."""
        if not self.size:
            return False
        with self._local.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return is_truncated(kind.ext, data)


class Downloader:
    """Download the files of one output. Its errors do not name the file.

    :ivar received: bytes of all files so far, for progress.
    """

    def __init__(self, client: Client, owner: Owner, max_bytes: int, log: Any) -> None:
        self._client, self._owner = client, owner
        self._max_bytes, self._log = max_bytes, log
        # Since when no download succeeds. Not for each file, or a server that is down would take
        # two minutes for each of thousands.
        self._failing_since: float | None = None
        self.received = 0

    async def fetch(self, source: Source, local: Path) -> Fetched:
        """Download one file; transient errors are waited out for two minutes from the first.

        :raises FileError: it is refused, or the errors last.
        :raises PredictionExpired: the API has deleted it.
        """
        if source.inline:
            return await asyncio.to_thread(self._unpack, source, local)
        attempts = 0
        while isinstance(found := await self._try(source, local), Failure):
            attempts, now = attempts + 1, time.monotonic()
            self._failing_since = now if self._failing_since is None else self._failing_since
            waited = now - self._failing_since if attempts > ATTEMPTS else 0.0
            pause = pause_before(found, attempts, waited, self._owner, time.time())
            self._log.info("File %d (%s): %s; again in %.3g s", source.n, shown(source.url), found.why, pause)
            await asyncio.sleep(pause)
        self._failing_since = None
        return found

    async def _try(self, source: Source, local: Path) -> Fetched | Failure:
        try:
            async with self._client.get(source.url) as response:
                headers = storable_headers(response.headers)
                failure = read_status(response.status, headers, time.time())
                return failure or await self._receive(response, headers, source, local)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise FileRefused("its address cannot be read") from None
        except aiohttp.ClientConnectorCertificateError:
            raise FileRefused(
                "the certificate of its server is not trusted; name a CA bundle that has its "
                "authority in the connection's verify"
            ) from None
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            # Its class only: the message may hold a signed address, or a proxy's password.
            return Failure(f"the download broke off ({type(error).__name__})")

    async def _receive(
        self, response: aiohttp.ClientResponse, headers: Mapping[str, str], source: Source, local: Path
    ) -> Fetched | Failure:
        if (response.content_length or 0) > self._max_bytes:
            raise too_large(response.content_length or 0, self._max_bytes)
        sink = Sink(local, self._max_bytes)
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                self.received += len(chunk)
                await asyncio.to_thread(sink.write, chunk)
            await asyncio.to_thread(sink.write, b"")  # an empty file, too, is one
        finally:
            await asyncio.to_thread(sink.close)
        try:
            kind = kind_of(headers.get("content-type", ""), bytes(sink.head), source.url)
        except FileRefused as error:
            return Failure(str(error), refused=True)
        if not sink.size and not (kind.ext in MAY_BE_EMPTY and headers.get("content-length") == "0"):
            return Failure("the server sends an empty file")
        # aiohttp notices half of a body with a length; half of a compressed one may go unnoticed.
        has_length = headers.get("content-encoding", "").casefold() in _UNCOMPRESSED and (
            "content-length" in headers or "transfer-encoding" in headers
        )
        if not has_length and await asyncio.to_thread(sink.is_truncated, kind):
            return Failure("the download broke off: the file ends too early")
        return sink.fetched(kind)

    def _unpack(self, source: Source, local: Path) -> Fetched:
        if source.content is None:
            declared, data = decode(source.url, self._max_bytes)
            kind = kind_of(declared, data[:HEAD])
        else:
            kind, data = kind_of("", b"", f"/0.{source.ext}"), source.content
        sink = Sink(local, self._max_bytes)
        sink.write(data)
        sink.close()
        self.received += len(data)
        return sink.fetched(kind)
