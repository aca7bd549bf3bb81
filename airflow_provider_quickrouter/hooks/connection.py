"""What an Airflow connection means: read wherever Airflow finds it, checked, and masked.

Each field is checked here, before anything is sent, with an error that names it.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from requests.adapters import DEFAULT_CA_BUNDLE_PATH

from airflow_provider_quickrouter import get_provider_info
from airflow_provider_quickrouter.api.errors import InvalidConnectionError, UpstreamError
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.polling.rate_limit import DEFAULT_PER_MINUTE

if TYPE_CHECKING:
    from airflow.sdk.log import mask_secret
else:  # common.compat names it only since 1.22; Airflow 2.11 to 3.3 were released with older ones
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:  # Airflow 2
        from airflow.utils.log.secrets_masker import mask_secret

DEFAULT_BASE_URL = "https://api.quickrouter.ai"
DEFAULT_PATH_PREFIX = "/replicate/v1"
DEFAULT_TIMEOUT = (10.0, 60.0)
"""Seconds: to connect, and between two bytes of an answer. A create that times out while
reading is uncertain and may be paid for, so the second is generous."""

POLL_TIMEOUT = 15.0
"""Seconds between two bytes of the response to a poll, at most: shorter than for a create."""

EXTRAS = frozenset(get_provider_info()["connection-types"][0]["conn-fields"])
_HOST = (
    "host: must be the gateway's base URL, such as https://api.quickrouter.ai, without user, "
    "query or key; the key goes into the password."
)
_FLAGS = dict.fromkeys(("true", "1", "yes", "on"), True)
_FLAGS |= dict.fromkeys(("false", "0", "no", "off"), False)
_NOT_FOUND = (
    "Airflow found no connection {!r}. Add it, or look at the secrets backend that has it: that "
    "one does not answer, or has something else there, is told only in Airflow's log at level "
    "DEBUG. Nothing was sent."
)


@dataclass(frozen=True)
class Settings:
    """A connection, read and checked. The key and proxies (they may hold a password) have no repr.

    :ivar timeout: seconds to connect, seconds between two bytes.
    :ivar verify: False, True, or the path of a CA bundle.
    :ivar cert: path of a client certificate, or paths of certificate and key.
    :ivar console_url: address of a prediction for people, with ``{id}``.
    :ivar requests_per_minute: how often a triggerer may ask, at most; 0 means no limit.
    :ivar allow_private_addresses: files of an output may lie at addresses that are not public.
    """

    base_url: str
    path_prefix: str
    api_key: str = field(repr=False)
    timeout: tuple[float, float] = DEFAULT_TIMEOUT
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    trust_env: bool = True
    console_url: str | None = None
    requests_per_minute: float = DEFAULT_PER_MINUTE
    allow_private_addresses: bool = False

    @classmethod
    def of(cls, connection: Any) -> Settings:
        """Read an Airflow connection; extras may be JSON values or the text of a URI's query.

        :raises InvalidConnectionError: names the field and the remedy.
        """
        given = connection.extra_dejson
        if not isinstance(given, dict):
            raise InvalidConnectionError('extra: must be a JSON object, such as {"timeout": 30}.')
        extra = {name: value for name, value in given.items() if value not in (None, "")}
        _check_names(extra)
        return cls(
            base_url=_base_url(connection),
            path_prefix=_path_prefix(extra.get("path_prefix", DEFAULT_PATH_PREFIX)),
            api_key=_api_key(connection.password),
            timeout=_timeout(extra.get("timeout")),
            proxies=_proxies(extra.get("proxies")),
            verify=_verify(extra.get("verify", True)),
            cert=_cert(extra.get("cert")),
            trust_env=_flag("trust_env", extra.get("trust_env", True)),
            console_url=_console_url(extra.get("console_url")),
            requests_per_minute=_rate(extra.get("requests_per_minute", DEFAULT_PER_MINUTE)),
            allow_private_addresses=_flag(
                "allow_private_addresses", extra.get("allow_private_addresses", False)
            ),
        )

    def url(self, request: Request) -> str:
        """Address of a request: always this connection's host."""
        prefix = self.path_prefix if request.prefixed else ""
        return f"{self.base_url}{prefix}/{request.path}"

    def prediction_url(self, prediction_id: str) -> str:
        """Where a person looks at a prediction: the console's page, else the API's address."""
        if self.console_url:
            return self.console_url.replace("{id}", quote(prediction_id, safe=""))
        return self.url(get(prediction_id))

    def read_timeout(self, request: Request) -> float:
        """Seconds between two bytes, with the time that the server was asked to hold its answer.

        A poll that hangs is given up sooner than a create: another one is sent a while later.
        """
        read = min(self.timeout[1], POLL_TIMEOUT) if request.method == "GET" else self.timeout[1]
        return read + request.hold

    def total_timeout(self, request: Request) -> float:
        """Seconds that a request may take in all, however steadily bytes come."""
        return sum(self.timeout) + request.hold


