"""Canceling a prediction: only if Airflow reports that its task is over, in bounded time.

No response from Airflow means that the prediction is left running: the next attempt of the task
resumes it, or its ``Cancel-After`` limit ends it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_quickrouter.api.errors import APIError, QuickRouterError
from airflow_provider_quickrouter.api.files import counted
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.hooks import threads

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

# When a trigger cancels: at a deadline, when a person marks the task, when a person clears it.
TIMEOUT, MARK, CLEAR = "timeout", "mark", "clear"


class Limits(NamedTuple):
    """Seconds for the request to Airflow about the state of the task, and for all together."""

    state: float
    total: float


# Of a killed task: Airflow ends its process after five seconds.
WORKER = Limits(state=1.5, total=4.0)

# Of `on_kill` in a triggerer: Airflow ends it after thirty seconds, and where many triggers are
# killed at once, its API server takes a while to return a state.
TRIGGERER = Limits(state=9.0, total=27.0)

# Seconds that a trigger may take to cancel a prediction that has reached its deadline.
DEADLINE_CANCEL = 5.0

# Seconds before each attempt to cancel; another one follows only a transient error.
CANCEL_PAUSES = (0.0, 1.0, 2.0)

CANCELS_AT_ONCE = 8  # cancels of one task that are on their way at the same time

CANCELED = "It was canceled."
NOT_CANCELED = "It could not be canceled"

_ENDS = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
# States after which another attempt starts. None of them belongs to an attempt that still waits, as
# "deferred", "scheduled", "queued" and "running" may.
_CLEARED = frozenset({None, "restarting", "up_for_retry"})
_NO_ROUTE = (404, 405, 501)
_STOPPED = (PredictionStatus.CANCELED, PredictionStatus.ABORTED)

LATE = "Prediction %s could not be canceled in time and may run on"
ALL_LATE = "The predictions could not all be canceled in time"
LEFT = "Leaving prediction %s running: its task is not over, or Airflow does not report it"
ALL_LEFT = "Leaving %d predictions running: their task is not over, or Airflow does not report it"
UNKNOWN = "Airflow did not report the state of this task"

TO_LOG = 0.2  # seconds of a killed task's time that are reserved for logging what was not done


@dataclass(frozen=True)
class Owner:
    """The task instance that a prediction belongs to.

    :ivar ti: the task instance.
    :ivar resumable: its next attempt resumes the prediction.
    :ivar over: it is known to be over, as at its ``execution_timeout``.
    """

    ti: Any
    resumable: bool = True
    over: bool = False

    def is_over(self) -> bool:
        """Return whether Airflow reports that no attempt waits for the prediction. Blocks.

        Any exception means that Airflow does not report it.
        """
        return self.over or is_over(_state_of(self.ti), resumable=self.resumable)


class KillHandler:
    """What a kill of a task cancels: the prediction that it has created or waits for.

    :param make_hook: returns a hook with a session of its own, since the task's session may be in
        the middle of a request.
    :param enabled: the task's ``cancel_on_kill``.
    """

    def __init__(self, make_hook: Callable[[], QuickRouterHook], log: Any, *, enabled: bool) -> None:
        self._make_hook, self._log, self._enabled = make_hook, log, enabled
        self._prediction_id: str | None = None
        self._owner = Owner(None)
        self.killed = False

    def is_alive(self) -> bool:
        """Return whether Airflow has not killed the task."""
        return not self.killed

    def track(self, prediction_id: str | None, ti: Any = None, *, resumable: bool = True) -> None:
        """Remember what to cancel. A task that was killed meanwhile cancels it now.

        :param ti: the task instance whose state is requested from Airflow.
        :param resumable: its next attempt resumes the prediction.
        """
        self._prediction_id, self._owner = prediction_id, Owner(ti, resumable)
        if self.killed:
            self.on_kill()

    def on_kill(self) -> None:
        """Cancel the prediction within 4 s; never raises."""
        self.killed = True
        if self._enabled and self._prediction_id:
            # Airflow handles an ``execution_timeout`` while the task still counts as running.
            over = isinstance(sys.exception(), AirflowTaskTimeout)
            stop(self._make_hook, [self._prediction_id], replace(self._owner, over=over), self._log)


def stop(
    make_hook: Callable[[], QuickRouterHook],
    prediction_ids: Sequence[str],
    owner: Owner,
    log: Any,
    limits: Limits | None = None,
) -> None:
    """Cancel the predictions of a killed task, but only if Airflow reports that the task is over.

    Never raises, and returns within ``limits.total``. Works in a thread, since a signal handler
    calls this, and the code that it interrupted may hold any lock.

    :param limits: None for those of a worker.
    """
    limits = limits or WORKER
    until = time.monotonic() + limits.total - TO_LOG
    one = len(prediction_ids) == 1
    late = (LATE, prediction_ids[0]) if one else (ALL_LATE,)

    def work() -> None:
        if not (owner.over or _within(limits.state, owner.is_over, log, UNKNOWN)):
            log.info(*((LEFT, prediction_ids[0]) if one else (ALL_LEFT, len(prediction_ids))))
        elif one:
            cancel_and_log(make_hook(), prediction_ids[0], log)
        else:
            _cancel_all(make_hook(), prediction_ids, until, log)

    _within(limits.total, work, log, *late)


async def stop_in_triggerer(
    make_hook: Callable[[], QuickRouterHook], prediction_ids: Sequence[str], owner: Owner, log: Any
) -> None:
    """Call :func:`stop` with the limits of a triggerer, without blocking the event loop.

    Airflow cancels a trigger again each second, also while its ``on_kill`` runs, so cancellation
    is ignored until it is done.
    """
    work = partial(stop, make_hook, prediction_ids, owner, log, TRIGGERER)
    stopping = asyncio.wrap_future(threads.start(work))
    while not stopping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)


def cancel(hook: QuickRouterHook, prediction_id: str) -> str:
    """Cancel a prediction; return a sentence on the result. Blocks.

    It is requested again after a transient error.
    """
    result = ""
    for pause in CANCEL_PAUSES:
        time.sleep(pause)
        try:
            return canceled(hook.cancel_prediction(prediction_id))
        except QuickRouterError as error:
            result = not_canceled(error)
            if not error.transient:
                break
    return result


async def cancel_in_thread(hook: QuickRouterHook, prediction_id: str) -> str:
    """Call :func:`cancel` without blocking the event loop."""
    work = partial(cancel, hook.sibling(), prediction_id)
    return await asyncio.wrap_future(threads.start(work))


def cancel_and_log(hook: QuickRouterHook, prediction_id: str, log: Any) -> str:
    """Cancel a prediction; log the result, as a warning if the prediction may run on and cost."""
    result = cancel(hook, prediction_id)
    (log.warning if may_run_on(result) else log.info)("Prediction %s: %s", prediction_id, result)
    return result


def _cancel_all(hook: QuickRouterHook, prediction_ids: Sequence[str], until: float, log: Any) -> None:
    """Cancel as many as there is time for, a few at once."""
    ids, done = deque(prediction_ids), list[str]()

    def work() -> None:
        own = hook.sibling()  # a session belongs to one thread
        while ids and time.monotonic() < until:
            with suppress(IndexError):  # another thread took the last one
                prediction_id = ids.popleft()
                if not may_run_on(cancel(own, prediction_id)):
                    done.append(prediction_id)

    workers = [threads.start(work) for _ in range(min(CANCELS_AT_ONCE, len(ids)))]
    wait(workers, max(0.0, until - time.monotonic()))
    left = len(prediction_ids) - len(done)
    (log.warning if left else log.info)(
        "%s canceled, %d may run on", counted(len(prediction_ids) - left, "prediction"), left
    )


def _within(seconds: float, work: Callable[[], Any], log: Any, *complaint: Any) -> Any:
    """Return what ``work`` returns; log a complaint and return None if it fails or is late."""
    try:
        return threads.start(work).result(seconds)
    except TimeoutError:
        log.warning(*complaint)
    except Exception:
        log.warning(*complaint, exc_info=True)
    return None


def _state_of(ti: Any) -> Any:
    """Return the state that Airflow has for a task instance now; None for none. Blocks."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2: workers read the database
        return ti.current_state()
    index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
    found = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    (state,) = found[ti.run_id].values()
    return state


