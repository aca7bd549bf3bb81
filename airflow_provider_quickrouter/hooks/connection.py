"""The settings in an Airflow connection. Each field is checked here, before anything is sent."""

from __future__ import annotations

import difflib
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, conf
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from requests.adapters import DEFAULT_CA_BUNDLE_PATH

from airflow_provider_quickrouter import get_provider_info
from airflow_provider_quickrouter.api.errors import InvalidConnectionError, QuickRouterError, UpstreamError
from airflow_provider_quickrouter.api.prices import Price
from airflow_provider_quickrouter.api.protocol import Request, get
from airflow_provider_quickrouter.polling.rate_limit import DEFAULT_PER_MINUTE

if TYPE_CHECKING:
    from airflow.sdk.log import mask_secret as mask_secret
else:  # common.compat has it only since 1.22; Airflow 2.11 to 3.3 were released with older versions
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:  # Airflow 2
        from airflow.utils.log.secrets_masker import mask_secret

DEFAULT_BASE_URL = "https://api.quickrouter.ai"
DEFAULT_PATH_PREFIX = "/replicate/v1"
# Seconds to connect, and between two bytes of a response. The second is long, since a create request
# whose response is lost is uncertain and may be paid for.
DEFAULT_TIMEOUT = (10.0, 60.0)
POLL_TIMEOUT = 15.0  # seconds between two bytes of the response to a poll, at most

EXTRAS = frozenset(get_provider_info()["connection-types"][0]["conn-fields"])
_HOST = (
    "host: must be the gateway's base URL, such as https://api.quickrouter.ai, without user, "
    "query or key; the key goes into the password."
)
# The error of each field; ``{!r}`` is its value.
_MESSAGES = {
    "api_key": ("password: has blanks or characters that no key has; give the key alone, without 'Bearer'."),
    "path_prefix": "extra.path_prefix: must be a path such as /replicate/v1 or /v1, got {!r}.",
    "timeout": "extra.timeout: must be a number of seconds above 0, or [connect, read], got {!r}.",
    "proxies": (
        'extra.proxies: must be an object such as {{"https": "http://proxy:3128"}}, with http or '
        "https proxies."
    ),
    "verify": "extra.verify: the file {!r} does not exist on this machine.",
    "cert": "extra.cert: the file {!r} does not exist on this machine.",
    "trust_env": "extra.trust_env: {!r} is neither true nor false.",
    "console_url": (
        "extra.console_url: must be an http(s) address with {{id}} where the prediction's id goes."
    ),
    "requests_per_minute": (
        "extra.requests_per_minute: must be a number from 0 on, got {!r}; 0 means no limit."
    ),
    "prices": (
        'extra.{where}: got {got!r}; a price is {{"owner/name": {{"per_second": 0.0011}}}} or '
        '{{"owner/name": {{"per_output": 0.04}}}}, with numbers from 0 on; see max_seconds, max_outputs.'
    ),
    "allow_private_addresses": "extra.allow_private_addresses: {!r} is neither true nor false.",
}


def is_http_url(url: object) -> bool:
    """Whether it is an http or https URL with a host; a port must be a valid one."""
    try:
        parts = urlsplit(str(url))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _proxy_url(url: str) -> str:
    if not is_http_url(url):
        raise ValueError
    return url


def _existing(path: str) -> str:
    if not Path(path).exists():
        raise ValueError
    return path


def _decoded(value: Any) -> Any:
    """Decode JSON in a string: the extras of a connection URI are all strings."""
    is_json = isinstance(value, str) and value.startswith(("{", "["))
    return json.loads(value) if is_json else value


def _pair(value: Any) -> Any:
    pair = value if isinstance(value, list | tuple) else str(value).strip("[]() ").split(",")
    return [*pair, *pair] if len(pair) == 1 else pair