def _check_names(extra: Mapping[str, Any]) -> None:
    """Refuse the name of an extra that is nearly that of a known one: a typing error."""
    for name in extra.keys() - EXTRAS:
        if near := difflib.get_close_matches(name, EXTRAS, n=1, cutoff=0.8):
            raise InvalidConnectionError(f"extra.{name}: is unknown; did you mean {near[0]!r}?")


def _base_url(connection: Any) -> str:
    host = connection.host or DEFAULT_BASE_URL
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port or connection.port
    except ValueError:
        raise InvalidConnectionError(_HOST) from None
    if not _is_http(url) or not parts.hostname or set("?#@") & set(url):
        raise InvalidConnectionError(_HOST)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _path_prefix(value: Any) -> str:
    """Path in front of the routes; ``/`` means none."""
    prefix = str(value).strip("/")
    if not re.fullmatch(r"[\w./-]*", prefix, re.ASCII) or ".." in prefix:
        raise InvalidConnectionError(
            f"extra.path_prefix: {value!r} is no path such as /replicate/v1 or /v1."
        )
    return f"/{prefix}" if prefix else ""


def _api_key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise InvalidConnectionError("password: is empty; put the API key there.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidConnectionError(
            "password: has blanks or characters that no key has; give the key alone, without "
            "'Bearer'."
        )
    return key


def _timeout(value: Any) -> tuple[float, float]:
    """One number for both, or ``[connect, read]``; seconds."""
    if value is None:
        return DEFAULT_TIMEOUT
    pair = value if isinstance(value, list | tuple) else str(value).strip("[]() ").split(",")
    try:
        connect, read = float(pair[0]), float(pair[-1])
    except (TypeError, ValueError, IndexError):
        connect = read = -1.0
    if len(pair) not in (1, 2) or not (0 < connect < 3600 and 0 < read < 3600):
        raise InvalidConnectionError(
            f"extra.timeout: {value!r} is no number of seconds above 0, nor [connect, read]."
        )
    return connect, read


def _proxies(value: Any) -> Mapping[str, str]:
    proxies = _json(value) if isinstance(value, str) else value or {}
    if not (isinstance(proxies, dict) and all(map(_is_http, proxies.values()))):
        raise InvalidConnectionError(
            'extra.proxies: must be an object such as {"https": "http://proxy:3128"}, with http or '
            "https proxies."
        )
    return dict(proxies)


def _is_http(url: Any) -> bool:
    try:
        parts = urlsplit(str(url))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _verify(value: Any) -> bool | str:
    flag = _FLAGS.get(str(value).strip().casefold())
    return _file("verify", value) if flag is None else flag


def _cert(value: Any) -> str | tuple[str, str] | None:
    paths = _json(value) if isinstance(value, str) and value.startswith("[") else value
    if isinstance(paths, list | tuple) and len(paths) == 2:
        return _file("cert", paths[0]), _file("cert", paths[1])
    return None if paths is None else _file("cert", paths)


