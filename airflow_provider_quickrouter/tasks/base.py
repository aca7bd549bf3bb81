"""What operators and sensor have in common: asking, ending in one way, and being killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from pydantic import BaseModel

from airflow_provider_quickrouter.api.attachments import is_template, with_texts
from airflow_provider_quickrouter.api.errors import (
    APIError,
    AuthenticationError,
    FileUnavailable,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.folders import check_folder
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.outcome import Outcome, Reason, tell_success
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.hooks.airflow_errors import fail_without_retry
from airflow_provider_quickrouter.links import FILES_KEY, publish
from airflow_provider_quickrouter.polling.limits import airflows_limit
from airflow_provider_quickrouter.polling.poll import Again, Watch
from airflow_provider_quickrouter.submission import cancel
from airflow_provider_quickrouter.tasks.reporting import (
    count_end,
    harmless,
    stored_later,
    tell_outlets,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.files import StoredFile
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
    from airflow_provider_quickrouter.storage.store import Storing


_FAIL = "__fail__"
_DEFERRAL_TIMED_OUT = "Trigger timeout"
"""What Airflow writes into its database for a deferral that lasted longer than its limit, as method
and as error (``TRIGGER_FAIL_REPR`` and ``TriggerFailureReason`` of ``airflow.models.trigger``)."""


class PredictionTask:
    """Mixed into operators and sensor.

    ``cancel_on_kill``: cancel the prediction when Airflow kills this task because a person
    marked it, or because its ``execution_timeout`` came. Not when Airflow does not say that the
    task is over: the next attempt resumes the prediction, or ``Cancel-After`` ends it.
    """

    quickrouter_conn_id: str
    cancel_on_kill: bool
    output_path: Any = None
    _path_given = False
    do_xcom_push: bool
    log: Any
    defer: Callable[..., NoReturn]
    _running_id: str | None = None
    _ti: Any = None
    _resumable = True
    _was_killed = False
    _storing: Storing | None = None
    _made: tuple[Prediction | None, list[StoredFile]] | None = None

    @cached_property
    def hook(self) -> QuickRouterHook:
        """The hook of this task's connection."""
        # Here, since its HTTP clients take half a second that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

        return QuickRouterHook(self.quickrouter_conn_id)

    def _keep_in(self, output_path: Any) -> None:
        """Take the argument of that name; a text that cannot be one is refused at once."""
        self.output_path, self._path_given = output_path, output_path is not None
        if self._keeps and not is_template(output_path):
            check_folder("output_path", output_path)

    @property
    def _keeps(self) -> bool:
        return self._path_given or self.output_path is not None  # it may be rendered to None

    def _check_output_path(self) -> None:
        """Find out that no storage is reached by it before anything is paid, or waited for."""
        if self._keeps:
            # Here, as filesystems take a time that no parsing of DAGs should pay.
            from airflow_provider_quickrouter.storage.target import Target

            Target(self.output_path, "output_path")

    def on_kill(self) -> None:
        """Cancel the prediction, within 4 s, if ``cancel_on_kill``; never raises.

        While its files are being stored, stop that: no half file stays.
        """
        self._was_killed = True
        if self._storing:
            self._storing.stop()  # the prediction is over
            return
        if not (self.cancel_on_kill and self._running_id):
            return
        owner = cancel.Owner(self._ti, self._resumable, over=cancel.at_execution_timeout())
        # A session of its own: this task's may be in the middle of something.
        cancel.stop(self.hook.sibling, [self._running_id], owner, self.log)

    def still_wanted(self) -> bool:
        """Whether Airflow has not killed this task."""
        return not self._was_killed

    def owns(self, prediction_id: str | None, ti: Any = None, *, resumable: bool = True) -> None:
        """Remember what to cancel; a task that was killed meanwhile does it now.

        :param ti: this task instance, of which Airflow is asked whether it is over.
        :param resumable: its next attempt resumes the prediction.
        """
        self._running_id, self._ti, self._resumable = prediction_id, ti, resumable
        if self._was_killed:
            self.on_kill()

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a literal input; Airflow calls this.

        A model of ``api.models`` is rendered like a dict, and a path is shown as its string. What
        came from XCom, and so must not be rendered, is in ``seen_oids``.
        """
        if isinstance(content, dict | BaseModel) and id(content) not in (seen_oids or ()):
            content = as_dict(content) if isinstance(content, BaseModel) else with_texts(content)
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Resume after a deferral; Airflow calls this.

        Airflow's own limit on a deferral lies a minute after the trigger's deadline. When it ends
        the deferral, no triggerer ran the trigger in time: that is a timeout, while the error that
        Airflow raises by itself would be retried.
        """
        if next_method == _FAIL and (next_kwargs or {}).get("error") == _DEFERRAL_TIMED_OUT:
            return self.resume_after_deadline(context)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]

    def resume_after_deadline(self, context: Context) -> Any:
        """End the wait of a task whose deadline passed while no triggerer ran its trigger."""
        raise NotImplementedError

    def _hand_over(
        self, watch: Watch, method: str, cancel_on: Sequence[str], **ending: bool
    ) -> NoReturn:
        """Defer: the trigger goes on with the wait, and ``method`` with its event.

        :param ending: the trigger's arguments that say whether it ends the task itself.
        """
        # Here, as the hook: Airflow's triggers take a time that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

        trigger = QuickRouterPredictionTrigger(
            prediction_id=watch.prediction_id,
            quickrouter_conn_id=self.quickrouter_conn_id,
            poll_interval=watch.poll_interval,
            started_at=watch.started_at,
            deadline=watch.deadline,
            start_deadline=watch.start_deadline,
            confirmed=watch.confirmed,
            cancel_on=cancel_on,
            model=watch.last.model_name if watch.last else "",
            **ending,
        )
        limit = airflows_limit(watch.deadline or math.inf, time.time())
        self.defer(trigger=trigger, method_name=method, timeout=limit)

    def _ask(self, context: Context, watch: Watch) -> Again | Outcome:
        """Ask once; what is to be said goes into the log, what was seen first into XCom."""
        try:
            seen = self.poll_once(watch.prediction_id)
        except QuickRouterError as error:
            if isinstance(error, APIError) and not (watch.last or watch.trouble):
                self._publish(context, Prediction.unseen(watch.prediction_id))
            return self._tell(watch.failed(error, time.time()))
        if watch.last is None:
            self._publish(context, seen)
        return self._tell(watch.saw(seen, time.time()))

    def poll_once(self, prediction_id: str) -> Prediction:
        """Send one GET. After a 401 the connection is read again for the next one."""
        try:
            return self.hook.get_prediction(prediction_id)
        except AuthenticationError:
            vars(self).pop("hook", None)  # its key may have been replaced
            raise

    def look_up(self, prediction_id: str, *, confirmed: bool) -> Prediction:
        """Poll until there is a good response, for as long as a wait does.

        :param confirmed: the prediction is known to exist, see ``Watch``.
        :raises QuickRouterError: that with which a wait would end.
        """
        watch = Watch(prediction_id, time.time(), confirmed=confirmed)
        while True:
            try:
                return self.poll_once(prediction_id)
            except QuickRouterError as error:
                step = watch.failed(error, time.time())
                if isinstance(step, Outcome):
                    raise step.exception() or error from None
            step.log_to(self.log)
            time.sleep(step.after)

    def _tell(self, step: Again | Outcome) -> Again | Outcome:
        if isinstance(step, Again):
            step.log_to(self.log)
        return step

    def stop_now(self, prediction_id: str) -> str:
        """Cancel a prediction as well as possible; return, and log, what became of it."""
        told = cancel.stop_prediction(self.hook, prediction_id)
        cancel.tell(self.log, prediction_id, told)
        return told

    def _stopped(self, outcome: Outcome) -> Outcome:
        """Cancel a prediction that is given up, and see how it ended: maybe well by now."""
        told = self.stop_now(outcome.prediction_id)
        return self._with_log(replace(outcome, stopped=told))

    def _with_log(self, outcome: Outcome) -> Outcome:
        """Ask once more after a bad end: events do not carry the model's log.

        What is over by now, a success after the deadline say, counts as it is.
        """
        asked_in_vain = outcome.reason is Reason.API_ERROR and not outcome.stopped
        if outcome.reason is Reason.SUCCEEDED or asked_in_vain:
            return outcome
        try:
            return outcome.seen_again(self.hook.get_prediction(outcome.prediction_id), time.time())
        except (QuickRouterError, AirflowTaskTimeout) as error:
            self.log.warning("The model's log could not be fetched: %s", error)
            return outcome

    def _end(
        self, context: Context, outcome: Outcome, *, permanent: bool = False, pays: bool = False
    ) -> list[Any]:
        """End the wait: every path leads here, so every path ends alike.

        :param permanent: nothing is to be tried again after a bad end.
        :param pays: a retry after a success would pay again: none comes, whatever goes wrong then.
        :raises QuickRouterError: what a bad end means.
        """
        before = self.stored_before(outcome)
        error = None if before else outcome.exception()
        with fail_without_retry(pays and not error):
            if outcome.prediction:
                with harmless(self.log, "State and link of the prediction were not told"):
                    self._publish(context, outcome.prediction)
            count_end(outcome, time.time())
            if error:
                raise error.as_permanent() if permanent else error
            kept = self._keeps or stored_later(context["task"])
            tell_success(self.log, outcome, kept=kept)
            if prediction := outcome.prediction:
                self._tell_of(context, prediction, before or self._stored(prediction))
        return outcome.output

    def stored_before(self, outcome: Outcome) -> list[StoredFile]:
        """Return the files of an expired output if an earlier attempt has stored all of them.

        Nothing is missing then, although the API has deleted the output itself.
        """
        if not self._keeps or outcome.reason is not Reason.EXPIRED:
            return []
        from airflow_provider_quickrouter.storage.store import Storing

        storing = Storing(self.hook, self.log, path=self.output_path)
        return storing.stored_before(outcome.prediction_id)

    def _stored(self, prediction: Prediction) -> list[StoredFile] | None:
        """Store the files of an output, if that is this task's business."""
        if not self._keeps:
            return None
        # Here, since its HTTP client takes half a second that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.storage.store import STOPPED, Storing

        storing = self._stoppable(Storing(self.hook, self.log, path=self.output_path))
        try:
            return storing.store_prediction(prediction)
        except AirflowTaskTimeout:
            raise FileUnavailable(STOPPED) from None

    def _stoppable(self, storing: Storing) -> Storing:
        """Let a kill stop it, also one that came before."""
        self._storing = storing
        if self._was_killed:
            storing.stop()
        return storing

    def _tell_of(
        self, context: Context, prediction: Prediction | None, files: list[StoredFile] | None
    ) -> None:
        """Tell XCom, asset events and OpenLineage what there is now.

        :param files: None if nothing was to be stored.
        """
        if files is not None and self.do_xcom_push:
            context["ti"].xcom_push(key=FILES_KEY, value=[file.to_json() for file in files])
        tell_outlets(context, prediction, files or [])
        self._made = prediction, files or []

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Tell OpenLineage, which alone calls this, of the stored files and the prediction."""
        if self._made is None:
            return None
        from airflow_provider_quickrouter.tasks.lineage import lineage_of

        return lineage_of(*self._made)

    def _publish(self, context: Context, prediction: Prediction) -> None:
        publish(context, prediction.manifest(self.hook.prediction_url(prediction.id)))
