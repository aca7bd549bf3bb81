"""Bytes in and out: ``requests`` on workers and in threads, ``aiohttp`` for a poller's GETs.

A response comes back, without the key wherever it was echoed, or one of three errors that state
what matters for money: nothing can be sent (the connection's settings are wrong), nothing was sent
(there was no connection), or it may have been sent and the response is lost. Both clients take
proxies, CA bundle and client certificate from the same place: what ``requests`` makes of the
connection and of the environment. Neither follows a redirect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from airflow_provider_quickrouter.api.errors import InvalidConnectionError
from airflow_provider_quickrouter.api.protocol import Answer, Request
from airflow_provider_quickrouter.api.storable import storable_headers
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.hooks.connection import (
    Settings,
    is_http_url,
    mask_password_of,
    tls_context,
)
from airflow_provider_quickrouter.hooks.routes import Route, failure, proxy_refused

MAX_BODY = 32 * 2**20
"""Bytes of a response, at most. A prediction with pictures as ``data:`` URIs has some of them."""

LAST_BYTES = 0.5
"""Seconds that a body may take longer than its timeouts, so that its own limit ends it first."""

_CHUNK = 2**16
_MAX_HEADER = 2**16


class BearerAuth(requests.auth.AuthBase):
    """The key as a header. An auth object, since ``.netrc`` would replace a plain header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        prepared.headers["Authorization"] = f"Bearer {self._api_key}"
        return prepared


class Session(requests.Session):
    """A session that does not even look where a redirect leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none."""


def send(session: requests.Session, settings: Settings, request: Request) -> Answer:
    """Send with ``requests``; blocks.

    :raises InvalidConnectionError: the settings cannot work; nothing was sent.
    :raises NotConnectedError: no connection came about; nothing was sent.
    :raises ConnectionLostError: it was sent, the response is unknown.
    """
    url = settings.url(request)
    options = _environment(session, url) | {"stream": True}
    route = Route(settings.base_url, _proxy(url, options["proxies"]))
    options["proxies"] = {"all": route.proxy} if route.proxy else {}
    options["timeout"] = (settings.timeout[0], settings.read_timeout(request))
    plain = requests.Request(request.method, url, headers=dict(request.headers), json=request.body)
    total = settings.total_timeout(request)
    until = time.monotonic() + total

    def exchange() -> Answer:
        with session.send(session.prepare_request(plain), **options) as response:
            if response.status_code < requests.codes.ok:
                # http.client takes any 1xx but 100 for the response; what follows it is lost.
                raise HTTPError("no final response")
            body = bytearray()
            # Not iter_content: it waits for a whole chunk, however slowly that drips in.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_BODY or time.monotonic() > until:
                    raise HTTPError("too large or too slow")
            return _answer(settings, response.status_code, response.headers, bytes(body))

    try:
        # In a thread: the read timeout of requests starts again with each byte, so a server that
        # drips its headers would hold the task for ever.
        answer = threads.start(exchange).result(total + LAST_BYTES)
    except (OSError, ValueError, HTTPError) as error:
        raise failure(error, route, creates=request.creates) from None
    if route.refuses(answer.status):
        raise proxy_refused(route)
    return answer


class AsyncSender:
    """Send with ``aiohttp``, without ever blocking the event loop. Close it when done.

    :param proxy: and ``tls``: what :func:`proxy_and_tls` returned for the connection's address.
    """

    def __init__(
        self, settings: Settings, headers: Mapping[str, str], proxy: str | None, tls: Any
    ) -> None:
        self._settings, self._route = settings, Route(settings.base_url, proxy)
        self._options: dict[str, Any] = {"proxy": proxy, "ssl": tls, "allow_redirects": False}
        self._session = aiohttp.ClientSession(
            headers={**headers, "Authorization": f"Bearer {settings.api_key}"},
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            # Callers limit what they send at once: a cancel must not queue behind polls that hang.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, request: Request) -> Answer:
        """Send one request; the errors are those of :func:`send`."""
        settings = self._settings
        timeout = aiohttp.ClientTimeout(
            total=settings.total_timeout(request),
            sock_connect=settings.timeout[0],
            sock_read=settings.read_timeout(request),
        )
        url, options = settings.url(request), self._options | {"timeout": timeout}
        try:
            async with self._session.request(
                request.method, url, headers=request.headers, **options
            ) as response:
                body = await _read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise failure(error, self._route) from None
        except asyncio.CancelledError as error:
            # A session that is closed cancels those who wait for a connection, or for its name.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise failure(error, self._route) from None
        if self._route.refuses(response.status):
            raise proxy_refused(self._route)
        return _answer(settings, response.status, response.headers, body)

    async def close(self) -> None:
        """Close the open connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length < MAX_BODY and "Content-Encoding" not in response.headers:
        return await response.read()  # in one piece, as nearly all responses: this is cheaper
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BODY:
            raise aiohttp.ClientPayloadError("too large")
    return bytes(body)


def _answer(settings: Settings, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    return Answer(status, storable_headers(headers), body).without(settings.api_key)


def proxy_and_tls(session: requests.Session, url: str) -> tuple[str | None, Any]:
    """Return proxy and TLS settings for aiohttp, and mask the proxy's password.

    Reads files, so not on an event loop.

    :raises InvalidConnectionError: the proxy, or a file, cannot be used.
    """
    merged = _environment(session, url)
    proxy = _proxy(url, merged["proxies"])
    mask_password_of(proxy)
    if not any(str(address).startswith("https://") for address in (url, proxy)):
        return proxy, True
    return proxy, tls_context(merged["verify"], merged["cert"])


def _environment(session: requests.Session, url: str) -> dict[str, Any]:
    """Return proxies, verify and cert for one address: the connection's, then the environment's."""
    given: Any = (dict(session.proxies), False, session.verify, session.cert)
    return dict(session.merge_environment_settings(url, *given))


def _proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """Choose an address's proxy as ``requests`` does; it always has a scheme."""
    with suppress(ValueError):  # an odd address is reported when it is sent
        # As requests writes it: its host may have letters that are not ASCII.
        url = str(requests.Request("GET", url).prepare().url)
    proxy = select_proxy(url, proxies)
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    # An "@" behind the host means that the address was cut off within a password.
    if not is_http_url(proxy) or "@" in "".join(urlsplit(proxy)[2:]):
        raise InvalidConnectionError(
            "extra.proxies, or a variable such as https_proxy: only http and https proxies can be "
            "used, special characters of a password percent-encoded."
        )
    return proxy