def _file(name: str, path: Any) -> str:
    if not isinstance(path, str) or not Path(path).exists():
        raise InvalidConnectionError(f"extra.{name}: {path!r} is no file on this machine.")
    return path


def _flag(name: str, value: Any) -> bool:
    flag = _FLAGS.get(str(value).strip().casefold())
    if flag is None:
        raise InvalidConnectionError(f"extra.{name}: {value!r} is neither true nor false.")
    return flag


def _console_url(value: Any) -> str | None:
    if value is None or (str(value).startswith(("http://", "https://")) and "{id}" in str(value)):
        return value and str(value)
    raise InvalidConnectionError(
        "extra.console_url: must be an http(s) address with {id} where the prediction's id goes."
    )


def _rate(value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = -1.0
    if not 0 <= rate < math.inf:
        raise InvalidConnectionError(
            f"extra.requests_per_minute: {value!r} is no number from 0 on; 0 means no limit."
        )
    return rate


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@contextmanager
def readable(conn_id: str) -> Iterator[None]:
    """Turn what Airflow raises for a connection into one error.

    :raises UpstreamError: there is none, or Airflow could not tell; a retry may help. Airflow
        passes over a secrets backend that is down and then finds none: no error for good.
    """
    try:
        yield
    except AirflowNotFoundException:
        raise UpstreamError(_NOT_FOUND.format(conn_id)) from None
    except Exception as error:  # noqa: BLE001  # a backend's; its text may hold the key
        why = f"the connection {conn_id!r} could not be read ({type(error).__name__})"
        raise UpstreamError(f"{why}. Nothing was sent.") from None


def checked(connection: Any) -> Settings:
    """Read a connection, check the files that it names, and mask what is secret. Blocks.

    :raises InvalidConnectionError: a field, or a file, cannot be used.
    """
    settings = Settings.of(connection)
    if isinstance(settings.verify, str) or settings.cert:
        tls_context(settings.verify, settings.cert)  # for its check of the files
    mask_secret(settings.api_key)
    for proxy in settings.proxies.values():
        mask_password_of(proxy)
    return settings


def mask_password_of(proxy: str | None) -> None:
    """Mask the password in a proxy's address, both as it stands there and as it is meant."""
    if password := urlsplit(proxy or "").password:
        mask_secret(password)
        mask_secret(unquote(password))


def tls_context(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """Make the TLS settings of a connection.

    :raises InvalidConnectionError: a file cannot be used as what it is given for.
    """
    context = _trusting(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
    if cert:
        _show(context, *((cert,) if isinstance(cert, str) else cert))
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _trusting(bundle: str) -> ssl.SSLContext:
    folder = Path(bundle).is_dir()
    try:
        # With the bundle given, Python does not add the authorities of the system.
        return ssl.create_default_context(
            cafile=None if folder else bundle, capath=bundle if folder else None
        )
    except OSError as error:
        raise InvalidConnectionError(
            f"extra.verify, or REQUESTS_CA_BUNDLE of the environment: {bundle!r} on this machine "
            f"cannot be used as a CA bundle ({type(error).__name__}). Nothing was sent."
        ) from None


def _show(context: ssl.SSLContext, *files: str) -> None:
    """Add the client certificate; without the callback OpenSSL would ask the terminal."""

    def password() -> str:
        raise InvalidConnectionError(
            f"extra.cert: the key in {files[-1]!r} is encrypted; give one without a password, "
            "readable by Airflow alone."
        )

    try:
        context.load_cert_chain(files[0], files[1] if len(files) > 1 else None, password)
    except OSError as error:
        raise InvalidConnectionError(
            f"extra.cert: {' and '.join(map(repr, files))} on this machine cannot be used as a "
            f"certificate with its key ({type(error).__name__})."
        ) from None
