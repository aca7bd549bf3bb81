"""What a request's failure means: whether it was sent, and which field of the connection is wrong.

Both senders' exceptions are read here, so that the same trouble is the same error.
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
from urllib3.exceptions import LocationParseError, ProxyError

from airflow_provider_quickrouter.api.errors import (
    ConnectionLostError,
    InvalidConnectionError,
    NotConnectedError,
    QuickRouterError,
)
from airflow_provider_quickrouter.hooks.progress import Progress

_SETTINGS = (InvalidSchema, InvalidURL, LocationParseError, MissingSchema)
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
"""Alerts by which a server ends the handshake over the client's certificate. With TLS 1.3 they
come after the request was written, which the server then does not read."""


@dataclass(frozen=True)
class Way:
    """The gateway, and the proxy in front of it; its text is without a proxy's password."""

    base_url: str
    proxy: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the gateway, and the proxy if there is one."""
        return f"{self.base_url} through the proxy {self.proxys}" if self.proxy else self.base_url

    @property
    def proxys(self) -> str:
        """Address of the proxy, without user and password."""
        parts = urlsplit(self.proxy or "")
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))

    def refuses(self, status: int) -> bool:
        """Whether an answer is the proxy's own about its user; through a tunnel none is."""
        asked = self.proxy and not self.base_url.startswith("https://")
        return bool(asked) and status == requests.codes.proxy_authentication_required


def failure(error: BaseException, way: Way, progress: Progress) -> QuickRouterError:
    """Say what a library's error means: for the connection's settings, and for money."""
    causes = list(_causes(error))
    if progress.sent:
        refused = None if progress.answered else _refused_certificate(causes, way)
        return refused or ConnectionLostError(f"no answer from {way} ({_name(error)})")
    if wrong := _wrong_tls(causes, way):
        return wrong
    status = next(filter(None, map(_refusal, causes)), None)
    if status == requests.codes.proxy_authentication_required:
        return proxy_refused(way)
    if any(map(_of_settings, causes)):
        return InvalidConnectionError(f"host or proxies cannot be used ({_name(error)}).")
    why = f"the proxy answers HTTP {status}" if status else _name(causes[-1])
    return NotConnectedError(f"no connection to {way} ({why})")


def proxy_refused(way: Way) -> InvalidConnectionError:
    """Return the error of a proxy that answered 407."""
    return _for_now(
        f"extra.proxies: the proxy {way.proxys} on the way to {way.base_url} wants another user or "
        "password (HTTP 407); give them as http://user:password@proxy:3128, special characters "
        "percent-encoded. Nothing was sent there."
    )


def _for_now(text: str) -> InvalidConnectionError:
    """Make an error of what another side says, which may be its own trouble: a wait goes on."""
    error = InvalidConnectionError(text)
    error.transient = True
    return error


def _wrong_tls(causes: list[BaseException], way: Way) -> QuickRouterError | None:
    """Tell what is wrong in a handshake; later, a middleman's words may look the same."""
    for cause in _of_tls(causes):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, _who(causes, way))
        if cause.reason == "WRONG_VERSION_NUMBER":
            return InvalidConnectionError(
                f"host: {_who(causes, way)} does not speak TLS; give it with http:// if that is "
                "meant. Nothing was sent."
            )
    return _refused_certificate(causes, way)


def _refused_certificate(causes: list[BaseException], way: Way) -> QuickRouterError | None:
    """Tell the alerts after which surely nothing was accepted, unless an answer has begun."""
    for cause in _of_tls(causes):
        alert = (cause.reason or "").partition("ALERT_")[2]
        if alert in _OF_OUR_CERTIFICATE:
            return _for_now(
                f"extra.cert: {_who(causes, way)} demands another client certificate ({alert}); "
                "give one that it accepts. Nothing was accepted."
            )
    return None


def _of_tls(causes: list[BaseException]) -> Iterator[ssl.SSLError]:
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, aiohttp.ClientError):
            yield cause


def _untrusted(error: ssl.SSLCertVerificationError, who: str) -> QuickRouterError:
    if error.verify_code in _NOT_IN_TIME:
        return NotConnectedError(
            f"the certificate of {who} has expired or is not valid yet, by the clock of this "
            "machine; it has to be renewed there"
        )
    if error.verify_code in _ANOTHER_NAME:
        return InvalidConnectionError(
            f"host: the certificate of {who} is for another name; give the name that it was made "
            "for. Nothing was sent."
        )
    return InvalidConnectionError(
        f"extra.verify: the certificate of {who} is not trusted; name a CA bundle that has its "
        "authority. Nothing was sent."
    )


def _who(causes: list[BaseException], way: Way) -> str:
    """Whose TLS it is: an https proxy's, if the error says so, else the gateway's."""
    proxy = urlsplit(way.proxy or "")
    for cause in causes:
        host = getattr(cause, "host", None), getattr(cause, "port", None)
        if isinstance(cause, ProxyError) or (proxy.netloc and host == (proxy.hostname, proxy.port)):
            return f"the proxy {way.proxys}"
    return way.base_url


def _of_settings(cause: BaseException) -> bool:
    """Whether an address or a password cannot be written into a request at all."""
    if isinstance(cause, _SETTINGS):
        return True
    return isinstance(cause, ValueError) and not isinstance(cause, OSError)


def _refusal(cause: BaseException) -> int | None:
    """Return the status by which a proxy refused a tunnel."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return cause.status
    found = _REFUSED.match(str(cause)) if type(cause) is OSError else None
    return int(found[1]) if found else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what libraries have wrapped in it, outermost first."""
    yield error
    inner = (*error.args, *(getattr(error, name, None) for name in _WRAPPED))
    seen = {id(error)}
    for cause in inner:
        if isinstance(cause, Exception) and id(cause) not in seen:
            seen.add(id(cause))
            yield from _causes(cause)


_WRAPPED = ("reason", "original_error", "certificate_error", "os_error", "__cause__")


def _name(error: object) -> str:
    """Name an error by its class, and by OpenSSL's word; its text may hold a password."""
    reason = getattr(error, "reason", None)
    word = f": {reason}" if isinstance(error, ssl.SSLError) and isinstance(reason, str) else ""
    return f"{type(error).__name__}{word}"
