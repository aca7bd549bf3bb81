"""What a ledger is made of: what the gateway accepted, and how the tasks ended.

Nothing here knows Airflow or HTTP. Instants are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BAD = frozenset({"failed", "canceled", "aborted"})
UNCERTAIN = "UncertainCreateError"
PASSING = frozenset({"PredictionInterrupted", "PredictionAborted"})
LASTING = frozenset({"PredictionFailed", "PredictionModerated"})
TRANSIENT = frozenset({"RateLimitError", "UpstreamError", "NotConnectedError", "ConnectionLostError"})
KEY_REFUSED = frozenset({"AuthenticationError", "PermissionDeniedError"})
ODD = KEY_REFUSED | {"NotFoundError", "InvalidRequestError", "RedirectError"}
"""What responses become that say nothing about a prediction."""

TIMEOUT = "PredictionTimeout"


@dataclass(frozen=True)
class Accepted:
    """A prediction that the gateway accepted; instants are epoch seconds."""

    id: str
    prompt: str
    status: str
    created_at: float
    completed_at: float | None = None
    error: str | None = None

    def ended_badly(self, before: float = float("inf")) -> bool:
        """Whether it came to a bad end, and that not later than ``before``."""
        over = self.created_at if self.completed_at is None else self.completed_at
        return self.status in BAD and over <= before


@dataclass(frozen=True)
class Cancel:
    """A request to cancel a prediction that reached the gateway, at an instant in epoch seconds."""

    id: str
    at: float


@dataclass(frozen=True)
class Failure:
    """An exception that ended a try of a task, at an instant in epoch seconds.

    ``kinds`` are its classes and those of its causes. ``since`` and ``until`` are what it says
    about when a create may have been accepted.
    """

    kinds: frozenset[str]
    message: str
    at: float
    final: bool = True
    since: float | None = None
    until: float | None = None

    def reports(self, prediction: Accepted) -> bool:
        """Whether it says that this prediction may have been accepted."""
        since = 0.0 if self.since is None else self.since
        until = self.at if self.until is None else self.until
        return UNCERTAIN in self.kinds and since <= prediction.created_at <= until


@dataclass(frozen=True)
class TaskEnd:
    """The end of a task: ``state`` as Airflow names it, ``held`` the id that its XCom has.

    ``tries`` is how many attempts there were, ``ended_at`` the instant in epoch seconds.
    """

    state: str | None
    held: str | None = None
    failures: Sequence[Failure] = ()
    tries_left: int = 0
    tries: int = 1
    ended_at: float | None = None

    @property
    def failure(self) -> Failure | None:
        """What it ended with; None when it did not fail, or when no callback reported it."""
        final = [failure for failure in self.failures if failure.final]
        return max(final, key=lambda f: f.at) if final and self.state == "failed" else None

    def failed_with(self, kinds: Iterable[str]) -> bool:
        """Whether it failed with one of these classes."""
        return self.failure is not None and not self.failure.kinds.isdisjoint(kinds)

    def names(self, prediction_id: str) -> bool:
        """Whether one of its failures is a prediction's bad end, and tells this id."""
        ends = (f for f in self.failures if f.kinds & (PASSING | LASTING | {"PredictionError"}))
        return any(prediction_id in failure.message for failure in ends)


@dataclass(frozen=True)
class Job:
    """One prompt, which is to be paid for once: the task that submits, and the one that waits.

    ``wait`` is None where one task does both.
    """

    prompt: str
    submit: TaskEnd
    wait: TaskEnd | None = None

    @property
    def last(self) -> TaskEnd:
        """The end of the task that has the output."""
        return self.submit if self.wait is None else self.wait


@dataclass(frozen=True)
class Books:
    """All that a ledger is made of.

    ``deaths`` are triggerers that ended without a strike, as sentences.
    """

    accepted: Sequence[Accepted]
    jobs: Sequence[Job]
    cancels: Sequence[Cancel] = ()
    deaths: Sequence[str] = ()