def _prefix(value: Any) -> str:
    """Return the path in front of the routes; ``/`` means none."""
    prefix = str(value).strip("/")
    if ".." in prefix:
        raise ValueError
    return f"/{prefix}" if prefix else ""


_File = Annotated[str, AfterValidator(_existing)]
_ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
_Seconds = Annotated[float, Field(gt=0, lt=3600)]
_Model = Annotated[str, StringConstraints(pattern=r"^[^/:\s]+/[^/:\s]+$")]


class Settings(BaseModel):
    """The checked settings of a connection. The key and proxies (with passwords) have no repr."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    base_url: str
    api_key: Annotated[str, StringConstraints(pattern=r"^[!-~]+$")] = Field(repr=False)
    path_prefix: Annotated[
        str, BeforeValidator(_prefix), StringConstraints(pattern=r"^(/[A-Za-z0-9_./-]+)?$")
    ] = DEFAULT_PATH_PREFIX
    timeout: Annotated[tuple[_Seconds, _Seconds], BeforeValidator(_pair)] = DEFAULT_TIMEOUT
    proxies: Annotated[dict[str, _ProxyUrl], BeforeValidator(_decoded)] = Field({}, repr=False)
    verify: bool | _File = Field(True, union_mode="left_to_right")  # a path is that of a CA bundle
    # The path of a client certificate, or the paths of certificate and key.
    cert: Annotated[_File | tuple[_File, _File] | None, BeforeValidator(_decoded)] = None
    trust_env: bool = True
    console_url: Annotated[str, StringConstraints(pattern=r"^https?://.*\{id\}")] | None = None
    requests_per_minute: float = Field(DEFAULT_PER_MINUTE, ge=0, allow_inf_nan=False)  # of each triggerer
    allow_private_addresses: bool = False  # for the files of an output
    prices: Annotated[dict[_Model, Price], BeforeValidator(_decoded)] = {}

    @classmethod
    def of(cls, connection: Any) -> Settings:
        """Read an Airflow connection, check the files that it names, and mask what is secret.

        Extras may be JSON values or the strings of a URI's query. Blocks.

        :raises InvalidConnectionError: names the field and the remedy.
        """
        given = connection.extra_dejson
        if not isinstance(given, dict):
            raise InvalidConnectionError('extra: must be a JSON object, such as {"timeout": 30}.')
        key = (connection.password or "").strip()
        if not key:
            raise InvalidConnectionError("password: is empty; put the API key there.")
        mask_secret(key)  # before anything below can fail with it in a message
        extra = {name: value for name, value in given.items() if value not in (None, "")}
        for name in extra.keys() - EXTRAS:  # an unknown extra may belong to another program
            if near := difflib.get_close_matches(name, EXTRAS, n=1, cutoff=0.8):
                raise InvalidConnectionError(f"extra.{name}: is unknown; did you mean {near[0]!r}?")
        base_url = _base_url(connection)
        known = {name: extra[name] for name in EXTRAS & extra.keys()}
        try:
            settings = cls(base_url=base_url, api_key=key, **known)
        except ValidationError as error:
            # Not pydantic's message: it quotes the value, which may be a key in the wrong field.
            found = error.errors()[0]
            name, where = str(found["loc"][0]), ".".join(map(str, found["loc"]))
            message = _MESSAGES[name].format(extra.get(name), where=where, got=found["input"])
            raise InvalidConnectionError(message) from None
        for proxy in settings.proxies.values():
            mask_password_of(proxy)
        # A host that was copied with the prefix would have it twice.
        settings = settings.model_copy(
            update={"base_url": settings.base_url.removesuffix(settings.path_prefix)}
        )
        if isinstance(settings.verify, str) or settings.cert:
            tls_context(settings.verify, settings.cert)  # raises if it cannot use the files
        return settings

    def url(self, request: Request) -> str:
        """Address of a request: always this connection's host."""
        prefix = self.path_prefix if request.prefixed else ""
        return f"{self.base_url}{prefix}/{request.path}"

    def prediction_url(self, prediction_id: str) -> str:
        """Where a person looks at a prediction: the console's page, else the API's address."""
        if self.console_url:
            return self.console_url.replace("{id}", quote(prediction_id, safe=""))
        return self.url(get(prediction_id))

    def timeouts(self, request: Request) -> tuple[float, float]:
        """Return the seconds between two bytes of a response, and the seconds for all of it.

        Both include the time for which the server may hold its response.
        """
        # A poll that hangs ends sooner than a create request, since another poll follows.
        read = min(self.timeout[1], POLL_TIMEOUT) if request.method == "GET" else self.timeout[1]
        return read + request.hold, sum(self.timeout) + request.hold


