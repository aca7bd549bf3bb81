"""Stopping a prediction: whether a killed task should, and what became of the attempt."""

from __future__ import annotations

from typing import Any

from airflow_provider_quickrouter.api.errors import APIError, QuickRouterError
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus

TIMEOUT, MARK, CLEAR = "timeout", "mark", "clear"
"""When a trigger cancels: at a deadline, when a person marks the task, when a person clears it."""

WORKER_BUDGET = 4.0
"""Seconds that a killed task may take to cancel: Airflow ends its process after five."""

WORKER_QUESTION = 1.5
"""Seconds of them in which Airflow may answer what becomes of the task."""

TRIGGERER_BUDGET = 5.0
"""Seconds that a trigger may take to cancel."""

TRIGGERER_LIMIT = 18.0
"""Seconds that a trigger may take to cancel many; Airflow ends its ``on_kill`` after thirty."""

TRIGGERER_QUESTION = 9.0
"""Seconds before them in which Airflow may answer what becomes of the task: with many triggers that
are killed at once, its API server takes a while."""

CANCEL_PAUSES = (0.0, 1.0, 2.0)
"""Seconds before each attempt to cancel; only after passing trouble is there another one."""

CANCELS_AT_ONCE = 8
"""Cancels of one task that are on their way at the same time."""

CANCELED = "It was canceled."
NOT_CANCELED = "It could not be canceled"

_ENDS = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
_CLEARED = frozenset({None, "restarting", "up_for_retry"})
"""States after which another attempt begins. None of them belongs to an attempt that still waits,
as "deferred", "scheduled", "queued" and "running" may."""
_NO_ROUTE = (404, 405, 501)
_STOPPED = (PredictionStatus.CANCELED, PredictionStatus.ABORTED)


def is_over(state: str | None, *, resumable: bool) -> bool:
    """Whether no attempt of a task instance in this state waits for its prediction.

    A person who marks a task as failed or as a success puts it into a final state before the task
    is killed. After a clear it has no state, or is restarting; when only its worker or triggerer
    stops, or another triggerer has taken over its trigger, it is running or deferred.

    :param resumable: the next attempt resumes the prediction.
    """
    return state in _ENDS or (not resumable and state in _CLEARED)


def canceled(prediction: Prediction) -> str:
    """Say what the answer to a cancel means."""
    if prediction.status.terminal and prediction.status not in _STOPPED:
        return f"It was already over: {prediction.status_word}."
    return CANCELED


def has_nothing_to_cancel(error: QuickRouterError) -> bool:
    """Whether a cancel was refused because the API does not know the id, or has no such route."""
    return isinstance(error, APIError) and error.from_api and error.status in (*_NO_ROUTE, 410)


def not_canceled(error: QuickRouterError) -> str:
    """Say why a prediction could not be canceled, and what that means for the bill."""
    if isinstance(error, APIError) and error.status in _NO_ROUTE:
        return (
            f"{NOT_CANCELED}, as the gateway has no way to, or does not know it (HTTP "
            f"{error.status}): if it runs, then until its Cancel-After limit, if it has one."
        )
    return f"{NOT_CANCELED} and may run on: {error}"


def may_run_on(told: str) -> bool:
    """Whether the sentence about a cancel leaves that open."""
    return told.startswith(NOT_CANCELED)


def is_canceled(told: str) -> bool:
    """Whether a cancel was sent, and the sentence about it says that nothing runs on."""
    return bool(told) and not may_run_on(told)


def tell(log: Any, prediction_id: str, told: str) -> None:
    """Log what became of a cancel: a warning if the prediction may run on, and cost."""
    (log.warning if may_run_on(told) else log.info)("Prediction %s: %s", prediction_id, told)
