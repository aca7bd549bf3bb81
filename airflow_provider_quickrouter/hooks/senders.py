"""The two ways to send a request. Nothing is decided here: an answer, or a connection error.

Both take proxies, CA bundle and client certificate from the same place: what ``requests``
makes of the connection and of the environment. Neither follows a redirect.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from requests.utils import select_proxy
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

from airflow_provider_quickrouter.api.errors import (
    ConnectionLostError,
    InvalidConnectionError,
    NotConnectedError,
)
from airflow_provider_quickrouter.api.protocol import Answer, Request
from airflow_provider_quickrouter.hooks.settings import Settings

_BEFORE_SENDING = (ConnectTimeoutError, NewConnectionError, SSLError)


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


def send(session: requests.Session, settings: Settings, request: Request) -> Answer:
    """Send with ``requests``; blocks.

    :raises NotConnectedError: nothing was sent.
    :raises ConnectionLostError: it was sent, the answer is unknown.
    """
    url = settings.url(request)
    plain = requests.Request(request.method, url, headers=dict(request.headers), json=request.body)
    timeout = (settings.timeout[0], settings.read_timeout(request))
    try:
        prepared = session.prepare_request(plain)
        response = session.send(
            prepared, timeout=timeout, allow_redirects=False, **environment(session, url)
        )
    except requests.RequestException as error:
        raise _requests_error(error, settings) from None
    return _answer(response.status_code, response.headers, response.content, settings)


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
        self._session = aiohttp.ClientSession(headers=headers)

    async def send(self, request: Request) -> Answer:
        """Send one request; the errors are those of :func:`send`."""
        connect, read = self._settings.timeout[0], self._settings.read_timeout(request)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)
        url = self._settings.url(request)
        try:
            async with self._session.request(
                request.method, url, headers=request.headers, timeout=timeout, **self._options
            ) as response:
                body = await response.read()
                return _answer(response.status, response.headers, body, self._settings)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _aiohttp_error(error, self._settings) from None

    async def close(self) -> None:
        """Close the kept connections."""
        await self._session.close()


def proxy_and_tls(session: requests.Session, url: str) -> tuple[str | None, Any]:
    """Translate :func:`environment` for aiohttp. Reads files, so not on an event loop."""
    merged = environment(session, url)
    return select_proxy(url, merged["proxies"]), _tls(merged["verify"], merged["cert"])


def _tls(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    context = ssl.create_default_context(cafile=bundle)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context


def _answer(status: int, headers: Mapping[str, str], body: bytes, settings: Settings) -> Answer:
    """Take over what came, without the key should a gateway echo it in an error."""
    clean = body.replace(settings.api_key.encode(), b"***")
    return Answer(status, {name.lower(): value for name, value in headers.items()}, clean)


def _requests_error(error: requests.RequestException, settings: Settings) -> Exception:
    if isinstance(error, ValueError):
        return InvalidConnectionError(f"host: {settings.base_url} cannot be used ({_name(error)}).")
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else None
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, _BEFORE_SENDING):
        return NotConnectedError(f"no connection to {settings.base_url} ({_name(reason)})")
    return ConnectionLostError(f"no answer from {settings.base_url} ({_name(error)})")


def _aiohttp_error(error: Exception, settings: Settings) -> Exception:
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidConnectionError(f"host: {settings.base_url} cannot be used ({_name(error)}).")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotConnectedError(f"no connection to {settings.base_url} ({_name(error)})")
    return ConnectionLostError(f"no answer from {settings.base_url} ({_name(error)})")


def _name(error: object) -> str:
    """Name an error by its class: its text may hold a proxy's password."""
    return type(error).__name__
