"""The operators that make predictions: submit only, or submit and wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.polling import DEFAULT_POLL_INTERVAL, Again, Watch
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, create
from airflow_provider_quickrouter.hooks.exceptions import airflow_errors
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.operators.arguments import (
    check_choice,
    check_create,
    check_seconds,
    is_template,
)
from airflow_provider_quickrouter.operators.durable import Durable
from airflow_provider_quickrouter.task import (
    PredictionTask,
    deferral_timeout,
    own_limit,
    seconds_of,
)
from airflow_provider_quickrouter.triggers.prediction import (
    CLEAR,
    MARK,
    TIMEOUT,
    QuickRouterPredictionTrigger,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

DEFAULT_TIMEOUT = 7200.0
"""Seconds: the longest runs that were seen take 57 minutes, behind 17 of queue."""

CANCEL_AFTER_MARGIN = 60.0
"""Seconds by which the server's own limit lies behind the task's."""


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
    :param cancel_on_kill: cancel the prediction when a person marks the running task, or its
        ``execution_timeout`` comes; not when another try takes it up.
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
        with airflow_errors():
            self.input = input if is_template(input) else as_dict(input)
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
        self.version = version
        self.model = model
        self.cancel_after: Any = cancel_after
        self.on_uncertain = on_uncertain
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id
        self._check_constants()

    def execute(self, context: Context) -> Any:
        """Create the prediction, or take up that of an earlier try; return its id."""
        with airflow_errors(anew=True):
            prediction, _ = self._obtain(context)
        self._remembered(context).succeeded()
        return prediction.id

    def _obtain(self, context: Context) -> tuple[Prediction, float]:
        """Return the task's prediction and since when its time counts; leave its manifest."""
        memory = self._remembered(context)
        prediction, since = memory.obtain(self._request(), cancel_other=self.cancel_on_kill)
        self._runs(prediction.id, context["ti"] if memory.remembers else None)
        try:
            self._publish(context, prediction)
        except (Exception, AirflowTaskTimeout):
            # It is paid for: nothing may lead to a retry now, which could pay again.
            self.log.exception("The manifest of prediction %s was not stored", prediction.id)
        return prediction, since

    def _remembered(self, context: Context) -> Durable:
        resubmit = self.on_uncertain == "resubmit"
        return Durable(self.hook, context, self.log, durable=self.durable, resubmit=resubmit)

    def _request(self) -> Request:
        limit = self._server_limit()
        return create(self.input, version=self.version, model=self.model, cancel_after=limit)

    def _server_limit(self) -> Any:
        return self.cancel_after

    def _check_constants(self) -> None:
        """Refuse what is already known to be wrong; templates are checked when the task runs.

        The error is Airflow's at once: a mapped task comes here on the worker.
        """
        with airflow_errors():
            check_create(self.input, self.version, self.model, self.cancel_after)


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
        task fails for good.
    :param start_timeout: seconds or timedelta in which it must have started; else it is canceled
        and the task is retried. None (default), since cold boots take minutes.
    :param cancel_after: seconds or timedelta after which the server itself ends the prediction.
        ``deadline`` (default) is a minute after the task's own; None sets no limit.
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
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_moderation: Literal["fail", "skip"] = "fail",
        **kwargs: Any,
    ) -> None:
        fixed: Any = None if cancel_after == "deadline" else cancel_after
        super().__init__(cancel_after=fixed, **kwargs)
        with airflow_errors():
            check_seconds("timeout", timeout)
            check_seconds("start_timeout", start_timeout)
            check_seconds("poll_interval", poll_interval)
            check_choice("on_moderation", on_moderation, "fail", "skip")
        self.timeout = timeout
        self.start_timeout = start_timeout
        self.cancel_after = cancel_after
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self.on_moderation = on_moderation

    def execute(self, context: Context) -> Any:
        """Submit or take up, and wait: here, or in the triggerer."""
        with airflow_errors(anew=True):
            began = time.time()
            prediction, since = self._obtain(context)
            watch = self._watch(prediction.id, since, began)
            step = self._tell(watch.saw(prediction, time.time()))
            if isinstance(step, Outcome) or not self.deferrable:
                return self._finish(context, self._stopped(self._wait_here(context, watch, step)))
        return self.defer(
            trigger=self._trigger(watch),
            method_name=self.execute_complete.__name__,
            timeout=deferral_timeout(watch.deadline),
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[Any]:
        """Go on after the trigger's event, which holds the outcome."""
        with airflow_errors(anew=True):
            return self._finish(context, self._with_log(Outcome.from_payload(event)))

    def _wait_here(self, context: Context, watch: Watch, step: Again | Outcome) -> Outcome:
        try:
            while isinstance(step, Again):
                time.sleep(step.after)
                step = self._ask(context, watch)
        except AirflowTaskTimeout:
            return watch.timed_out()
        return step

    def _finish(self, context: Context, outcome: Outcome) -> list[Any]:
        if self._given_up(context, outcome):
            self.log.warning(self.hook.stop_prediction(outcome.prediction_id))
        try:
            output = self._end(context, outcome)
        except PredictionModerated as error:
            if self.on_moderation == "skip":
                raise AirflowSkipException(str(error)) from None
            raise
        self._remembered(context).succeeded()
        return output

    def _given_up(self, context: Context, outcome: Outcome) -> bool:
        """Whether the prediction may still run though no later try will take it up."""
        if outcome.reason is not Reason.API_ERROR:
            return False
        task_instance = context["ti"]
        retried = outcome.error and outcome.error.transient and self._remembered(context).remembers
        return not (retried and task_instance.try_number <= task_instance.max_tries)

    def _watch(self, prediction_id: str, since: float, began: float) -> Watch:
        """Say how long to wait: ``since`` the create, and not beyond Airflow's limit on this try.

        :param began: when this try began, epoch seconds.
        """
        limit = own_limit(self.timeout, self.execution_timeout)
        return Watch(
            prediction_id,
            since,
            min(since + limit, began + own_limit(None, self.execution_timeout)),
            self.poll_interval,
            None if self.start_timeout is None else since + seconds_of(self.start_timeout),
        )

    def _trigger(self, watch: Watch) -> QuickRouterPredictionTrigger:
        return QuickRouterPredictionTrigger(
            prediction_id=watch.prediction_id,
            quickrouter_conn_id=self.quickrouter_conn_id,
            poll_interval=self.poll_interval,
            started_at=watch.started_at,
            deadline=watch.deadline,
            start_deadline=watch.start_deadline,
            cancel_on=self._cancel_on(),
        )

    def _cancel_on(self) -> list[str]:
        if not self.cancel_on_kill:
            return [TIMEOUT]
        return [TIMEOUT, MARK] if self._next_try else [TIMEOUT, MARK, CLEAR]

    def _server_limit(self) -> Any:
        if self.cancel_after != "deadline":
            return self.cancel_after
        return own_limit(self.timeout, self.execution_timeout) + CANCEL_AFTER_MARGIN
