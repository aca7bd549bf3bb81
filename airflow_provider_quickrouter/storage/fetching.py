"""Fetching a file: what an answer means, and when to ask again. Decided here, done elsewhere.

Only the file is asked for again, never the prediction.
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
from airflow_provider_quickrouter.api.protocol import retry_after

MAX_REDIRECTS = 5
PATIENCE = 120.0
"""Seconds that trouble with one file is waited out at most, the fetching itself not counted."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two tries of a file; they double from one to the other."""

LONGEST_ASKED = 3600.0
"""Seconds that a ``Retry-After`` can ask of the task's next try."""

QUICK_TRIES = 3
"""Tries of a file that is not there, though its hour is not over: a server may be behind."""

KEPT = "The API keeps files for one hour after the prediction has ended"
STORE_EARLIER = (
    f"{KEPT}: store them in the task that saw its success (output_path=), or in one right behind "
    "it. A retry cannot bring them back; a new prediction makes new ones."
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({403, 404, 410})
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a try failed. ``asked``: seconds the server wants to be left alone; None: not said.

    ``gone``: the server does not have, or does not give, the file.
    """

    why: str
    asked: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose file it is. ``expires_at``: when the API deletes it, None if that is not known.

    ``known``: whether ``prediction_id`` is one of the API, and not made up for the files' names.
    """

    prediction_id: str
    expires_at: datetime | None = None
    known: bool = True

    def __str__(self) -> str:
        """Name it in a sentence."""
        return f"prediction {self.prediction_id}" if self.known else "the output"

    def expired(self, now: float) -> bool:
        """Whether its hour is over (``now`` in epoch seconds)."""
        return self.expires_at is not None and now >= self.expires_at.timestamp()


def read_status(status: int, headers: Mapping[str, str], now: float) -> Trouble | None:
    """Tell what a status means: None for a file, else the trouble.

    :param headers: names in lower case.
    :param now: epoch seconds, for ``Retry-After`` given as a date.
    :raises FileRefused: another try would be answered alike.
    """
    if status == HTTPStatus.OK:
        return None
    if status in _GONE:
        return Trouble(f"HTTP {status}", gone=True)
    if status in _TRANSIENT or status >= 500:
        return Trouble(f"HTTP {status}", _retry_after(headers, now))
    raise FileRefused(f"the server answers HTTP {status}")


def is_redirect(status: int) -> bool:
    """Whether the answer points elsewhere."""
    return status in _REDIRECTS


def check_redirect(hops: int, before: str, after: str) -> None:
    """Refuse a redirect that leads round in a circle, or out of TLS.

    :param hops: redirects so far, with this one; ``before`` and ``after``: the URLs' schemes.
    """
    if hops > MAX_REDIRECTS:
        raise FileRefused(f"it is redirected more than {MAX_REDIRECTS} times")
    if before == "https" and after != "https":
        raise FileRefused("it is redirected from https to http")


def pause_before(trouble: Trouble, tries: int, waited: float, owner: Owner, now: float) -> float:
    """Return the seconds to wait until the next try of a file.

    :param tries: so far, from 1; ``waited``: seconds that pauses took so far.
    :param now: epoch seconds.
    :raises PredictionExpired: the file is gone for good.
    :raises FileRefused: it is not there or not given, and nothing says that it will be.
    :raises FileUnavailable: the patience is at its end.
    """
    if trouble.gone and (owner.expired(now) or owner.expires_at is None):
        raise _gone(trouble, owner)
    pause = backoff(tries, LONGEST_PAUSE, first=FIRST_PAUSE, asked=trouble.asked)
    if waited + pause > PATIENCE or (trouble.gone and tries > QUICK_TRIES):
        raise _given_up(trouble, tries)
    return pause


def expired(owner: Owner) -> PredictionExpired:
    """Make the error of files whose hour is over: it names the hour, and what to do."""
    when = f" expired at {_iso(owner.expires_at)}" if owner.expires_at else " are gone"
    return PredictionExpired(
        f"The files of {owner}{when}. {STORE_EARLIER}",
        prediction_id=owner.prediction_id,
    )


def about(error: QuickRouterError, n: int, address: str) -> QuickRouterError:
    """Return an error that names the file, by its number and its address without a query."""
    if not isinstance(error, FileError):
        return error
    message = f"File {n} of the output ({address}) was not stored: {error}."
    return type(error)(message, retry_after=error.retry_after)


def _gone(trouble: Trouble, owner: Owner) -> QuickRouterError:
    if owner.expires_at is None and trouble.why == "HTTP 403":
        return FileRefused(f"the server answers HTTP 403: its signature may have expired. {KEPT}")
    return expired(owner)


def _given_up(trouble: Trouble, tries: int) -> FileUnavailable:
    message = f"{trouble.why}, after {tries} tries; a retry goes on with it"
    return FileUnavailable(message, retry_after=trouble.asked)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    asked = retry_after(headers, None, "", now)
    return None if asked is None else min(asked, LONGEST_ASKED)


def _iso(time: datetime | None) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds") if time else ""
