"""Bytes in and out: ``requests`` on workers and in threads, ``aiohttp`` for a poller's GETs.

The result is a response, without the key wherever it was echoed, or one of three errors. They state
what matters for money: nothing can be sent (the connection's settings are wrong), nothing was sent
(there was no connection), or it may have been sent and the response is lost. *Not sent* is read
from public exception classes alone: the connection or the tunnel through a proxy was refused, the
name is unknown, connecting took too long, the certificate is not trusted.

Both clients use the same proxies, CA bundle and client certificate: those that ``requests`` finds in
the connection and in the environment. Neither follows a redirect.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
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
from airflow_provider_quickrouter.api.protocol import Request, Response
from airflow_provider_quickrouter.api.storable import storable_headers
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.hooks.connection import Settings, is_http_url, mask_password_of, tls_context

MAX_BODY = 32 * 2**20  # bytes of a response: a prediction may hold pictures as ``data:`` URIs
LAST_BYTES = 0.5  # seconds after the timeout of a request in which its thread may still end

_CHUNK = 2**16
_MAX_HEADER = 2**16

_SETTINGS = (InvalidSchema, InvalidURL, LocationParseError, MissingSchema, UnicodeError)
_NOT_SENT = (
    ConnectTimeoutError,
    NewConnectionError,
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
# OpenSSL's codes of a certificate that is not valid yet, or has expired.
_NOT_IN_TIME = frozenset({9, 10})
# OpenSSL's codes of a certificate for another host, e-mail or IP address.
_ANOTHER_NAME = frozenset({62, 63, 64})
# Attributes in which libraries store the error that they have wrapped.
_WRAPPED = ("reason", "original_error", "certificate_error", "os_error", "__cause__")


class BearerAuth(requests.auth.AuthBase):
    """The key as a header. An auth object, since ``.netrc`` would replace a plain header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        prepared.headers["Authorization"] = f"Bearer {self._api_key}"
        return prepared


class Session(requests.Session):
    """A session that does not read the target of a redirect."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none."""


def send(session: requests.Session, settings: Settings, request: Request) -> Response:
    """Send with ``requests``; blocks.

    :raises InvalidConnectionError: the settings cannot work; nothing was sent.
    :raises NotConnectedError: there was no connection; nothing was sent.
    :raises ConnectionLostError: it was sent, the response is unknown.
    """
    url = settings.url(request)
    options = _environment(session, url)
    route = Route(settings.base_url, _proxy(url, options["proxies"]))
    read_timeout, total = settings.timeouts(request)
    options |= {
        "stream": True,
        "timeout": (settings.timeout[0], read_timeout),
        # Exactly this proxy: requests would choose again, by another spelling of the address.
        "proxies": {"all": route.proxy} if route.proxy else {},
    }
    plain = requests.Request(request.method, url, headers=dict(request.headers), json=request.body)
    until = time.monotonic() + total

    def exchange() -> Response:
        with session.send(session.prepare_request(plain), **options) as response:
            if response.status_code < requests.codes.ok:
                # http.client takes any 1xx but 100 for the response, and drops what follows it.
                raise HTTPError("no final response")
            body = bytearray()
            # Not iter_content: it waits for a whole chunk, however slowly the bytes arrive.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_BODY or time.monotonic() > until:
                    raise HTTPError("too large or too slow")
            received = Response(response.status_code, storable_headers(response.headers), bytes(body))
            return received.without(settings.api_key)

    try:
        # In a thread: the read timeout of requests starts again with each byte, so a server that
        # sends its headers byte by byte would block the task without end.
        received = threads.start(exchange).result(total + LAST_BYTES)
    except (OSError, ValueError, HTTPError) as error:
        raise failure(error, route, creates=request.creates) from None
    if route.refuses(received.status):
        raise proxy_refused(route)
    return received