def is_over(state: str | None, *, resumable: bool) -> bool:
    """Return whether no attempt of a task instance in this state waits for its prediction.

    A person who marks a task as failed or as a success puts it into a final state before the task
    is killed. After a clear it has no state, or is restarting; when only its worker or triggerer
    stops, or another triggerer has taken over its trigger, it is running or deferred.

    :param resumable: the next attempt resumes the prediction.
    """
    return state in _ENDS or (not resumable and state in _CLEARED)


def canceled(prediction: Prediction) -> str:
    """Return what the response to a cancel means."""
    over = prediction.status.terminal and prediction.status not in _STOPPED
    return f"It was already over: {prediction.status_word}." if over else CANCELED


def has_nothing_to_cancel(error: QuickRouterError) -> bool:
    """Return whether a cancel failed because the API knows no such id, or has no such route."""
    return isinstance(error, APIError) and error.from_api and error.status in (*_NO_ROUTE, 410)


def not_canceled(error: QuickRouterError) -> str:
    """Return why a prediction could not be canceled, and what that means for the bill."""
    if isinstance(error, APIError) and error.status in _NO_ROUTE:
        return (
            f"{NOT_CANCELED}, as the gateway has no way to, or does not know it (HTTP "
            f"{error.status}): if it runs, then until its Cancel-After limit, if it has one."
        )
    return f"{NOT_CANCELED} and may run on: {error}"


def may_run_on(result: str) -> bool:
    """Return whether the sentence about a cancel leaves open that the prediction runs."""
    return result.startswith(NOT_CANCELED)


def is_canceled(result: str) -> bool:
    """Return whether a cancel was sent, and the sentence about it states that nothing runs."""
    return bool(result) and not may_run_on(result)
