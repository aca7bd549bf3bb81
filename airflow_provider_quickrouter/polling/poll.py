"""When to poll again and when a wait is over: the same for operator, sensor and trigger.

Nothing here reads a clock or sleeps: ``now`` is an argument (epoch seconds), a pause is a
result. Every response and every error leads to a pause or to an outcome, never to an immediate poll.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from airflow_provider_quickrouter.polling.history import Timeline


DEFAULT_POLL_INTERVAL = 10.0  # seconds: the longest pause between two polls, unless the author sets another
FIRST_PAUSE = 1.0
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 300.0  # seconds; a server that names a longer pause is polled again after this
LONGEST_BACKOFF = 60.0  # seconds between two polls after errors, unless the server names a longer pause

# Seconds for which the API must return only 404 before the prediction counts as gone. A 404 may mean
# "not known yet", or come from a gateway that is just restarting.
GONE_AFTER = 60.0

PATIENCE = 600.0  # seconds of uninterrupted errors after which the wait gives up

# Seconds in which a success without any output is polled again: some gateways write the output a
# moment after the status.
OUTPUT_GRACE = 10.0
OUTPUT_PAUSE = 2.0  # seconds between two of these polls

# Seconds after which an unchanged state is logged again; or a quarter of the time waited, if that
# is longer: thousands of waits may take hours.
HEARTBEAT = 60.0

_TAIL = 4_096  # characters at the end of a log that may hold the last progress bar


class Again(NamedTuple):
    """The prediction is not over: poll it again, and log a line if there is one."""

    after: float  # seconds, never 0
    line: str | None = None
    warning: bool = False  # the line is about an outage that has started or ended

    def log_to(self, log: Any) -> None:
        """Log the line at its level."""
        if self.line:
            (log.warning if self.warning else log.info)(self.line)


def percentage(logs: str) -> int | None:
    """Return the percentage of a log's last progress bar (``50%|█████ | 25/50``), or None."""
    before, bar, _ = logs[-_TAIL:].rpartition("%|")
    found = re.search(r"(\d{1,3})$", before[-3:]) if bar else None
    return min(int(found[1]), 100) if found else None


