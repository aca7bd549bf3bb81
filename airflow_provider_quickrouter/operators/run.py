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
from airflow_provider_quickrouter.operators.submit import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.polling.limits import Limits
from airflow_provider_quickrouter.polling.poll import DEFAULT_POLL_INTERVAL, Again, Poll
from airflow_provider_quickrouter.submission.cancel import (
    CLEAR,
    MARK,
    TIMEOUT,
    is_canceled,
    may_run_on,
)
from airflow_provider_quickrouter.submission.store import RecordStore
from airflow_provider_quickrouter.submission.submit import Submission
from airflow_provider_quickrouter.tasks.arguments import check_choice, seconds
from airflow_provider_quickrouter.tasks.reporting import pushed_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

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
            self.set_output_path(output_path)
        self.cancel_after = cancel_after
        self.deferrable = deferrable
        self.on_moderation = on_moderation
        self._poll: Poll | None = None

    def execute(self, context: Context) -> Any:
        """Submit or resume, and wait: here, or in the triggerer."""
        with airflow_errors():
            self.check_output_path()
        submission = self._submission(context)
        try:
            with airflow_errors(resubmits=True):
                outcome = self._wait(context, submission)
                return self._finish(context, submission.store, outcome)
        except AirflowTaskTimeout as late:
            with airflow_errors(resubmits=True):
                submission.check_paid(late)
                # Airflow's ``execution_timeout`` is a deadline like the task's own.
                outcome = (
                    self._poll.timed_out()
                    if self._poll
                    else _timeout(str(submission.prediction_id))
                )
                return self._finish(context, submission.store, outcome)

    def _wait(self, context: Context, submission: Submission) -> Outcome:
        """Obtain the prediction and wait for its end; or defer."""
        began, limits = time.time(), self._limits()
        prediction, since = self._obtain(context, submission)
        self._poll = poll = Poll(
            prediction.id,
            since,
            limits.deadline(since, began),
            self.poll_interval,
            limits.start_deadline(since),
        )
        step = poll.on_prediction(prediction, time.time())
        if isinstance(step, Again):
            step.log_to(self.log)
            if self.deferrable:
                submission.store.flush()
                method = self.execute_complete.__name__
                self.defer_to_trigger(poll, method, self._cancel_on(submission.store))
        while isinstance(step, Again):
            time.sleep(step.after)
            submission.store.flush()
            step = self.poll_once(context, poll)
        return step

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[Any]:
        """Resume after the trigger's event, which holds the outcome."""
        with airflow_errors(resubmits=True):
            outcome = self.polled_again(Outcome.from_payload(event))
            return self._finish(context, self._store_of(context), outcome)

    def resume_after_deadline(self, context: Context) -> list[Any]:
        """Cancel the prediction, and fail permanently: a retry would pay for another one."""
        store = self._store_of(context)
        record = store.load()
        if record and time.time() < record.begun_at + self._own_limit():
            raise AirflowException("Airflow ended the deferral before the prediction's deadline")
        with airflow_errors(resubmits=True):
            return self._finish(context, store, _timeout(UNKNOWN_ID))

    def _finish(self, context: Context, store: RecordStore, outcome: Outcome) -> list[Any]:
        """Cancel what is given up, end the task, and return the output."""
        if outcome.prediction_id == UNKNOWN_ID:
            record = store.load()
            # The manifest in XCom outlasts a deferral where no record is stored.
            known = record.prediction_id if record else pushed_id(context)
            outcome = replace(outcome, prediction_id=known or UNKNOWN_ID)
        unknown = outcome.prediction_id == UNKNOWN_ID
        # The trigger's own cancel at a deadline may have failed: then it is tried again here.
        no_later_attempt = outcome.reason is Reason.API_ERROR and not store.is_durable
        given_up = outcome.timed_out or no_later_attempt
        if given_up and not unknown and not is_canceled(outcome.stopped):
            outcome = self.canceled(outcome)
        # A retry without a record would pay for another prediction beside this one.
        permanent = not store.is_durable and (unknown or may_run_on(outcome.stopped))
        try:
            output = self.end(context, outcome, permanent=permanent, pays=not store.is_durable)
        except PredictionModerated as error:
            if self.on_moderation == "skip":
                raise AirflowSkipException(str(error)) from None
            raise
        store.mark_done()
        self.kill_handler.track(None)
        return output

    def _limits(self) -> Limits:
        return Limits(self.timeout, self.execution_timeout, self.start_timeout)

    def _cancel_on(self, store: RecordStore) -> list[str]:
        if not self.cancel_on_kill:
            return [TIMEOUT]
        return [TIMEOUT, MARK] if store.is_durable else [TIMEOUT, MARK, CLEAR]

    def _own_limit(self) -> float:
        return self._limits().own

    def _server_limit(self) -> Any:
        return self._limits().servers if self.cancel_after == "deadline" else self.cancel_after


def _timeout(prediction_id: str) -> Outcome:
    return Outcome(reason=Reason.TIMEOUT, prediction_id=prediction_id)