class AsyncSender:
    """Send with ``aiohttp``, without ever blocking the event loop. Close it when done.

    :param proxy: and ``tls``: what :func:`proxy_and_tls` returned for the connection's address.
    """

    def __init__(self, settings: Settings, headers: Mapping[str, str], proxy: str | None, tls: Any) -> None:
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

    async def send(self, request: Request) -> Response:
        """Send one request; the errors are those of :func:`send`."""
        settings = self._settings
        read_timeout, total = settings.timeouts(request)
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=settings.timeout[0], sock_read=read_timeout)
        url, options = settings.url(request), self._options | {"timeout": timeout}
        try:
            async with self._session.request(
                request.method, url, headers=request.headers, **options
            ) as response:
                body = await _read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise failure(error, self._route) from None
        except asyncio.CancelledError as error:
            # A session that closes cancels requests that wait for a connection or for a name.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise failure(error, self._route) from None
        if self._route.refuses(response.status):
            raise proxy_refused(self._route)
        received = Response(response.status, storable_headers(response.headers), body)
        return received.without(settings.api_key)

    async def close(self) -> None:
        """Close the open connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length < MAX_BODY and "Content-Encoding" not in response.headers:
        return await response.read()  # nearly all responses: reading them at once is cheaper
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BODY:
            raise aiohttp.ClientPayloadError("too large")
    return bytes(body)


def proxy_and_tls(session: requests.Session, url: str) -> tuple[str | None, Any]:
    """Return proxy and TLS settings for aiohttp, and mask the proxy's password.

    Reads files, so not on an event loop.

    :raises InvalidConnectionError: the proxy, or a file, cannot be used.
    """
    merged = _environment(session, url)
    proxy = _proxy(url, merged["proxies"])
    if proxy:
        mask_password_of(proxy)
    if url.startswith("https://") or (proxy or "").startswith("https://"):
        return proxy, tls_context(merged["verify"], merged["cert"])
    return proxy, True


def _environment(session: requests.Session, url: str) -> dict[str, Any]:
    """Return proxies, verify and cert for one address: the connection's, then the environment's."""
    # A copy: requests writes the environment's proxies into the mapping that it is given.
    given: Any = (dict(session.proxies), False, session.verify, session.cert)
    return dict(session.merge_environment_settings(url, *given))


def _proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """Return an address's proxy, with a scheme, as ``requests`` chooses it."""
    with suppress(ValueError):  # an invalid address is reported when the request is sent
        # As requests writes it: its host may have letters that are not ASCII.
        url = str(requests.Request("GET", url).prepare().url)
    proxy = select_proxy(url, proxies)
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    # An "@" after the host means that the address was cut off within a password.
    if not is_http_url(proxy) or "@" in "".join(urlsplit(proxy)[2:]):
        raise InvalidConnectionError(
            "extra.proxies, or a variable such as https_proxy: only http and https proxies can be "
            "used, special characters of a password percent-encoded."
        )
    return proxy


