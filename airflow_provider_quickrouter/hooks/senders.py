"""The two ways to send a request: an answer comes back, or one of three errors.

The errors tell what matters for money: nothing can be sent (the connection's settings are wrong),
nothing was sent (no connection came about), or it was sent and the answer is lost. Both senders
take proxies, CA bundle and client certificate from the same place: what ``requests`` makes of the
connection and of the environment. Neither follows a redirect.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from requests.exceptions import (
    InvalidSchema,
    InvalidURL,
    MissingSchema,
)
from requests.utils import select_proxy
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProxyError,
)

from airflow_provider_quickrouter.api.errors import (
    ConnectionLostError,
    InvalidConnectionError,
    NotConnectedError,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.protocol import Answer, Request
from airflow_provider_quickrouter.hooks.settings import Settings

MAX_BODY = 32 * 2**20
"""Bytes of an answer. A prediction with pictures as ``data:`` URIs has some; more is no answer."""

MAX_CONNECTIONS = 12
"""Connections that an async session keeps at most; more requests than that wait for one."""

_CHUNK = 2**16
_MAX_HEADER = 2**16
_SETTINGS = (InvalidSchema, InvalidURL, LocationParseError, MissingSchema)
_ASYNC_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
_BEFORE_SENDING = (ConnectTimeoutError, NewConnectionError)


class BearerAuth(requests.auth.AuthBase):
    """The key as a header. An auth object, since ``.netrc`` would replace a plain header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        prepared.headers["Authorization"] = f"Bearer {self._api_key}"
        return prepared


def environment(session: requests.Session, url: str) -> dict[str, Any]:
    """Return proxies, verify and cert for one address: the connection's, then the environment's."""
    given: Any = (dict(session.proxies), False, session.verify, session.cert)
    return dict(session.merge_environment_settings(url, *given))


class Session(requests.Session):
    """A session that does not even look where a redirect leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none."""


def send(session: requests.Session, settings: Settings, request: Request) -> Answer:
    """Send with ``requests``; blocks.

    :raises InvalidConnectionError: the settings cannot work; nothing was sent.
    :raises NotConnectedError: no connection came about; nothing was sent.
    :raises ConnectionLostError: it was sent, the answer is unknown.
    """
    url = settings.url(request)
    plain = requests.Request(request.method, url, headers=dict(request.headers), json=request.body)
    limits = (settings.timeout[0], settings.read_timeout(request))
    options = environment(session, url) | {"stream": True}
    try:
        prepared = session.prepare_request(plain)
        with session.send(prepared, timeout=limits, **options) as response:
            body = _read(response, time.monotonic() + sum(limits))
    except (OSError, ValueError, HTTPError) as error:
        raise _requests_error(error, settings) from None
    return _answer(response.status_code, response.headers, body)


def _read(response: requests.Response, until: float) -> bytes:
    """Read a body of bounded size until an instant of the monotonic clock."""
    body = bytearray()
    # Not iter_content: it waits for a whole chunk, however slowly that drips in.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > MAX_BODY or time.monotonic() > until:
            raise HTTPError("too large or too slow")
    return bytes(body)