@dataclass(slots=True)
class Poll:
    """One wait for one prediction: each response leads to a pause or to an outcome.

    The pause is half of the time already waited, at least 0.5 s and at most ``poll_interval``,
    plus or minus a fifth, so that many waits do not poll in step; or what the model's history
    shows (``timeline``), plus or minus a twentieth and within the same bounds. Errors double it up
    to a minute, and the server's ``retry_after`` is obeyed up to five.

    Which errors end the wait: a 404 of the API that lasts for a minute (the prediction is gone);
    a wrong key, if the prediction is not ``confirmed``; any error after ten minutes without a good
    response. A task can be retried after these ten minutes, whatever the errors were, since they
    showed nothing about the prediction. Instants are epoch seconds.
    """

    prediction_id: str
    started_at: float  # start of the wait; survives a change of process
    deadline: float | None = None  # when the wait ends without a result; None means never
    poll_interval: float = DEFAULT_POLL_INTERVAL
    # When the wait ends if the prediction has not started. Only a response from after it ends the wait.
    start_deadline: float | None = None
    jitter: Callable[[], float] = random.random  # returns numbers in [0, 1)
    timeline: Timeline | None = None  # None without a history of the model
    # The create request was accepted, or a GET for this id has succeeded: it may be paid for.
    confirmed: bool = True
    unfinished_at: float | None = None  # when the prediction was last known not to have ended
    last: Prediction | None = None  # the last good response
    error: QuickRouterError | None = None  # the error that followed it
    _failures: int = 0
    _failing_since: float | None = None
    _missing_since: float | None = None
    _empty_since: float | None = None
    _logged: tuple[str, int] | None = None  # the state and the quarter that were logged last
    _logged_at: float = 0.0

    def first_pause(self, now: float) -> float:
        """Return the seconds to wait before the first poll of this process."""
        # The deadline may have passed while no process was waiting; one poll is still sent then.
        return self._until_deadline(self._pause(now), now)

    def on_prediction(self, prediction: Prediction, now: float) -> Again | Outcome:
        """Return what a good response leads to."""
        if not prediction.status.terminal:
            self.unfinished_at = now
        elif self.unfinished_at is not None:
            prediction = prediction.ended_between(self.unfinished_at, now)
        self.last, self.confirmed = prediction, True
        if self.timeline:
            self.timeline.on_prediction(prediction, now)
        over = Outcome.of(prediction, now)
        self._empty_since = self._output_missing_since(over, now)
        outage = self._end_of_outage(now)
        if over and self._empty_since is None:
            return over
        if self._never_started(prediction, now):
            return self._settle(Reason.START_TIMEOUT)
        pause = self._pause(now) if self._empty_since is None else OUTPUT_PAUSE
        line = self._progress_line(prediction, now)
        if outage:
            line = f"{outage} {line or ''}".strip()
        step = self._again(pause, now, line, warning=bool(outage))
        return over if over and isinstance(step, Outcome) else step

    def on_error(self, error: QuickRouterError, now: float) -> Again | Outcome:
        """Return what an error leads to: a pause, unless it ends the wait."""
        self.error, self._failures, self._empty_since = error, self._failures + 1, None
        self._failing_since = now if self._failing_since is None else self._failing_since
        if self._is_gone(error, now) or self._is_refused(error):
            return self._settle(Reason.API_ERROR)
        if now - self._failing_since >= PATIENCE:
            self.error = _transient(error)
            return self._settle(Reason.API_ERROR)
        pause = max(
            backoff(self._failures, LONGEST_BACKOFF) * self._spread(0.2),
            self._pause(now),
            error.retry_after or 0.0,
        )
        pause = min(pause, LONGEST_PAUSE)
        if self._failures > 1:
            return self._again(pause, now, f"Polling again in {pause:.0f} s: {error}")
        until = _clock(self._failing_since + PATIENCE)
        since = f"Polling prediction {self.prediction_id} fails since {_clock(now)}"
        line = f"{since}: {error} Polling again in {pause:.0f} s, giving up at {until}."
        return self._again(pause, now, line, warning=True)

    def would_end(self, prediction: Prediction, now: float) -> bool:
        """Return whether a response with this prediction would end the wait."""
        late = self.deadline is not None and now >= self.deadline
        return late or prediction.status.terminal or self._never_started(prediction, now)

    @property
    def awaits_output(self) -> bool:
        """Whether the last response was a success without the output that may still come."""
        return self._empty_since is not None

    def timed_out(self) -> Outcome:
        """End the wait because its time is up."""
        return self._settle(Reason.TIMEOUT)

    def _progress_line(self, prediction: Prediction, now: float) -> str | None:
        """Return a line for a new state, for a further quarter, or after a minute; else None."""
        percent = percentage(prediction.logs)
        news = (prediction.status_word, (percent or 0) // 25)
        waited = max(0.0, now - self.started_at)
        if news == self._logged and now - self._logged_at < max(HEARTBEAT, waited / 4):
            return None
        self._logged, self._logged_at = news, now
        known = prediction.status is not PredictionStatus.UNKNOWN
        state = prediction.status_word if known else f"unknown state {prediction.status_word!r}"
        done = "" if percent is None else f", {percent}%"
        return f"Prediction {prediction.id}: {state}, waited {waited:.0f} s{done}"

    def _end_of_outage(self, now: float) -> str:
        """Clear earlier errors; return a line for the log if there were any."""
        since, failures = self._failing_since, self._failures
        self.error, self._failures = None, 0
        self._failing_since = self._missing_since = None
        if since is None:
            return ""
        errors = "1 error" if failures == 1 else f"{failures} errors"
        return f"Polling works again after {errors} in {now - since:.0f} s."

    def _is_gone(self, error: QuickRouterError, now: float) -> bool:
        """Return whether the API has returned only 404 for a minute."""
        if not (isinstance(error, NotFoundError) and error.from_api):
            self._missing_since = None
            return False
        self._missing_since = now if self._missing_since is None else self._missing_since
        return now - self._missing_since >= GONE_AFTER

    def _is_refused(self, error: QuickRouterError) -> bool:
        """Return whether key or connection are wrong and have never worked in this wait."""
        if self.confirmed or error.transient:
            return False
        if isinstance(error, PermissionDeniedError | QuotaError):
            return error.from_api
        return isinstance(error, AuthenticationError) or not isinstance(error, APIError)

    def _output_missing_since(self, over: Outcome | None, now: float) -> float | None:
        """Return since when a success has no output, if the output may still come."""
        if over is None or over.reason is not Reason.EMPTY:
            return None
        since = now if self._empty_since is None else self._empty_since
        return since if now - since < OUTPUT_GRACE else None

    def _never_started(self, prediction: Prediction, now: float) -> bool:
        late = self.start_deadline is not None and now >= self.start_deadline
        return late and prediction.status is PredictionStatus.STARTING

    def _again(self, pause: float, now: float, line: str | None, warning: bool = False) -> Again | Outcome:
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
        estimated = self.timeline.pause(now, self.poll_interval) if self.timeline else None
        if estimated is not None:
            return max(SHORTEST_PAUSE, min(estimated, self.poll_interval) * self._spread(0.05))
        waited = max(0.0, now - self.started_at)
        pause = FIRST_PAUSE if waited < FIRST_PAUSE else max(SHORTEST_PAUSE, waited / 2)
        return max(SHORTEST_PAUSE, min(pause, self.poll_interval) * self._spread(0.2))

    def _spread(self, share: float) -> float:
        return 1 - share + 2 * share * self.jitter()

    def _settle(self, reason: Reason) -> Outcome:
        return Outcome(
            reason=reason,
            prediction_id=self.prediction_id,
            prediction=self.last,
            error=self.error,
            last_state=self.last.status_word if self.last else "",
        )


def _transient(error: QuickRouterError) -> QuickRouterError:
    """Return an error that Airflow retries: the prediction may still run."""
    if error.transient:
        return error
    status, request_id = getattr(error, "status", None), getattr(error, "request_id", "")
    reason, remedy = str(error), ""
    if isinstance(error, APIError):
        reason, remedy = error.message, error.remedy
    message = f"polling failed for {PATIENCE / 60:.0f} minutes, at last with: {reason}"
    message = f"{message.rstrip('.')}. {remedy}".strip()
    return UpstreamError(message, status=status, request_id=request_id)


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%H:%M:%S} UTC"


