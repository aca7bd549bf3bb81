"""When to fetch a file again: what a response means, and for how long to wait.

Only the file is requested again, never the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from airflow_provider_quickrouter.api.errors import (
    FileError,
    FileRefused,
    FileUnavailable,
    PredictionExpired,
    QuickRouterError,
    backoff,
)
from airflow_provider_quickrouter.api.files import counted
from airflow_provider_quickrouter.api.protocol import retry_after

MAX_REDIRECTS = 5
# Seconds for which errors are waited out while no file of the output arrives. A missing file, or a
# page in its place, is one of them: servers may be late, and clocks of gateways wrong.
PATIENCE = 120.0
ATTEMPTS = 3  # of each file at least, also when others have failed for that long

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0  # seconds between two attempts of a download; each pause doubles
LONGEST_RETRY_AFTER = 3600.0  # seconds; the longest `Retry-After` that is passed to Airflow

ONE_HOUR = "The API stores files for one hour after the prediction has ended"
STORE_EARLIER = (
    f"{ONE_HOUR}: store them in the task that saw its success (output_path=), or in one right after "
    "it. A retry cannot bring them back; a new prediction makes new ones."
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({403, 404, 410})
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a download failed.

    :ivar retry_after: the pause that the server named, in seconds, or None.
    :ivar gone: the server does not have the file, or does not give it.
    :ivar refused: the server gave something else, such as an error message or a page.
    """

    why: str
    retry_after: float | None = None
    gone: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The prediction that a file belongs to.

    :ivar expires_at: when the API deletes the file, by this machine's clock; None if not known.
    :ivar known: whether ``prediction_id`` is one of the API, and not made up for the files' names.
    """

    prediction_id: str
    expires_at: datetime | None = None
    known: bool = True

    def __str__(self) -> str:
        """Name it in a sentence."""
        return f"prediction {self.prediction_id}" if self.known else "the output"

    def expired(self, now: float) -> bool:
        """Return whether the API has deleted the file at ``now`` (epoch seconds)."""
        return self.expires_at is not None and now >= self.expires_at.timestamp()


def read_status(status: int, headers: Mapping[str, str], now: float) -> Failure | None:
    """Return what a status means: None for a file, else why the download failed.

    :param headers: names in lower case.
    :param now: epoch seconds, for ``Retry-After`` given as a date.
    :raises FileRefused: another attempt would get the same response.
    """
    if status == HTTPStatus.OK:
        return None
    if status in _GONE:
        return Failure(f"HTTP {status}", gone=True)
    if status in _TRANSIENT or status >= 500:
        pause = retry_after(headers, None, "", now)
        return Failure(f"HTTP {status}", None if pause is None else min(pause, LONGEST_RETRY_AFTER))
    raise FileRefused(f"the server responds with HTTP {status}")


def is_redirect(status: int) -> bool:
    """Return whether the response points elsewhere."""
    return status in _REDIRECTS


def check_redirect(hops: int, before: str, after: str) -> None:
    """Refuse a redirect that goes in circles, or leaves TLS.

    :param hops: redirects so far, with this one; ``before`` and ``after``: the URLs' schemes.
    """
    if hops > MAX_REDIRECTS:
        raise FileRefused(f"it is redirected more than {MAX_REDIRECTS} times")
    if before == "https" and after != "https":
        raise FileRefused("it is redirected from https to http")


def pause_before(failure: Failure, attempts: int, waited: float, owner: Owner, now: float) -> float:
    """Return the seconds to wait until the next attempt of a download.

    :param attempts: so far, from 1; ``waited``: seconds since errors began.
    :param now: epoch seconds.
    :raises PredictionExpired: it is missing, and the API may have deleted it.
    :raises FileRefused: the server still gives something else, or forbids it.
    :raises FileUnavailable: the errors last too long.
    """
    pause = backoff(attempts, LONGEST_PAUSE, first=FIRST_PAUSE, minimum=failure.retry_after)
    if waited + pause <= PATIENCE:
        return pause
    if failure.refused:
        raise FileRefused(failure.why)
    if failure.gone and owner.expires_at is None and failure.why == "HTTP 403":
        raise FileRefused(f"the server responds with HTTP 403: its signature may have expired. {ONE_HOUR}")
    if failure.gone and (owner.expired(now) or owner.expires_at is None):
        raise expired(owner)
    message = f"{failure.why}, after {counted(attempts, 'attempt')}"
    raise FileUnavailable(message, retry_after=failure.retry_after)


def expired(owner: Owner) -> PredictionExpired:
    """Make the error of files that the API has deleted: since when, and what to do."""
    when = " are gone"
    if owner.expires_at:
        when = f" expired at {owner.expires_at.astimezone(UTC).isoformat(timespec='seconds')}"
    return PredictionExpired(
        f"The files of {owner}{when}. {STORE_EARLIER}", prediction_id=owner.prediction_id
    )


def about(error: QuickRouterError, n: int, address: str) -> QuickRouterError:
    """Return an error that names the file, by its number and its address without a query."""
    if not isinstance(error, FileError):
        return error
    message = f"File {n} of the output ({address}) was not stored: {error}."
    return type(error)(message, retry_after=error.retry_after)