class AsyncSender:
    """Send with ``aiohttp``, without ever blocking the event loop. Close it when done.

    :param proxy: and ``tls``: what :func:`proxy_and_tls` gave for the connection's address.
    """

    def __init__(
        self, settings: Settings, headers: Mapping[str, str], proxy: str | None, tls: Any
    ) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {"proxy": proxy, "ssl": tls, "allow_redirects": False}
        headers = {**headers, "Authorization": f"Bearer {settings.api_key}"}
        self._session = aiohttp.ClientSession(
            headers=headers,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_timeout(*settings.timeout),
        )

    async def send(self, request: Request) -> Answer:
        """Send one request; the errors are those of :func:`send`."""
        url, options = self._settings.url(request), self._options
        if request.hold:
            connect, read = self._settings.timeout[0], self._settings.read_timeout(request)
            options = options | {"timeout": _timeout(connect, read)}
        try:
            async with self._session.request(
                request.method, url, headers=request.headers, json=request.body, **options
            ) as response:
                body = await _aread(response)
                return _answer(response.status, response.headers, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _aiohttp_error(error, self._settings) from None
        except asyncio.CancelledError as error:
            # A session that is closed cancels those who wait for a connection, or for its name.
            if _cancelled():
                raise
            raise _aiohttp_error(error, self._settings) from None

    async def close(self) -> None:
        """Close the kept connections."""
        await self._session.close()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _timeout(connect: float, read: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=connect + read, sock_connect=connect, sock_read=read)


async def _aread(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length < MAX_BODY and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BODY:
            raise aiohttp.ClientPayloadError("too large")
    return bytes(body)


def proxy_and_tls(session: requests.Session, url: str) -> tuple[str | None, ssl.SSLContext]:
    """Translate :func:`environment` for aiohttp. Reads files, so not on an event loop."""
    merged = environment(session, url)
    proxy = select_proxy(url, merged["proxies"])
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.startswith(("http://", "https://")):
        raise InvalidConnectionError("extra.proxies: only http and https proxies can be used.")
    return proxy, tls_context(merged["verify"], merged["cert"])


def tls_context(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """Make the TLS settings of a connection.

    :raises InvalidConnectionError: a file cannot be used as what it is given for.
    """
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    folder = Path(bundle).is_dir()
    try:
        # With the bundle given, Python does not add the authorities of the system.
        context = ssl.create_default_context(
            cafile=None if folder else bundle, capath=bundle if folder else None
        )
        if cert:
            context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    except OSError as error:
        raise InvalidConnectionError(
            f"extra.verify, extra.cert: a file cannot be used ({_name(error)})."
        ) from None
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


def _requests_error(error: Exception, settings: Settings) -> QuickRouterError:
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else None
    if wrong := _wrong_tls(reason, settings):
        return wrong
    if isinstance(error, _SETTINGS) or isinstance(reason, _SETTINGS):
        return InvalidConnectionError(f"host or proxies cannot be used ({_name(error)}).")
    if isinstance(error, requests.ConnectTimeout) or _before_sending(reason):
        return NotConnectedError(f"no connection to {settings.base_url} ({_name(reason)})")
    return ConnectionLostError(f"no answer from {settings.base_url} ({_name(error)})")


def _before_sending(reason: object) -> bool:
    """Whether nothing can have been sent.

    A ``ProxyError`` alone does not tell: urllib3 also makes one of a connection through a proxy
    that broke after sending.
    """
    cause = reason.original_error if isinstance(reason, ProxyError) else reason
    no_tunnel = type(cause) is OSError and str(cause).startswith("Tunnel connection failed")
    return no_tunnel or isinstance(cause, _BEFORE_SENDING)


def _aiohttp_error(error: BaseException, settings: Settings) -> QuickRouterError:
    if wrong := _wrong_tls(error, settings):
        return wrong
    if isinstance(error, ValueError):
        return InvalidConnectionError(f"host or proxies cannot be used ({_name(error)}).")
    if isinstance(error, _ASYNC_BEFORE_SENDING):
        return NotConnectedError(f"no connection to {settings.base_url} ({_name(error)})")
    return ConnectionLostError(f"no answer from {settings.base_url} ({_name(error)})")


def _wrong_tls(reason: Any, settings: Settings) -> InvalidConnectionError | None:
    """Tell the two TLS errors that surely come before sending; any other may come after it."""
    causes = [*getattr(reason, "args", ()), getattr(reason, "certificate_error", None)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return InvalidConnectionError(
                f"extra.verify: the certificate of {settings.base_url} is not trusted; name a CA "
                "bundle that has its authority. Nothing was sent."
            )
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return InvalidConnectionError(
                f"host: {settings.base_url} does not speak TLS; give it with http:// if that is "
                "meant. Nothing was sent."
            )
    return None


def _name(error: object) -> str:
    """Name an error by its class: its text may hold a proxy's password."""
    return type(error).__name__
