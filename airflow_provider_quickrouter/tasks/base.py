"""What operators and sensor have in common: polling, one way to end, and being killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, XComNotFound
from pydantic import BaseModel

from airflow_provider_quickrouter.api.attachments import with_paths, without_missing
from airflow_provider_quickrouter.api.errors import APIError, FileUnavailable, QuickRouterError
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.outcome import Outcome, Reason, log_success
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors, fail_without_retry
from airflow_provider_quickrouter.links import FILE_KEY, FILES_KEY
from airflow_provider_quickrouter.polling.poll import Again, Poll, airflows_limit
from airflow_provider_quickrouter.storage.target import check_path
from airflow_provider_quickrouter.submission.cancel import KillHandler, cancel_and_log
from airflow_provider_quickrouter.tasks.arguments import check_names, check_template
from airflow_provider_quickrouter.tasks.reporting import (
    add_to_asset_events,
    asset_extra,
    count_end,
    file_xcoms,
    log_and_continue,
    push_manifest,
    stored_downstream,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.files import StoredFile
    from airflow_provider_quickrouter.api.protocol import Request
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
    from airflow_provider_quickrouter.storage.store import Storing


_FAIL = "__fail__"
# What Airflow writes into its database for a deferral that lasted longer than its limit, as method
# and as error (`TRIGGER_FAIL_REPR` and `TriggerFailureReason` of `airflow.models.trigger`).
_DEFERRAL_TIMED_OUT = "Trigger timeout"


class PredictionTask:
    """Mixed into operators and sensor.

    ``cancel_on_kill``: cancel the prediction when Airflow kills this task because a person
    marked it, or because its ``execution_timeout`` came. Not when Airflow does not report that
    the task is over: the next attempt resumes the prediction, or ``Cancel-After`` ends it.
    """

    quickrouter_conn_id: str
    cancel_on_kill: bool
    output_path: Any = None
    allow_empty: bool = False
    do_xcom_push: bool
    log: Any
    defer: Callable[..., NoReturn]
    _path_given = False
    _storing: Storing | None = None
    _verified: Mapping[str, list[StoredFile]] = MappingProxyType({})
    _reused = False  # the prediction of an equal request is returned, see ``reuse``
    _published: tuple[Prediction | None, list[StoredFile]] | None = None

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        """Refuse an unknown argument, before Airflow misses the one that was meant."""
        check_names(arguments, cls)
        return super().__new__(cls)

    @classmethod
    def partial(cls, **arguments: Any) -> Any:
        """Start a mapped task, as Airflow's ``partial`` does; refuse an unknown argument."""
        check_names(arguments, cls)
        return super().partial(**arguments)  # type: ignore[misc]

    def _check_templates(self, *names: str) -> None:
        """Refuse values of template fields that Airflow could not render."""
        task: Any = self
        dag = task.get_dag()
        # The DAG does not list the instances of a mapped task: their values may be data.
        if dag and dag.task_dict.get(task.task_id) is self:
            with airflow_errors():
                for name in names:
                    argument = name.removeprefix("given_")  # given_output is the argument output
                    check_template(argument, getattr(self, name), task.get_template_env().parse)

    @cached_property
    def hook(self) -> QuickRouterHook:
        """The hook of this task's connection."""
        # Imported here, since its HTTP clients take half a second that parsing should not pay.
        from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

        return QuickRouterHook(self.quickrouter_conn_id)

    @cached_property
    def kill_handler(self) -> KillHandler:
        """What a kill of this task cancels."""
        return KillHandler(lambda: self.hook.sibling(), self.log, enabled=self.cancel_on_kill)

    def on_kill(self) -> None:
        """Cancel the prediction, within 4 s, if ``cancel_on_kill``; never raises.

        If its files are being stored, the prediction is over: storing stops, and no half file
        stays.
        """
        self.kill_handler.on_kill()
        if self._storing:
            self._storing.stop()

    def _set_output_path(self, output_path: Any) -> None:
        """Set the argument of that name; raise ``InvalidInputError`` if it cannot be a path."""
        self.output_path, self._path_given = output_path, output_path is not None
        if self._stores_files:
            check_path("output_path", output_path)

    @property
    def _stores_files(self) -> bool:
        """Whether this task stores the files of the output."""
        # A template may be rendered to None: that is an error, and not the default.
        return self._path_given or self.output_path is not None

    def _check_output_path(self) -> None:
        """Raise if no storage is reached by it, before anything is paid or waited for."""
        if self._stores_files:
            # Imported here, since file systems take a time that parsing should not pay.
            from airflow_provider_quickrouter.storage.target import Target

            Target(self.output_path, "output_path")

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a literal input; Airflow calls this.

        A model of ``api.models`` is rendered like a dict, and a path is shown as its string. What
        came from XCom, and so must not be rendered, is in ``seen_oids``.
        """
        if isinstance(content, dict | BaseModel) and id(content) not in (seen_oids or ()):
            content = as_dict(content) if isinstance(content, BaseModel) else with_paths(content)
        try:
            rendered = super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]
        except XComNotFound as missing:
            if missing.key == FILE_KEY:  # a task that was skipped, or has no file, leaves none
                return None
            raise
        if isinstance(content, dict) and isinstance(rendered, dict):
            with airflow_errors(self.log, resubmits=True):  # only tasks that create have an input
                return without_missing(content, rendered)
        return rendered

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; Airflow calls this.

        Airflow's own limit on a deferral is a minute after the trigger's deadline. When it ends
        the deferral, no triggerer ran the trigger in time: that is a timeout, while the error that
        Airflow raises by itself would be retried.
        """
        if next_method == _FAIL and (next_kwargs or {}).get("error") == _DEFERRAL_TIMED_OUT:
            return self.resume_after_deadline(context)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]

    def resume_after_deadline(self, context: Context) -> Any:
        """End the wait of a task whose deadline passed while no triggerer ran its trigger."""
        raise NotImplementedError

    def _defer_to_trigger(
        self, poll: Poll, method: str, cancel_on: Sequence[str], kwargs: Any = None, **ending: bool
    ) -> NoReturn:
        """Defer: the trigger waits, and ``method`` resumes with its event.

        :param kwargs: further arguments of that method.
        :param ending: the trigger's arguments that decide whether it ends the task itself.
        """
        # Imported here, since Airflow's triggers take a time that parsing should not pay.
        from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger

        trigger = QuickRouterPredictionTrigger(
            prediction_id=poll.prediction_id,
            quickrouter_conn_id=self.quickrouter_conn_id,
            poll_interval=poll.poll_interval,
            started_at=poll.started_at,
            deadline=poll.deadline,
            start_deadline=poll.start_deadline,
            confirmed=poll.confirmed,
            cancel_on=cancel_on,
            model=poll.last.model_name if poll.last else "",
            **ending,
        )
        self.log.info(
            "Deferring the wait for prediction %s, which needs a running triggerer", poll.prediction_id
        )
        limit = airflows_limit(poll.deadline or math.inf, time.time())
        self.defer(trigger=trigger, method_name=method, kwargs=kwargs, timeout=limit)

    def _poll_once(self, context: Context, poll: Poll) -> Again | Outcome:
        """Send one GET; log what is worth it, and push the manifest of the first response."""
        try:
            prediction = self.hook.get_prediction(poll.prediction_id)
        except QuickRouterError as error:
            if isinstance(error, APIError) and not (poll.last or poll.error):
                # So that the link leads to the prediction during an outage, too.
                self._push_manifest(context, Prediction.from_id(poll.prediction_id))
            step = poll.on_error(error, time.time())
        else:
            if poll.last is None:
                self._push_manifest(context, prediction)
            step = poll.on_prediction(prediction, time.time())
        if isinstance(step, Again):
            step.log_to(self.log)
        return step

    def _canceled(self, outcome: Outcome) -> Outcome:
        """Cancel the prediction that a wait gives up; return how it ended: maybe well by now."""
        result = cancel_and_log(self.hook, outcome.prediction_id, self.log)
        return self._polled_again(replace(outcome, stopped=result))

    def _polled_again(self, outcome: Outcome) -> Outcome:
        """Poll once more after a failure, since events do not carry the model's log.

        What is over by now counts as it is: a success after the deadline, for instance.
        """
        outcome = self._accepted(outcome)
        no_response = outcome.reason is Reason.API_ERROR and not outcome.stopped
        if outcome.reason is Reason.SUCCEEDED or no_response:
            return outcome
        try:
            return outcome.updated_by(self.hook.get_prediction(outcome.prediction_id), time.time())
        except (QuickRouterError, AirflowTaskTimeout) as error:
            self.log.warning("The model's log could not be fetched: %s", error)
            return outcome

    def _end(
        self, context: Context, outcome: Outcome, *, permanent: bool = False, pays: bool = False
    ) -> list[Any]:
        """End the wait: report it, store the files, and return the output. Every path ends here.

        :param permanent: a failure must not be retried.
        :param pays: a retry after a success would pay again, so no error after it is retried.
        :raises QuickRouterError: the prediction did not succeed, or a file could not be stored.
        """
        outcome = self._accepted(outcome)
        earlier = self._stored_by_earlier_attempt(outcome)
        error = None if earlier else outcome.exception()
        with fail_without_retry(pays and not error):
            if outcome.prediction:
                with log_and_continue(self.log, "State and link of the prediction were not published"):
                    self._push_manifest(context, outcome.prediction)
            if not self._reused:
                count_end(outcome, time.time())
            if error:
                raise error.as_permanent() if permanent else error
            stored = self._stores_files or stored_downstream(context["task"])
            log_success(self.log, outcome, stored=stored)
            if outcome.prediction:
                files = earlier or self._store_files(outcome.prediction)
                self._report(context, outcome.prediction, files)
        return outcome.output

    def _accepted(self, outcome: Outcome) -> Outcome:
        """Return an empty output as a success if the author allows it."""
        allowed = self.allow_empty and outcome.reason is Reason.EMPTY
        return replace(outcome, reason=Reason.SUCCEEDED) if allowed else outcome

    def _is_complete(self, outcome: Outcome) -> bool:
        """Return whether nothing is missing of an earlier prediction that ended so."""
        accepted = self._accepted(outcome).reason is Reason.SUCCEEDED
        return accepted or bool(self._stored_by_earlier_attempt(outcome))

    def _stored_by_earlier_attempt(self, outcome: Outcome) -> list[StoredFile]:
        """Return the files of an expired or reused output if all of them are stored.

        Nothing is missing then, although the API has deleted the output itself.
        """
        expired = self._stores_files and outcome.reason is Reason.EXPIRED
        if expired and outcome.prediction_id not in self._verified:
            found = self._new_storing().stored_before(outcome.prediction_id)
            self._verified = {outcome.prediction_id: found}  # all files are read for it: once
        return self._verified.get(outcome.prediction_id, [])

    def _store_files(self, prediction: Prediction) -> list[StoredFile] | None:
        """Store the files of an output; None if this task stores none."""
        if not self._stores_files:
            return None
        from airflow_provider_quickrouter.storage.store import STOPPED

        storing = self._stoppable(self._new_storing())
        try:
            return storing.store_prediction(prediction)
        except AirflowTaskTimeout:
            raise FileUnavailable(STOPPED) from None

    def _new_storing(self) -> Storing:
        # Imported here, since its HTTP client takes half a second that parsing should not pay.
        from airflow_provider_quickrouter.storage.store import Storing

        return Storing(self.hook, self.log, path=self.output_path, allow_empty=self.allow_empty)

    def _stoppable(self, storing: Storing) -> Storing:
        """Return it; a kill stops it from now on, also one that came before."""
        self._storing = storing
        self.kill_handler.track(None)  # the prediction is over
        if self.kill_handler.killed:
            storing.stop()
        return storing

    def _push_no_files(self, context: Context) -> None:
        """Let tasks downstream of a skipped one read an empty XCom ``files``."""
        if self._stores_files and self.do_xcom_push:
            context["ti"].xcom_push(key=FILES_KEY, value=[])

    def _report(
        self, context: Context, prediction: Prediction | None, files: list[StoredFile] | None
    ) -> None:
        """Report the result to XCom, asset events and, if it is installed, OpenLineage.

        :param files: None if nothing was to be stored.
        """
        if self.do_xcom_push:
            output = prediction.output_for_xcom if prediction else []
            for key, value in file_xcoms(output, files).items():
                context["ti"].xcom_push(key=key, value=value)
        add_to_asset_events(context, asset_extra(prediction, files or []))
        self._published = prediction, files or []

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the stored files and the prediction; OpenLineage's listener calls this."""
        if self._published is None:
            return None
        # Imported here: only where OpenLineage calls this is its provider installed.
        from airflow_provider_quickrouter.tasks.lineage import lineage_of

        return lineage_of(*self._published)

    def _push_manifest(self, context: Context, prediction: Prediction) -> None:
        """Push the manifest, and the link's address, to XCom."""
        manifest = prediction.manifest(self.hook.prediction_url(prediction.id))
        push_manifest(context, {**manifest, "reused": True} if self._reused else manifest)

    def _find_equal(self, request: Request) -> Prediction | None:
        """Return the prediction of an equal request whose files are stored."""
        from airflow_provider_quickrouter.submission.record import fingerprint

        prediction, files = self._new_storing().find_request(fingerprint(request)) or (None, [])
        if prediction:
            self.log.info("Reusing prediction %s: its files are stored", prediction.id)
            self._reused, self._verified = True, {prediction.id: files}
        return prediction

    def _reused_in(self, manifest: Any) -> Prediction | None:
        """Return the prediction of the submitting task's manifest if it is a reused one.

        The API may have deleted it by now, so it is not polled.
        """
        self._reused = isinstance(manifest, Mapping) and manifest.get("reused") is True
        return Prediction.from_json(manifest) if self._reused else None
