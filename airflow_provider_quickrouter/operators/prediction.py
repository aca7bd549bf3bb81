"""The operators that make predictions: submit only, submit and wait, or thousands at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    conf,
)

from airflow_provider_quickrouter.api.errors import PredictionModerated
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.limits import Limits
from airflow_provider_quickrouter.api.outcome import UNKNOWN_ID, Outcome, Reason
from airflow_provider_quickrouter.api.polling import DEFAULT_POLL_INTERVAL, Again, Watch
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, create
from airflow_provider_quickrouter.api.stopping import CLEAR, MARK, TIMEOUT, may_run_on
from airflow_provider_quickrouter.hooks.exceptions import airflow_errors
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.operators.arguments import (
    check_choice,
    check_create,
    is_template,
    seconds,
)
from airflow_provider_quickrouter.operators.durable import Durable
from airflow_provider_quickrouter.task import PredictionTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.operators.batch import QuickRouterBatchPredictionOperator

__all__ = [
    "QuickRouterBatchPredictionOperator",
    "QuickRouterRunPredictionOperator",
    "QuickRouterSubmitPredictionOperator",
]


def __getattr__(name: str) -> Any:
    """Import the batch operator when it is asked for: most DAG files have none, and are quicker."""
    if name == "QuickRouterBatchPredictionOperator":
        from airflow_provider_quickrouter.operators import batch

        return batch.QuickRouterBatchPredictionOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


DEFAULT_TIMEOUT = 7200.0
"""Seconds: the longest runs that were seen take 57 minutes, behind 17 of queue."""


class QuickRouterSubmitPredictionOperator(PredictionTask, BaseOperator):
    """Submit one prediction and return its id at once.

    XCom: ``return_value`` is the id, ``prediction`` the manifest. The prediction costs money
    once it is accepted.

    A retry, on Airflow 3.3 and later, takes up the prediction of the try before if it runs or
    has succeeded, and submits anew if it ended badly, is gone, or if the input has changed. So
    does a person's clear, except of a task that had succeeded: that submits anew. Before 3.3 a
    retry submits anew; it happens only after errors that accepted nothing, or a lost worker.

    :param input: dict, or a model of ``api.models``; may hold templates at any depth. For a
        known model it is checked, as far as it is constant, when the DAG is parsed.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name.
    :param cancel_after: seconds or timedelta, at least 5 s, after which the server itself ends
        the prediction, as a net against forgotten ones. None sets no limit.
    :param on_uncertain: after a create whose answer was lost, so that the prediction may run and
        be billed: ``fail`` without a retry, so that a person decides, or let a retry ``resubmit``.
    :param durable: remember the prediction in ``task_state_store`` (Airflow 3.3 and later).
    :param cancel_on_kill: cancel the prediction when a person marks the running task; not when
        another try takes it up.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = ("input", "version", "model")
    template_fields_renderers: ClassVar[dict[str, str]] = {"input": "json"}
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        input: Any,
        version: str | None = None,
        model: str | None = None,
        cancel_after: float | timedelta | None = None,
        on_uncertain: Literal["fail", "resubmit"] = "fail",
        durable: bool = True,
        cancel_on_kill: bool = True,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():  # Airflow's at once: a mapped task comes here on the worker
            self.input = input if is_template(input) else as_dict(input)
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
            check_create(self.input, version, model, cancel_after)
        self.version = version
        self.model = model
        self.cancel_after: Any = cancel_after
        self.on_uncertain = on_uncertain
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id

    def execute(self, context: Context) -> Any:
        """Create the prediction, or take up that of an earlier try; return its id."""
        memory = self._remembered(context)
        try:
            with airflow_errors(anew=True):
                self._obtain(context, memory)
                memory.succeeded()
                return memory.prediction_id
        except AirflowTaskTimeout as late:
            with airflow_errors(anew=True):
                memory.check_paid(late)
        return memory.prediction_id

    def _obtain(self, context: Context, memory: Durable) -> tuple[Prediction, float]:
        """Return the task's prediction and since when its time counts; leave its manifest."""
        prediction, since = memory.obtain(self._request(), cancel_other=self.cancel_on_kill)
        try:
            self._publish(context, prediction)
        except Exception:
            # It is paid for: nothing may lead to a retry now, which could pay again.
            self.log.exception("The manifest of prediction %s was not stored", prediction.id)
        return prediction, since

    def _remembered(self, context: Context) -> Durable:
        return Durable(
            self, context, durable=self.durable, resubmit=self.on_uncertain == "resubmit"
        )

    def _request(self) -> Request:
        limit = self._server_limit()
        return create(self.input, version=self.version, model=self.model, cancel_after=limit)

    def _server_limit(self) -> Any:
        return self.cancel_after


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
    """

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
        self.cancel_after = cancel_after
        self.deferrable = deferrable
        self.on_moderation = on_moderation
        self._watching: Watch | None = None

    def execute(self, context: Context) -> Any:
        """Submit or take up, and wait: here, or in the triggerer."""
        memory = self._remembered(context)
        try:
            with airflow_errors(anew=True):
                return self._finish(context, memory, self._wait(context, memory))
        except AirflowTaskTimeout as late:
            with airflow_errors(anew=True):
                memory.check_paid(late)
                return self._finish(context, memory, self._out_of_time(memory))

    def _wait(self, context: Context, memory: Durable) -> Outcome:
        """Obtain the prediction and wait for its end; or defer."""
        began = time.time()
        prediction, since = self._obtain(context, memory)
        self._watching = watch = self._watch(prediction.id, since, began)
        step = self._tell(watch.saw(prediction, time.time()))
        if isinstance(step, Again) and self.deferrable:
            self._hand_over(watch, self.execute_complete.__name__, self._cancel_on(memory))
        while isinstance(step, Again):
            time.sleep(step.after)
            step = self._ask(context, watch)
        return step

    def _out_of_time(self, memory: Durable) -> Outcome:
        """Make Airflow's ``execution_timeout`` the deadline that it is."""
        if self._watching:
            return self._watching.timed_out()
        return Outcome(reason=Reason.TIMEOUT, prediction_id=str(memory.prediction_id))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[Any]:
        """Go on after the trigger's event, which holds the outcome."""
        with airflow_errors(anew=True):
            outcome = self._with_log(Outcome.from_payload(event))
            return self._finish(context, self._remembered(context), outcome)

    def _finish(self, context: Context, memory: Durable, outcome: Outcome) -> list[Any]:
        if outcome.prediction_id == UNKNOWN_ID:
            outcome = replace(outcome, prediction_id=memory.known_id() or UNKNOWN_ID)
        unknown = outcome.prediction_id == UNKNOWN_ID
        if self._given_up(memory, outcome) and not unknown:
            outcome = self._stopped(outcome)
        # A retry that finds nothing remembered would pay for another beside it.
        for_good = not memory.remembers and (unknown or may_run_on(outcome.stopped))
        try:
            output = self._end(context, outcome, for_good=for_good)
        except PredictionModerated as error:
            if self.on_moderation == "skip":
                raise AirflowSkipException(str(error)) from None
            raise
        memory.succeeded()
        self.owns(None, None)
        return output

    def _given_up(self, memory: Durable, outcome: Outcome) -> bool:
        """Whether the prediction may still run, and neither the trigger nor a retry cares."""
        failed = outcome.reason is Reason.API_ERROR and not memory.retried_after(outcome.error)
        return not outcome.stopped and (outcome.timed_out or failed)

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

    def _server_limit(self) -> Any:
        return self._limits().servers if self.cancel_after == "deadline" else self.cancel_after
