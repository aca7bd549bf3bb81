"""Reading an Airflow connection, wherever it lies: one answer for both ways to ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_quickrouter.api.errors import UpstreamError
from airflow_provider_quickrouter.hooks.masking import mask_secret
from airflow_provider_quickrouter.hooks.settings import Settings
from airflow_provider_quickrouter.hooks.transport import tls_context

_NOT_FOUND = (
    "Airflow found no connection {!r}. Add it, or look at the secrets backend that has it: that "
    "one does not answer, or has something else there, is told only in Airflow's log at level "
    "DEBUG. Nothing was sent."
)


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
