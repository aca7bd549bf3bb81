"""The route to a file: a plain GET of a foreign address, which must be a public one.

Nothing of the connection goes along but its proxies, its CA bundle and its timeouts: no key, no
client certificate, no cookie. Each redirect is looked at like the first address. The address of
a name is checked where the connection is made, so that a second answer of the DNS changes
nothing. Through a proxy, which resolves names itself, only literal addresses are refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.hooks.quickrouter import USER_AGENT, QuickRouterHook
from airflow_provider_quickrouter.hooks.transport import Route, proxy_and_tls, proxy_refused
from airflow_provider_quickrouter.storage.addresses import check_url, is_public, not_public
from airflow_provider_quickrouter.storage.fetching import check_redirect, is_redirect

HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
SLOWEST = 2**19
"""Bytes a second that a file must come with on the whole, beside five minutes."""

_BASE_TIME = 300.0
_BUFFER = 2**20


class NotPublicError(OSError):
    """A name stands for an address that is not public. An ``OSError``, as aiohttp expects."""


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
    """GETs files. An async context manager; on a worker, one for each output.

    :param hook: its connection says which proxies and CA bundle to use, and whether addresses
        may be other than public. Its settings must have been read before.
    :param max_bytes: of a file; decides how long one may take.
    """

    def __init__(self, hook: QuickRouterHook, max_bytes: int, connections: int) -> None:
        self._settings = hook.settings
        self._until_headers = sum(hook.settings.timeout)
        self._requests = hook.get_conn()
        self._requests.cert = None  # it tells who we are, and is for the gateway only
        self._connections = connections
        self._total = _BASE_TIME + max_bytes / SLOWEST
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._routes: dict[tuple[str, str | None], tuple[str | None, Any]] = {}

    async def __aenter__(self) -> Self:
        """Open what all files share."""
        private = self._settings.allow_private_addresses
        self._sessions = {proxied: self._session(proxied or private) for proxied in (False, True)}
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the kept connections."""
        for session in self._sessions.values():
            await session.close()

    @asynccontextmanager
    async def get(self, address: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a file, through up to five redirects.

        :raises FileRefused: an address on the route will not do.
        :raises InvalidConnectionError: proxy or CA bundle will not do.
        """
        url, hops = read_url(address), 0
        while True:
            response = await self._request(url)
            target = response.headers.get("Location")
            if not (is_redirect(response.status) and target):
                break
            response.release()
            url, hops = _next(url, target, hops), hops + 1
        async with response:
            yield response

    async def _request(self, url: URL) -> aiohttp.ClientResponse:
        check_url(str(url), url.raw_host, private=self._settings.allow_private_addresses)
        proxy, tls = await self._route(url)
        session, route = self._sessions[proxy is not None], Route(str(url.origin()), proxy)
        try:
            # A server that drips header bytes stays within the read timeout for ever.
            async with asyncio.timeout(self._until_headers):
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

    async def _route(self, url: URL) -> tuple[str | None, Any]:
        """Return proxy and TLS settings for an address; in a thread, since that reads files."""
        origin = url.scheme, url.raw_authority
        if origin not in self._routes:
            plain = str(url.origin())
            self._routes[origin] = await asyncio.to_thread(proxy_and_tls, self._requests, plain)
        return self._routes[origin]

    def _session(self, anywhere: bool) -> aiohttp.ClientSession:
        resolver = None if anywhere else PublicResolver()
        connect, read = self._settings.timeout
        return aiohttp.ClientSession(
            headers=HEADERS,
            connector=aiohttp.TCPConnector(limit=self._connections, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._total, sock_connect=connect, sock_read=read),
            read_bufsize=_BUFFER,
        )


def read_url(address: str, base: URL | None = None) -> URL:
    """Read the address of a file; what is encoded in it stays as it is, signatures need that.

    :param base: what it may be relative to.
    :raises FileRefused: it is none.
    """
    address = address.replace(" ", "%20")  # servers forget that in redirects
    if not address.isprintable():
        raise FileRefused("its address cannot be read")
    try:
        url = URL(address, encoded=address.isascii())
        url = (base.join(url) if base else url).with_fragment(None)
        _ = url.port, url.raw_host  # they are read, and may be wrong, only now
    except ValueError:
        raise FileRefused("its address cannot be read") from None
    return url


def _next(url: URL, target: str, hops: int) -> URL:
    found = read_url(target, url)
    check_redirect(hops + 1, url.scheme, found.scheme)
    return found
