"""The operator that submits one prediction and waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    AirflowTaskTimeout,
    conf,
)

from airflow_provider_quickrouter.api.errors import PredictionModerated
from airflow_provider_quickrouter.api.outcome import UNKNOWN_ID, Outcome, Reason
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.links import published_id
from airflow_provider_quickrouter.operators.submit import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.polling.limits import Limits
from airflow_provider_quickrouter.polling.poll import DEFAULT_POLL_INTERVAL, Again, Watch
from airflow_provider_quickrouter.submission.cancel import (
    CLEAR,
    MARK,
    TIMEOUT,
    is_canceled,
    may_run_on,
)
from airflow_provider_quickrouter.submission.submit import Durable
from airflow_provider_quickrouter.tasks.arguments import check_choice, seconds

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.submission.record import Attempt

DEFAULT_TIMEOUT = 7200.0
"""Seconds: the longest runs that were seen take 57 minutes, behind 17 of queue."""


class QuickRouterRunPredictionOperator(QuickRouterSubmitPredictionOperator):
    """Submit one prediction and wait for it; return its output, always a list.

    XCom: ``return_value`` is the output, ``prediction`` the manifest, from the create on.

    What a retry does is told at :class:`QuickRouterSubmitPredictionOperator`, and holds while
    waiting, too. A prediction that failed for a passing reason, was aborted or did not start in
    time is retried; what would last (moderation, bad input, out of memory), a deadline or a
    cancel fails the task for good.

    For ``input``, ``version``, ``model``, ``on_uncertain``, ``durable`` and
    ``quickrouter_conn_id`` see there.

    :param timeout: seconds or timedelta for the prediction, from its create on; the task's
        ``execution_timeout`` counts if it is shorter. Then the prediction is canceled and the
        task fails for good. On Airflow 2, which counts ``execution_timeout`` over the deferral
        and retries after it, limit a deferred task with ``timeout`` alone.
    :param start_timeout: seconds or timedelta in which it must have started; else it is canceled
        and the task is retried. None (default), since cold boots take minutes.
    :param cancel_after: seconds or timedelta after which the server itself ends the prediction.
        ``deadline`` (default) is a minute after the task's own, from the create on, also if
        the task is cleared since; None sets no limit.
    :param poll_interval: seconds, the longest pause between two questions.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param on_moderation: ``fail`` or ``skip`` the task when a filter refused the prediction.
    :param cancel_on_kill: cancel the prediction when a person marks the task as failed or as a
        success (while it is deferred: Airflow 3.3 and later); a clear leaves it to the next try
        if that takes it up.
    :param output_path: folder, as ``ObjectStoragePath`` takes it, in which to store the files of
        the output, like ``QuickRouterToObjectStorageOperator``, with XCom ``files``. Trouble with a
        file fails the task; a retry takes up the prediction and stores what is missing (one that
        comes after the API has deleted the output submits anew). Where nothing is remembered
        (``durable``) the task fails for good: a retry would pay again. A path that reaches no
        storage, or renders to nothing, is told before anything is paid. None stores nothing: the
        API deletes the files after an hour.
    """

    template_fields: Sequence[str] = (
        *QuickRouterSubmitPredictionOperator.template_fields,
        "output_path",
    )
    ui_color = "#e9d5ff"

    def __init__(
        self,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        start_timeout: float | timedelta | None = None,
        cancel_after: float | timedelta | Literal["deadline"] | None = "deadline",
        poll_interval: float | timedelta = DEFAULT_POLL_INTERVAL,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_moderation: Literal["fail", "skip"] = "fail",
        output_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        fixed: Any = None if cancel_after == "deadline" else cancel_after
        super().__init__(cancel_after=fixed, **kwargs)
        with airflow_errors():
            self.timeout = seconds("timeout", timeout)
            self.start_timeout = (
                None if start_timeout is None else seconds("start_timeout", start_timeout)
            )
            self.poll_interval = seconds("poll_interval", poll_interval)
            check_choice("on_moderation", on_moderation, "fail", "skip")
            self._keep_in(output_path)
        self.cancel_after = cancel_after
        self.deferrable = deferrable
        self.on_moderation = on_moderation
        self._watching: Watch | None = None

    def execute(self, context: Context) -> Any:
        """Submit or take up, and wait: here, or in the triggerer."""
        with airflow_errors():
            self._check_output_path()
        memory = self._remembered(context)
        try:
            with airflow_errors(resubmits=True):
                return self._finish(context, memory, self._wait(context, memory))
        except AirflowTaskTimeout as late:
            with airflow_errors(resubmits=True):
                memory.check_paid(late)
                return self._finish(context, memory, self._out_of_time(memory))

    def _wait(self, context: Context, memory: Durable) -> Outcome:
        """Obtain the prediction and wait for its end; or defer."""
        began = time.time()
        prediction, since = self._obtain(context, memory)
        self._watching = watch = self._watch(prediction.id, since, began)
        step = self._tell(watch.saw(prediction, time.time()))
        if isinstance(step, Again) and self.deferrable:
            memory.keep()
            self._hand_over(watch, self.execute_complete.__name__, self._cancel_on(memory))
        while isinstance(step, Again):
            time.sleep(step.after)
            memory.keep()
            step = self._ask(context, watch)
        return step

    def _out_of_time(self, memory: Durable) -> Outcome:
        """Make Airflow's ``execution_timeout`` the deadline that it is."""
        if self._watching:
            return self._watching.timed_out()
        return Outcome(reason=Reason.TIMEOUT, prediction_id=str(memory.prediction_id))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[Any]:
        """Go on after the trigger's event, which holds the outcome."""
        with airflow_errors(resubmits=True):
            outcome = self._with_log(Outcome.from_payload(event))
            return self._finish(context, self._remembered(context), outcome)

    def _finish(self, context: Context, memory: Durable, outcome: Outcome) -> list[Any]:
        if outcome.prediction_id == UNKNOWN_ID:
            known = _known_id(context, memory.record())
            outcome = replace(outcome, prediction_id=known)
        unknown = outcome.prediction_id == UNKNOWN_ID
        if self._is_given_up(memory, outcome) and not unknown:
            outcome = self._stopped(outcome)
        # A retry that finds nothing remembered would pay for another beside it.
        permanent = not memory.remembers and (unknown or may_run_on(outcome.stopped))
        try:
            output = self._end(context, outcome, permanent=permanent, pays=not memory.remembers)
        except PredictionModerated as error:
            if self.on_moderation == "skip":
                raise AirflowSkipException(str(error)) from None
            raise
        memory.succeeded()
        self.owns(None)
        return output

    def _is_given_up(self, memory: Durable, outcome: Outcome) -> bool:
        """Whether the prediction may still run, although no later attempt can resume it.

        What the trigger tried to cancel at a deadline, without success, is tried again here.
        """
        lost = outcome.reason is Reason.API_ERROR and not memory.remembers
        return not is_canceled(outcome.stopped) and (outcome.timed_out or lost)

    def resume_after_deadline(self, context: Context) -> list[Any]:
        """Cancel the prediction, and fail permanently: a retry would pay for another one."""
        memory = self._remembered(context)
        record = memory.record()
        if record and time.time() < record.begun_at + self._own_limit():
            raise AirflowException("Airflow ended the deferral before the prediction's deadline")
        with airflow_errors(resubmits=True):
            late = Outcome(reason=Reason.TIMEOUT, prediction_id=_known_id(context, record))
            return self._finish(context, memory, late)

    def _watch(self, prediction_id: str, since: float, began: float) -> Watch:
        limits = self._limits()
        return Watch(
            prediction_id,
            since,
            limits.deadline(since, began),
            self.poll_interval,
            limits.start_deadline(since),
        )

    def _limits(self) -> Limits:
        return Limits(self.timeout, self.execution_timeout, self.start_timeout)

    def _cancel_on(self, memory: Durable) -> list[str]:
        if not self.cancel_on_kill:
            return [TIMEOUT]
        return [TIMEOUT, MARK] if memory.remembers else [TIMEOUT, MARK, CLEAR]

    def _own_limit(self) -> float:
        return self._limits().own

    def _server_limit(self) -> Any:
        return self._limits().servers if self.cancel_after == "deadline" else self.cancel_after


def _known_id(context: Context, record: Attempt | None) -> str:
    """Return the id that is remembered, or else the one in XCom, which outlasts a deferral."""
    known = record.prediction_id if record else published_id(context)
    return known or UNKNOWN_ID
