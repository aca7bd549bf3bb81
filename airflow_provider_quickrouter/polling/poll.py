"""When to ask again, and when to stop asking: one answer for operator, sensor and trigger.

Nothing here reads a clock or sleeps: ``now`` is an argument (epoch seconds), a pause is a
result. Every unfinished answer and every error leads to a pause or to an end, never to an
immediate repetition.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.errors import (
    APIError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    QuickRouterError,
    QuotaError,
    UpstreamError,
    backoff,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus

if TYPE_CHECKING:
    from airflow_provider_quickrouter.polling.history import Course


HEARTBEAT = 60.0
"""Seconds after which an unchanged state is said again; or a quarter of the time waited, if that
is longer: thousands of waits may go on for hours."""

_TAIL = 4_096
"""Characters of a log's end in which the last progress bar is looked for."""

_PERCENT = re.compile(r"(\d{1,3})$")


def percentage(logs: str | bytes) -> int | None:
    """Percentage of the last progress bar in a model's log (``50%|█████ | 25/50``), or None.

    :param logs: as text, or within the JSON of an answer.
    """
    if isinstance(logs, bytes):
        logs = logs[max(0, logs.rfind(b"%|") - 3) :][:5].decode("ascii", "replace")
    before, bar, _ = logs[-_TAIL:].rpartition("%|")
    found = _PERCENT.search(before[-3:]) if bar else None
    return min(int(found[1]), 100) if found else None


