"""The sensor that waits for a prediction: on a worker, by rescheduling, or in the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_quickrouter.api.errors import APIError, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.polling import (
    DEFAULT_POLL_INTERVAL,
    SHORTEST_PAUSE,
    Again,
    Watch,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.small import LEFT_OUT
from airflow_provider_quickrouter.hooks.exceptions import as_airflow
from airflow_provider_quickrouter.links import QuickRouterPredictionLink, publish
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

FRAMEWORK_MARGIN = 60.0
"""Seconds by which Airflow's own limit on the deferral lies behind the trigger's deadline."""


class QuickRouterPredictionSensor(BaseSensorOperator):
    """Wait until a prediction is over; return its output, always a list.

    XCom: ``return_value`` is the output, ``prediction`` the manifest; both are the same in
    every mode. A prediction that ended badly fails the task for good, since a retry would find
    the same end; ``soft_fail`` skips instead, in every mode. Trouble with the API is waited
    out for ten minutes; then the task fails and a retry takes up the same prediction. In
    ``reschedule`` mode, where each poke is a new process, it is waited out until ``timeout``.

    :param prediction_id: the id that the submitting task returned.
    :param poke_interval: seconds, the longest pause between two questions; the first ones come
        quicker. In ``reschedule`` mode it is the pause: give 60 or more there, since after a few
        seconds Airflow's scheduler may take the end of one poke for that of the next. Only
        there ``exponential_backoff`` and ``max_wait`` have a meaning.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = ("prediction_id",)
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#ede9fe"

    def __init__(
        self,
        *,
        prediction_id: str,
        poke_interval: float | timedelta = DEFAULT_POLL_INTERVAL,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.prediction_id = prediction_id
        self.deferrable = deferrable
        self.quickrouter_conn_id = quickrouter_conn_id
        self._waiting: Watch | None = None
        self._pause = SHORTEST_PAUSE

    @cached_property
    def hook(self) -> QuickRouterHook:
        """The hook of this task's connection."""
        # Here, since its HTTP clients take half a second that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

        return QuickRouterHook(self.quickrouter_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait in this process, or ask once and leave the rest to the triggerer."""
        if not self.deferrable:
            return self._wait_here(context)
        step = self._ask(context)
        if isinstance(step, Outcome):
            return self._finish(context, step)
        return self.defer(
            trigger=self._trigger(self._watch(context)),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout + FRAMEWORK_MARGIN),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once."""
        self._pause = self.poke_interval  # also if an error ends this poke and silent_fail goes on
        step = self._ask(context)
        if isinstance(step, Outcome):
            return PokeReturnValue(is_done=True, xcom_value=self._finish(context, step))
        self._pause = step.after
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[Any]:
        """Go on after the trigger's event, which holds the outcome."""
        return self._finish(context, self._with_log(Outcome.from_payload(event)))

    def _wait_here(self, context: Context) -> Any:
        """Let Airflow's own loop poke, which also knows how to reschedule."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout:
            return self._finish(context, self._watch(context).timed_out())

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Answer Airflow's loop, which would always wait for ``poke_interval``."""
        if self.reschedule:
            planned = super()._get_next_poke_interval(started_at, run_duration, poke_count)
            return max(planned, self._pause)
        return max(SHORTEST_PAUSE, min(self._pause, self.timeout - run_duration()))

    def _ask(self, context: Context) -> Again | Outcome:
        watch = self._watch(context)
        try:
            seen = self.hook.get_prediction(self.prediction_id)
        except APIError as error:
            if not (watch.last or watch.trouble):
                self._publish(context, Prediction.unseen(self.prediction_id))
            return self._tell(watch.failed(error, time.time()))
        except QuickRouterError as error:
            self._fail(error)
        if watch.last is None:
            self._publish(context, seen)
        return self._tell(watch.saw(seen, time.time()))

    def _tell(self, step: Again | Outcome) -> Again | Outcome:
        if isinstance(step, Again) and step.line:
            self.log.info(step.line)
        return step

    def _watch(self, context: Context) -> Watch:
        """Return the state of this wait, which lives as long as this process."""
        if self._waiting is None:
            started_at = self._started_at(context)
            deadline = started_at + self.timeout if self.deferrable else None
            self._waiting = Watch(self.prediction_id, started_at, deadline, self.poke_interval)
        return self._waiting

    def _started_at(self, context: Context) -> float:
        """When the first poke was, also for a poke in a later process.

        Airflow 2.11 does not tell: there an unknown id is asked for until ``timeout``.
        """
        ask_airflow = getattr(context["ti"], "get_first_reschedule_date", None)
        first = ask_airflow(context) if self.reschedule and ask_airflow else None
        return first.timestamp() if first else time.time()

    def _trigger(self, watch: Watch) -> QuickRouterPredictionTrigger:
        return QuickRouterPredictionTrigger(
            prediction_id=self.prediction_id,
            quickrouter_conn_id=self.quickrouter_conn_id,
            poll_interval=self.poke_interval,
            started_at=watch.started_at,
            deadline=watch.deadline,
        )

    def _publish(self, context: Context, prediction: Prediction) -> None:
        publish(context, prediction.manifest(self.hook.prediction_url(prediction.id)))

    def _finish(self, context: Context, outcome: Outcome) -> list[Any]:
        """End the wait: every path leads here, so every path ends alike."""
        if outcome.prediction:
            self._publish(context, outcome.prediction)
        error = outcome.exception()
        if error:
            self._fail(error)
        self.log.info("Prediction %s succeeded: %.200s", outcome.prediction_id, outcome.output)
        if LEFT_OUT in str(outcome.output):
            self.log.warning("A part of the output is too large for XCom: a note stands for it")
        return outcome.output

    def _with_log(self, outcome: Outcome) -> Outcome:
        """Ask once more after a bad end: events do not carry the model's log.

        What is over by now, a success after the deadline say, counts as it is.
        """
        if outcome.reason in (Reason.SUCCEEDED, Reason.API_ERROR):
            return outcome
        try:
            seen = self.hook.get_prediction(outcome.prediction_id)
        except QuickRouterError as error:
            self.log.warning("The model's log could not be fetched: %s", error)
            return outcome
        return Outcome.of(seen, time.time()) or replace(outcome, prediction=seen)

    def _fail(self, error: QuickRouterError) -> NoReturn:
        """Raise what Airflow understands; ``soft_fail`` and ``never_fail`` skip in every mode."""
        failure = as_airflow(error)
        cause = error if error.__traceback__ else None
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(f"Skipped instead of failed: {error}") from cause
        raise failure from cause
