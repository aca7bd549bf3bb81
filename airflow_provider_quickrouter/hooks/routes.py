"""What the exception of an HTTP library means: was the request sent, which field is wrong.

*Not sent* is read from public exception classes alone: the connection or the tunnel through a proxy
was refused, the name is unknown, connecting took too long, the certificate is not trusted. After
anything else a server may have accepted the request.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import (
    ConnectTimeoutError,
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

_SETTINGS = (InvalidSchema, InvalidURL, LocationParseError, MissingSchema, UnicodeError)
_NOT_SENT = (
    ConnectTimeoutError,
    NewConnectionError,
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
_NOT_IN_TIME = frozenset({9, 10})
"""What OpenSSL calls a certificate that is not valid yet, and one that has expired."""

_ANOTHER_NAME = frozenset({62, 63, 64})
"""What it calls one that was made for another host, e-mail or IP address."""

_OF_OUR_CERTIFICATE = frozenset(
    {
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)
"""Alerts by which a server ends the handshake over the client's certificate."""

_WRAPPED = ("reason", "original_error", "certificate_error", "os_error", "__cause__")
"""Attributes in which libraries keep the error that they have wrapped."""


@dataclass(frozen=True)
class Route:
    """The gateway, and the proxy in front of it; as a string it is without a proxy's password."""

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
        """Whether a response is the proxy's own about its user; through a tunnel none is."""
        plain = self.proxy and not self.base_url.startswith("https://")
        return bool(plain) and status == requests.codes.proxy_authentication_required


def failure(error: BaseException, route: Route, *, creates: bool = False) -> QuickRouterError:
    """Return what a library's exception means: for the connection's settings, and for money.

    :param creates: the request costs money if it was accepted.
    """
    causes = list(_causes(error))
    for cause in causes:
        # aiohttp's errors have the same base without its attributes.
        if not isinstance(cause, ssl.SSLError) or isinstance(cause, aiohttp.ClientError):
            continue
        if wrong := _tls_failure(cause, _tls_peer(causes, route)):
            # With TLS 1.3 any error but an untrusted certificate may come after the server has
            # read the request, so it does not prove that a create was not accepted.
            proves = not creates or isinstance(cause, ssl.SSLCertVerificationError)
            return wrong if proves else ConnectionLostError(f"no answer from {route} ({wrong})")
    status = next(filter(None, map(_tunnel_status, causes)), None)
    if status == requests.codes.proxy_authentication_required:
        return proxy_refused(route)
    if any(isinstance(cause, _SETTINGS) for cause in causes):
        return InvalidConnectionError(f"host or proxies cannot be used ({_name(error)}).")
    if status or any(isinstance(cause, _NOT_SENT) for cause in causes):
        why = f"the proxy answers HTTP {status}" if status else _name(causes[-1])
        return NotConnectedError(f"no connection to {route} ({why})")
    return ConnectionLostError(f"no answer from {route} ({_name(error)})")


def proxy_refused(route: Route) -> InvalidConnectionError:
    """Return the error of a proxy that answered 407."""
    return InvalidConnectionError(
        f"extra.proxies: the proxy {route.proxy_url} on the way to {route.base_url} wants another "
        "user or password (HTTP 407); give them as http://user:password@proxy:3128, special "
        "characters percent-encoded. Nothing was sent there.",
        transient=True,  # the proxy itself may be in error, so a wait goes on
    )


def _tls_failure(error: ssl.SSLError, peer: str) -> QuickRouterError | None:
    """Return which field an error of TLS points to; None if it points to none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NOT_IN_TIME:
            return NotConnectedError(
                f"the certificate of {peer} has expired or is not valid yet, by the clock of this "
                "machine; it has to be renewed there"
            )
        message = f"extra.verify: the certificate of {peer} is not trusted; name a CA bundle that "
        message += "has its authority. Nothing was sent."
        if error.verify_code in _ANOTHER_NAME:
            message = f"host: the certificate of {peer} is for another name; give the name that it "
            message += "was made for. Nothing was sent."
        return InvalidConnectionError(message)
    if error.reason == "WRONG_VERSION_NUMBER":
        return InvalidConnectionError(
            f"host: {peer} does not speak TLS; give it with http:// if that is meant."
        )
    alert = (error.reason or "").partition("ALERT_")[2]
    if alert not in _OF_OUR_CERTIFICATE:
        return None
    return InvalidConnectionError(
        f"extra.cert: {peer} demands another client certificate ({alert}); give one that it "
        "accepts.",
        transient=True,  # the server itself may be in error, so a wait goes on
    )


def _tls_peer(causes: list[BaseException], route: Route) -> str:
    """Return whose TLS it is: an https proxy's, if the error says so, else the gateway's."""
    proxy = urlsplit(route.proxy or "")
    for cause in causes:
        host = getattr(cause, "host", None), getattr(cause, "port", None)
        if isinstance(cause, ProxyError) or (proxy.netloc and host == (proxy.hostname, proxy.port)):
            return f"the proxy {route.proxy_url}"
    return route.base_url


def _tunnel_status(cause: BaseException) -> int | None:
    """Return the status by which a proxy refused a tunnel."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    # http.client has no class of its own for it.
    found = _REFUSED.match(str(cause)) if type(cause) is OSError else None
    return int(found[1]) if found else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what libraries have wrapped in it, outermost first."""
    yield error
    for inner in (*error.args, *(getattr(error, name, None) for name in _WRAPPED)):
        if isinstance(inner, Exception) and inner is not error:
            yield from _causes(inner)


def _name(error: object) -> str:
    """Name an error by its class, and by OpenSSL's word; its message may hold a password."""
    reason = getattr(error, "reason", None)
    word = f": {reason}" if isinstance(error, ssl.SSLError) and isinstance(reason, str) else ""
    return f"{type(error).__name__}{word}"