@dataclass(slots=True)
class Progress:
    """Decide which answers deserve a line: a new state, a further quarter, or a minute gone by.

    :param started_at: epoch seconds from which the seconds in the line are counted.
    """

    started_at: float
    _said: tuple[str, int] | None = None
    _said_at: float = 0.0

    def line(self, prediction: Prediction, percent: int | None, now: float) -> str | None:
        """Return the line for this answer, or None if it brings nothing worth one.

        :param percent: how much of the work is done, see :func:`percentage`.
        """
        news = (prediction.status_word, (percent or 0) // 25)
        silence = max(HEARTBEAT, (now - self.started_at) / 4)
        if news == self._said and now - self._said_at < silence:
            return None
        self._said, self._said_at = news, now
        done = "" if percent is None else f", {percent}%"
        return f"Prediction {prediction.id}: {self._state(prediction)}, {self._waited(now)}{done}"

    def _waited(self, now: float) -> str:
        return f"waited {max(0.0, now - self.started_at):.0f} s"

    @staticmethod
    def _state(prediction: Prediction) -> str:
        known = prediction.status is not PredictionStatus.UNKNOWN
        return prediction.status_word if known else f"unknown state {prediction.status_word!r}"


DEFAULT_POLL_INTERVAL = 10.0
"""Seconds: the longest pause between two questions, unless the author sets another."""

FIRST_PAUSE = 1.0
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 300.0
"""Seconds; a server that asks for more patience is asked again after this."""

GONE_AFTER = 60.0
"""Seconds for which the API must answer 404 without a break before the prediction counts as gone. A
404 may mean "not known yet", or come from a gateway that is just restarting."""

PATIENCE = 600.0
"""Seconds of uninterrupted errors after which the wait gives up."""

OUTPUT_GRACE = 10.0
"""Seconds in which a success without any output is polled again: some gateways write the output a
moment after the status."""

OUTPUT_PAUSE = 2.0
"""Seconds between two of these polls."""


@dataclass(frozen=True)
class Again:
    """Not over: poll again after so many seconds (never 0), and what to log, if anything.

    :ivar warning: the line is about an outage that has begun or ended.
    """

    after: float
    line: str | None = None
    warning: bool = False

    def log_to(self, log: Any) -> None:
        """Log the line, if there is one."""
        if self.line:
            (log.warning if self.warning else log.info)(self.line)


@dataclass(slots=True)
class Watch:
    """One wait for one prediction: feed it what was seen, it says what to do next.

    The pause is half of the time already waited, at least 0.5 s and at most ``poll_interval``,
    plus or minus a fifth, so that many waits do not ask in step; or what the model's past runs
    tell (``course``), plus or minus a twentieth and within the same bounds. Errors double it up to
    a minute, and the server's ``retry_after`` is obeyed up to five.

    Which errors end the wait: a 404 of the API that lasts for a minute (the prediction is gone);
    a wrong key, if the prediction is not ``confirmed``; any error after ten minutes without a good
    response. The latter can be retried whatever the last response was, since none of them said
    anything about the prediction.

    :param started_at: when the wait began, epoch seconds; survives a change of process.
    :param deadline: when it ends without a result, epoch seconds; None means never.
    :param confirmed: the create was accepted, or a GET for this id has succeeded: the prediction
        exists, and may be paid for.
    :param start_deadline: when it ends if the prediction has not started, epoch seconds. Time
        in which the API did not answer counts, but only an answer of that time can end the wait.
    :param jitter: gives numbers in [0, 1).
    :param course: what is known of the model's past; None where nobody keeps it.
    """

    prediction_id: str
    started_at: float
    deadline: float | None = None
    poll_interval: float = DEFAULT_POLL_INTERVAL
    start_deadline: float | None = None
    jitter: Callable[[], float] = random.random
    course: Course | None = None
    confirmed: bool = True
    last: Prediction | None = None
    trouble: QuickRouterError | None = None
    _failures: int = 0
    _failing_since: float | None = None
    _missing_since: float | None = None
    _empty_since: float | None = None
    _progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._progress = Progress(self.started_at)

    def start(self, now: float) -> Again:
        """Say how long to wait before the first question of this process.

        The deadline may have passed while no process was waiting: it is still asked once.
        """
        return Again(self._until_deadline(self._pause(now), now))

    def saw(self, prediction: Prediction, now: float) -> Again | Outcome:
        """Take in a good answer."""
        self.last, self.confirmed = prediction, True
        if self.course:
            self.course.saw(prediction, now)
        over = Outcome.of(prediction, now)
        if over is None:
            self._empty_since = None
        if over and not self._awaits_output(over, now):
            self.trouble = None
            return over
        step = self.still(prediction, percentage(prediction.logs), now)
        return over if over and isinstance(step, Outcome) else step

    def still(self, prediction: Prediction, percent: int | None, now: float) -> Again | Outcome:
        """Take in a good answer that says no more than the one of ``prediction``.

        :param percent: how much of the work is done, if the answer tells.
        """
        outage = self._end_of_outage(now)
        if self.course:
            self.course.asked(now)
        if self._never_started(prediction, now):
            return self._settle(Reason.START_TIMEOUT)
        pause = self._pause(now) if self._empty_since is None else OUTPUT_PAUSE
        line = self._progress.line(prediction, percent, now)
        if outage:
            return self._again(pause, now, f"{outage} {line or ''}".strip(), warning=True)
        return self._again(pause, now, line)

    def would_end(self, prediction: Prediction, now: float) -> bool:
        """Whether a good answer that tells this would end the wait."""
        late = self.deadline is not None and now >= self.deadline
        return late or prediction.status.terminal or self._never_started(prediction, now)

    def failed(self, error: QuickRouterError, now: float) -> Again | Outcome:
        """Take in an error: pause and poll again, unless it ends the wait."""
        self.trouble, self._failures, self._empty_since = error, self._failures + 1, None
        self._failing_since = now if self._failing_since is None else self._failing_since
        if self._is_gone(error, now) or self._is_refused(error):
            return self._settle(Reason.API_ERROR)
        if now - self._failing_since >= PATIENCE:
            self.trouble = _as_transient(error)
            return self._settle(Reason.API_ERROR)
        pause = max(backoff(self._failures, 60.0) * self._spread(0.2), self._pause(now))
        pause = min(max(pause, error.retry_after or 0.0), LONGEST_PAUSE)
        return self._again(pause, now, *self._outage(error, pause))

    def _outage(self, error: QuickRouterError, pause: float) -> tuple[str, bool]:
        """Return the line about an error, and whether it is a warning: the first one is."""
        if self._failures > 1 or self._failing_since is None:
            return f"Polling again in {pause:.0f} s: {error}", False
        until = _clock(self._failing_since + PATIENCE)
        what = f"Polling prediction {self.prediction_id} fails since {_clock(self._failing_since)}"
        return f"{what}: {error} Polling again in {pause:.0f} s, giving up at {until}.", True

    def _end_of_outage(self, now: float) -> str:
        """Forget earlier errors; return a line if there were any."""
        since, failures = self._failing_since, self._failures
        self.trouble, self._failures = None, 0
        self._failing_since = self._missing_since = None
        if since is None:
            return ""
        times = "1 error" if failures == 1 else f"{failures} errors"
        return f"Polling works again after {times} in {now - since:.0f} s."

    def _is_gone(self, error: QuickRouterError, now: float) -> bool:
        """Whether the API has answered "not found" for a minute, and nothing else meanwhile."""
        if not (isinstance(error, NotFoundError) and error.from_api):
            self._missing_since = None
            return False
        self._missing_since = now if self._missing_since is None else self._missing_since
        return now - self._missing_since >= GONE_AFTER

    def _is_refused(self, error: QuickRouterError) -> bool:
        """Whether key or connection are wrong, as far as the wait has never seen them work."""
        if self.confirmed or error.transient:
            return False
        if isinstance(error, PermissionDeniedError | QuotaError):
            return error.from_api
        return isinstance(error, AuthenticationError) or not isinstance(error, APIError)

    def _awaits_output(self, over: Outcome, now: float) -> bool:
        """Whether a success has no output yet, and may have one a moment later."""
        if over.reason is not Reason.EMPTY:
            return False
        self._empty_since = now if self._empty_since is None else self._empty_since
        return now - self._empty_since < OUTPUT_GRACE

    @property
    def awaits_output(self) -> bool:
        """Whether the last response was a success without the output that may still come."""
        return self._empty_since is not None

    def _never_started(self, prediction: Prediction, now: float) -> bool:
        late = self.start_deadline is not None and now >= self.start_deadline
        return late and prediction.status is PredictionStatus.STARTING

    def _again(
        self, pause: float, now: float, line: str | None, warning: bool = False
    ) -> Again | Outcome:
        """Pause, but not past the deadline; at the deadline settle."""
        if self.deadline is not None and now >= self.deadline:
            return self.timed_out()
        return Again(self._until_deadline(pause, now), line, warning)

    def _until_deadline(self, pause: float, now: float) -> float:
        left = pause if self.deadline is None else min(pause, self.deadline - now)
        if self.start_deadline is not None and self.start_deadline > now:
            left = min(left, self.start_deadline - now)
        return max(SHORTEST_PAUSE, left)

    def _pause(self, now: float) -> float:
        learned = self.course.pause(now, self.poll_interval) if self.course else None
        if learned is not None:
            return max(SHORTEST_PAUSE, min(learned, self.poll_interval) * self._spread(0.05))
        waited = max(0.0, now - self.started_at)
        pause = FIRST_PAUSE if waited < FIRST_PAUSE else max(SHORTEST_PAUSE, waited / 2)
        return max(SHORTEST_PAUSE, min(pause, self.poll_interval) * self._spread(0.2))

    def _spread(self, share: float) -> float:
        return 1 - share + 2 * share * self.jitter()

    def timed_out(self) -> Outcome:
        """End the wait because its time is up."""
        return self._settle(Reason.TIMEOUT)

    def _settle(self, reason: Reason) -> Outcome:
        return Outcome(
            reason=reason,
            prediction_id=self.prediction_id,
            prediction=self.last,
            error=self.trouble,
            last_state=self.last.status_word if self.last else "",
        )


def _as_transient(error: QuickRouterError) -> QuickRouterError:
    """Return an error that Airflow retries: whatever was answered, the prediction may go on."""
    if error.transient:
        return error
    status, request_id = getattr(error, "status", None), getattr(error, "request_id", "")
    said = error.message if isinstance(error, APIError) else str(error)
    remedy = getattr(error, "remedy", "")
    message = f"polling failed for {PATIENCE / 60:.0f} minutes, at last with: {said}"
    message = f"{message.rstrip('.')}. {remedy}".strip()
    return UpstreamError(message, status=status, request_id=request_id)


def _clock(instant: float) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%H:%M:%S} UTC"