def _base_url(connection: Any) -> str:
    host = (connection.host or "").strip() or DEFAULT_BASE_URL
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    if not is_http_url(url) or set("?#@") & set(url):
        raise InvalidConnectionError(_HOST)
    parts = urlsplit(url)
    port = parts.port or connection.port
    name = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


@contextmanager
def lookup_errors(conn_id: str) -> Iterator[None]:
    """Turn Airflow's exceptions for a connection into one error.

    :raises InvalidConnectionError: the connection does not exist.
    :raises UpstreamError: Airflow, or its secrets backend, could not return it; a retry may help.
    """
    try:
        yield
    except AirflowNotFoundException:
        raise _not_found(conn_id) from None
    except Exception as error:  # noqa: BLE001  # its message may hold the key
        why = f"the connection {conn_id!r} could not be read ({type(error).__name__})"
        raise UpstreamError(f"{why}. Nothing was sent.") from None


def _not_found(conn_id: str) -> QuickRouterError:
    message = (
        f"Connection {conn_id!r} was not found. Add it under Admin > Connections (type QuickRouter, the "
        f"API key as password), or set the environment variable AIRFLOW_CONN_{conn_id.upper()}."
    )
    backends = ("secrets", "backend"), ("workers", "secrets_backend")
    if any(conf.get(*option, fallback=None) for option in backends):
        # Airflow skips a backend that is down, and then reports that the connection does not exist.
        backend = "If it is in the secrets backend, that did not return it. Nothing was sent."
        return UpstreamError(f"{message} {backend}")
    return InvalidConnectionError(f"{message} Nothing was sent.")


def mask_password_of(proxy: str) -> None:
    """Mask the password in a proxy's address."""
    if password := urlsplit(proxy).password:
        mask_secret(password)
        mask_secret(unquote(password))  # as it is sent to the proxy


def tls_context(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """Return the TLS settings of a connection.

    :raises InvalidConnectionError: a file is not a CA bundle, or not a certificate with its key.
    """
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    folder = Path(bundle).is_dir()
    try:
        # With the bundle given, Python does not add the authorities of the system.
        context = ssl.create_default_context(
            cafile=None if folder else bundle, capath=bundle if folder else None
        )
    except OSError as error:
        raise InvalidConnectionError(
            f"extra.verify, or REQUESTS_CA_BUNDLE of the environment: {bundle!r} on this machine "
            f"cannot be used as a CA bundle ({type(error).__name__}). Nothing was sent."
        ) from None
    if cert:
        _add_client_certificate(context, (cert,) if isinstance(cert, str) else cert)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _add_client_certificate(context: ssl.SSLContext, files: tuple[str, ...]) -> None:
    def password() -> str:
        raise InvalidConnectionError(
            f"extra.cert: the key in {files[-1]!r} is encrypted; give one without a password, "
            "readable by Airflow alone."
        )

    try:
        # Without the callback OpenSSL would read the password from the terminal.
        context.load_cert_chain(files[0], files[-1], password)
    except OSError as error:
        raise InvalidConnectionError(
            f"extra.cert: {' and '.join(map(repr, files))} on this machine cannot be used as a "
            f"certificate with its key ({type(error).__name__})."
        ) from None