LONGEST = 1e9  # seconds, about thirty years: the longest limit, so that a datetime can hold its end
FRAMEWORK_MARGIN = 60.0  # seconds from the trigger's deadline to Airflow's own limit on the deferral

# Seconds from the task's deadline to the server's own limit, `Cancel-After`. Airflow's limit comes
# well before it, so the task cancels its prediction itself and reports the timeout.
SERVER_MARGIN = 300.0


class Limits(NamedTuple):
    """The limits of one task. All instants are epoch seconds."""

    timeout: float  # for the prediction, from its create request on
    execution_timeout: timedelta | None = None  # Airflow's, for one attempt of the task
    start_timeout: float | None = None  # within which the prediction must have started

    @property
    def own(self) -> float:
        """Seconds for the prediction: the shorter one of both limits."""
        return min(self.timeout, self._attempt)

    @property
    def servers(self) -> float:
        """Seconds after which the server itself should end a forgotten prediction."""
        return self.own + SERVER_MARGIN

    def deadline(self, since: float, began: float) -> float:
        """When the wait is over: ``since`` is the create request, ``began`` this attempt of the task."""
        return min(since + self.own, began + self._attempt)

    def start_deadline(self, since: float) -> float | None:
        """When a prediction must have started, if it must."""
        return None if self.start_timeout is None else since + self.start_timeout

    @property
    def _attempt(self) -> float:
        if self.execution_timeout is None:
            return math.inf
        # Airflow ends a task without informing its trigger, so the task's own limit comes before.
        seconds = self.execution_timeout.total_seconds()
        return seconds - min(seconds / 10, 10.0)


def airflows_limit(deadline: float, now: float) -> timedelta:
    """Return Airflow's own limit on a deferral, which is later than the trigger's ``deadline``."""
    return timedelta(seconds=min(max(0.0, deadline - now) + FRAMEWORK_MARGIN, LONGEST))