@dataclass(frozen=True)
class Route:
    """The gateway, and the proxy in front of it. As a string it has no password."""

    base_url: str
    proxy: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the gateway, and the proxy if there is one."""
        through = f" through the proxy {self.proxy_url}" if self.proxy else ""
        return f"{self.base_url}{through}"

    @property
    def proxy_url(self) -> str:
        """Address of the proxy, without user and password."""
        parts = urlsplit(self.proxy or "")
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))

    def refuses(self, status: int) -> bool:
        """Whether a response comes from the proxy, which refuses its user."""
        # Responses of an https gateway come through a tunnel; a refused tunnel is an exception.
        plain = self.proxy and not self.base_url.startswith("https://")
        return bool(plain) and status == requests.codes.proxy_authentication_required


def failure(error: BaseException, route: Route, *, creates: bool = False) -> QuickRouterError:
    """Return the error for a library's exception: wrong settings, not sent, or uncertain.

    :param creates: the request costs money if it was accepted.
    """
    causes = list(_causes(error))
    for cause in causes:
        # aiohttp's errors have the same base without its attributes.
        if not isinstance(cause, ssl.SSLError) or isinstance(cause, aiohttp.ClientError):
            continue
        if wrong := _tls_failure(cause, _tls_peer(causes, route)):
            # With TLS 1.3 any error but an untrusted certificate may come after the server has
            # read the request, so a create request may have been accepted.
            if creates and not isinstance(cause, ssl.SSLCertVerificationError):
                return ConnectionLostError(f"no response from {route} ({wrong})")
            return wrong
    status = next(filter(None, map(_tunnel_status, causes)), None)
    if status == requests.codes.proxy_authentication_required:
        return proxy_refused(route)
    if any(isinstance(cause, _SETTINGS) for cause in causes):
        return InvalidConnectionError(f"host or proxies cannot be used ({_name(error)}).")
    if status or any(isinstance(cause, _NOT_SENT) for cause in causes):
        why = f"the proxy responds with HTTP {status}" if status else _name(causes[-1])
        return NotConnectedError(f"no connection to {route} ({why})")
    return ConnectionLostError(f"no response from {route} ({_name(error)})")


def proxy_refused(route: Route) -> InvalidConnectionError:
    """Return the error of a proxy that responded with 407."""
    return InvalidConnectionError(
        f"extra.proxies: the proxy {route.proxy_url} on the way to {route.base_url} requires "
        "another user or password (HTTP 407); give them as http://user:password@proxy:3128, special "
        "characters percent-encoded. Nothing was sent there.",
        transient=True,  # the proxy itself may be in error, so a wait continues
    )


def _tls_failure(error: ssl.SSLError, peer: str) -> QuickRouterError | None:
    """Return an error that names the wrong field; None if the TLS error shows none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NOT_IN_TIME:
            return NotConnectedError(
                f"the certificate of {peer} has expired or is not valid yet, by the clock of this "
                "machine; it has to be renewed there"
            )
        if error.verify_code in _ANOTHER_NAME:
            return InvalidConnectionError(
                f"host: the certificate of {peer} is for another name; give the name that it was made "
                "for. Nothing was sent."
            )
        return InvalidConnectionError(
            f"extra.verify: the certificate of {peer} is not trusted; name a CA bundle that has its "
            "authority. Nothing was sent."
        )
    if error.reason == "WRONG_VERSION_NUMBER":
        return InvalidConnectionError(
            f"host: {peer} does not use TLS; give the address with http:// if that is intended."
        )
    # Only a server that requires a client certificate sends one of these alerts.
    alert = (error.reason or "").partition("ALERT_")[2]
    if "CERTIFICATE" not in alert and alert != "UNKNOWN_CA":
        return None
    return InvalidConnectionError(
        f"extra.cert: {peer} requires another client certificate ({alert}); give one that it accepts.",
        transient=True,  # the server itself may be in error, so a wait continues
    )


def _tls_peer(causes: list[BaseException], route: Route) -> str:
    """Return whose TLS failed: an https proxy's if the error names it, else the gateway's."""
    proxy = urlsplit(route.proxy or "")
    for cause in causes:
        host = getattr(cause, "host", None), getattr(cause, "port", None)
        if isinstance(cause, ProxyError) or (proxy.netloc and host == (proxy.hostname, proxy.port)):
            return f"the proxy {route.proxy_url}"
    return route.base_url


def _tunnel_status(cause: BaseException) -> int | None:
    """Return the status with which a proxy refused a tunnel."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    # http.client raises a plain OSError for it.
    found = _REFUSED.match(str(cause)) if type(cause) is OSError else None
    return int(found[1]) if found else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that it wraps, outermost first."""
    yield error
    for inner in (*error.args, *(getattr(error, name, None) for name in _WRAPPED)):
        if isinstance(inner, Exception) and inner is not error:
            yield from _causes(inner)


def _name(error: object) -> str:
    """Return an error's class, and OpenSSL's reason. Its message may hold a password."""
    reason = getattr(error, "reason", None)
    word = f": {reason}" if isinstance(error, ssl.SSLError) and isinstance(reason, str) else ""
    return f"{type(error).__name__}{word}"
