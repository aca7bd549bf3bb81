"""The operators that submit one prediction, or submit it and wait for it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    conf,
)

from airflow_provider_quickrouter.api.errors import PredictionModerated
from airflow_provider_quickrouter.api.outcome import UNKNOWN_ID, Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, check_wait, create
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.polling.poll import DEFAULT_POLL_INTERVAL, Again, Limits, Poll
from airflow_provider_quickrouter.submission.cancel import CLEAR, MARK, TIMEOUT, is_canceled, may_run_on
from airflow_provider_quickrouter.tasks.arguments import (
    alternatives,
    check_alternatives,
    check_choice,
    check_durable,
    check_flag,
    check_reuse,
    reference_of,
    seconds,
)
from airflow_provider_quickrouter.tasks.base import PredictionTask
from airflow_provider_quickrouter.tasks.reporting import count_end, log_and_continue, pushed_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.operators.batch import QuickRouterBatchPredictionOperator
    from airflow_provider_quickrouter.submission.store import RecordStore
    from airflow_provider_quickrouter.submission.submit import Submission


class QuickRouterSubmitPredictionOperator(PredictionTask, BaseOperator):
    """Submit one prediction and return its id at once.

    XCom: ``return_value`` is the id, ``prediction`` the manifest. The prediction costs money
    once it is accepted.

    A retry resumes the prediction of the previous attempt if it runs or has succeeded. It creates
    a new one if that one failed, is gone, or had another input. A person's clear does the same,
    but creates a new prediction if the task had succeeded. This needs Airflow 3.3, or a folder in
    ``durable``. Without both, each retry creates a new prediction; there is one only after errors
    that accepted nothing, or after a lost worker.

    :param input: dict, or a model of ``api.models``; may hold templates at any depth. For a
        known model its constant parts are checked when the DAG is parsed. A file may be an
        ``ObjectStoragePath`` or its string, see ``api.attachments``: each attempt reads it. A file
        of more than 256 kB as a data URI is sent as a presigned URL. One with other bytes is
        another input.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name; or else
    :param deployment: ``owner/name``, for deployments at Replicate itself. Each may be a list: if one
        model rejects the input, or has no server, the next is tried. A pair gives one its own input.
    :param wait: seconds, 1 to 60, for which the server may hold its response for the result. A
        short prediction is over then without a poll or a deferral. If the worker is lost meanwhile,
        the create request is uncertain. None (default): the server responds at once.
    :param cancel_after: seconds or timedelta, at least 5 s, after which the server itself cancels
        the prediction, in case no task does. None sets no limit.
    :param on_uncertain: what follows a create request whose response is lost, if the API's list of
        predictions does not show whether it was accepted: ``fail`` without a retry, so that a
        person decides, or ``resubmit`` with the next retry, which may pay twice.
    :param durable: store the prediction's id in ``task_state_store`` (Airflow 3.3 and later), or
        (False) nowhere, or, on every Airflow, in this folder of a storage that all workers reach,
        as ``ObjectStoragePath`` takes it: ``s3://conn_id@bucket/state``. Not a template. An error
        of that storage before the create request fails the task, and a retry may help.
    :param cancel_on_kill: cancel the prediction when a person marks the running task, but not when
        the next attempt resumes it.
    :param reuse: create nothing, and return the id of an earlier prediction, if the files of an
        equal request are stored under ``output_path``; see ``QuickRouterRunPredictionOperator``.
    :param output_path: folder in which a downstream task stores the files, for ``reuse``.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = (
        *("input", "version", "model", "deployment", "output_path", "quickrouter_conn_id"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"input": "json"}
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#f3e8ff"

    def __init__(  # noqa: PLR0913  # each is given by its name, and nearly always only a few
        self,
        *,
        input: Any = None,
        version: str | Sequence[Any] | None = None,
        model: str | Sequence[Any] | None = None,
        deployment: str | Sequence[Any] | None = None,
        wait: int | None = None,
        cancel_after: float | timedelta | None = None,
        on_uncertain: Literal["fail", "resubmit"] = "fail",
        durable: bool | str = True,
        cancel_on_kill: bool = True,
        reuse: bool | Literal["any_seed"] = False,
        output_path: str | None = None,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.version, self.model, self.deployment = version, model, deployment
        with airflow_errors():  # Airflow's at once: a mapped task comes here on the worker
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
            for given in check_alternatives(input, cancel_after=cancel_after, **reference_of(self)):
                check_reuse(reuse, output_path, given)
            check_durable(durable)
            self._set_output_path(output_path)
            check_wait(wait, Limits(60.0, self.execution_timeout).own)
        # The very object: Airflow recognizes by identity what came from XCom and must not be
        # rendered. Rendered, a prompt "{{ conn.x.password }}" from a table would send the key.
        self.input = input
        self.wait = wait
        self.cancel_after: Any = cancel_after
        self.on_uncertain = on_uncertain
        self.durable = durable
        self.reuse = reuse
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id
        self._check_templates(*QuickRouterSubmitPredictionOperator.template_fields)

    def execute(self, context: Context) -> Any:
        """Create the prediction, or resume that of an earlier attempt; return its id."""
        submission = self._submission(context)
        try:
            with airflow_errors(self.log, resubmits=True):
                prediction, _ = self._obtain(context, submission)
                submission.store.mark_done()
                return prediction.id
        except AirflowTaskTimeout as late:
            with airflow_errors(self.log, resubmits=True):
                submission.check_paid(late)
        return submission.prediction_id

    def _submission(self, context: Context, model_index: int = 0) -> Submission:
        # Imported here, and below: parsing a DAG should not pay for what only a running task needs.
        from airflow_provider_quickrouter.submission.submit import Submission

        return Submission(
            hook=self.hook,
            store=self._store_of(context),
            kill_handler=self.kill_handler,
            ti=context["ti"],
            log=self.log,
            resubmit=self.on_uncertain == "resubmit",
            cancel_other=self.cancel_on_kill,
            limit=self._own_limit(),
            is_complete=self._is_complete,
            find_equal=self._find_equal if self.reuse else None,
            models=["".join(map(str, each.values())) for each, _ in alternatives(reference_of(self))],
            index=model_index,
        )

    def _store_of(self, context: Context) -> RecordStore:
        from airflow_provider_quickrouter.submission.store import RecordStore

        return RecordStore(context, self.log, durable=self.durable)

    def _obtain(self, context: Context, submission: Submission) -> tuple[Prediction, float]:
        """Return the task's prediction and since when its time counts; push its manifest."""
        from airflow_provider_quickrouter.hooks.input_files import InputFiles
        from airflow_provider_quickrouter.submission.record import fingerprint

        self._check_output_path()
        listed = alternatives(reference_of(self))

        @cache  # a retry may need a request twice, which reads the files of the input
        def request_of(index: int) -> Request:
            reference, own = listed[index]
            files = InputFiles(self._own_limit(), self._server_limit())
            given = files.read(self.input if own is None else own, **reference)
            check_reuse(self.reuse, self.output_path, given)
            request = create(given, **reference, cancel_after=self._server_limit(), wait=self.wait)
            return replace(request, signed=files.signed)

        prediction, since = submission.obtain(request_of)
        prediction = self.hook.named(prediction, submission.model)
        if self.reuse and not self._reused:
            with log_and_continue(self.log, "Later tasks will not reuse this prediction"):
                self._new_storing().add_request(fingerprint(request_of(submission.index)), prediction.id)
        missing = f"The manifest of prediction {prediction.id} was not stored"
        with log_and_continue(self.log, missing):
            self._push_manifest(context, prediction)
        return prediction, since

    def _server_limit(self) -> Any:
        """Return what ``Cancel-After`` is sent."""
        return self.cancel_after

    def _own_limit(self) -> float:
        """Return the seconds that the task gives its prediction: it does not wait."""
        return math.inf


# Seconds: the longest runs that were seen take 57 minutes, behind 17 of queue.
DEFAULT_TIMEOUT = 7200.0


class QuickRouterRunPredictionOperator(QuickRouterSubmitPredictionOperator):
    """Submit one prediction and wait for it; return its output, always a list.

    XCom: ``return_value`` is the output, ``prediction`` the manifest, from the create request on,
    ``file`` the first stored path or else the first URL, for the input of another model.

    A retry does the same as that of :class:`QuickRouterSubmitPredictionOperator`, also while the task
    waits. A prediction that failed for a transient reason, was aborted or did not start in time is
    retried. A lasting reason (moderation, bad input, out of memory), a deadline or a cancel fails the
    task permanently. In a list of models, moderation leads to the next one, with a new ``timeout``.

    For ``input``, ``version``, ``model``, ``deployment``, ``wait``, ``on_uncertain``, ``durable``
    and ``quickrouter_conn_id`` see there.

    :param timeout: seconds or timedelta for the prediction, from its create request on; or the task's
        ``execution_timeout`` if that is shorter. Then the prediction is canceled and the task fails
        permanently. Airflow 2 counts ``execution_timeout`` over the deferral and retries after it:
        there, limit a deferred task with ``timeout`` alone.
    :param start_timeout: seconds or timedelta in which it must have started; else it is canceled
        and the task is retried. None (default), since cold boots take minutes.
    :param cancel_after: seconds or timedelta after which the server itself cancels the prediction; None
        sets no limit. ``deadline`` (default): five minutes after ``timeout``, also after a clear.
    :param poll_interval: seconds, the longest pause between two polls.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param on_moderation: ``fail`` or ``skip`` the task when a filter refused the (last) prediction.
    :param cancel_on_kill: cancel the prediction when a person marks the task as failed or as a success
        (deferred: Airflow 3.3 and later). After a clear the next attempt resumes it, if it can.
    :param allow_empty: succeed also with an output that holds nothing, such as ``{"detections": []}``.
    :param output_path: folder, as ``ObjectStoragePath`` takes it, in which to store the output's files,
        or else its text or JSON, like ``QuickRouterToObjectStorageOperator``, with XCom ``files``. An
        error with a file fails the task; a retry resumes the prediction and stores what is missing, or
        creates a new one if the API has deleted the output by then. Without ``durable`` the task fails
        permanently, since a retry would pay again. A path that reaches no storage fails the task before
        anything is paid. None stores nothing: the API deletes the files after an hour.
    :param reuse: create nothing if an equal request (model or version, whole input with its seed,
        content of its files) has led to files that are still stored unchanged under
        ``output_path``: return the same output and files, and a manifest with ``reused: true``. The
        input must have a seed; ``any_seed`` lifts that. Two tasks at the same time may both pay.
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
        allow_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        fixed: Any = None if cancel_after == "deadline" else cancel_after
        super().__init__(cancel_after=fixed, **kwargs)
        with airflow_errors():
            self.timeout = seconds("timeout", timeout)
            self.start_timeout = None if start_timeout is None else seconds("start_timeout", start_timeout)
            self.poll_interval = seconds("poll_interval", poll_interval)
            check_choice("on_moderation", on_moderation, "fail", "skip")
            self.allow_empty = check_flag("allow_empty", allow_empty)
            check_wait(self.wait, self._limits().own)
        self.cancel_after = cancel_after
        self.deferrable = deferrable
        self.on_moderation = on_moderation
        self._poll: Poll | None = None

    def execute(self, context: Context) -> Any:
        """Submit or resume, and wait: here, or in the triggerer."""
        return self._run(context, self._submission(context))

    def _run(self, context: Context, submission: Submission, outcome: Outcome | None = None) -> list[Any]:
        """Return the output of the first model that no content filter rejects; or defer."""
        try:
            with airflow_errors(self.log, resubmits=True):
                outcome = outcome or self._wait(context, submission)
                while outcome.reason is Reason.MODERATED and submission.fall_back(outcome.exception()):
                    count_end(outcome, time.time())
                    outcome = self._wait(context, submission)
                named = outcome.prediction and self.hook.named(outcome.prediction, submission.model)
                return self._finish(context, submission.store, replace(outcome, prediction=named))
        except AirflowTaskTimeout as late:
            with airflow_errors(self.log, resubmits=True):
                submission.check_paid(late)
                # Airflow's ``execution_timeout`` is a deadline like the task's own.
                outcome = self._poll.timed_out() if self._poll else _timeout(str(submission.prediction_id))
                return self._finish(context, submission.store, outcome)

    def _wait(self, context: Context, submission: Submission) -> Outcome:
        """Obtain the prediction and wait for its end; or defer."""
        began, limits, self._poll = time.time(), self._limits(), None
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
                index = {"model_index": submission.index} if submission.index else None
                cancel_on = self._cancel_on(submission.store)
                self._defer_to_trigger(poll, self.execute_complete.__name__, cancel_on, index)
        while isinstance(step, Again):
            time.sleep(step.after)
            submission.store.flush()
            step = self._poll_once(context, poll)
        return step

    def execute_complete(self, context: Context, event: Any = None, model_index: int = 0) -> list[Any]:
        """Resume after the trigger's event, which holds the outcome of this one of several models."""
        with airflow_errors(self.log, resubmits=True):
            outcome = self._polled_again(Outcome.from_payload(event))
        return self._run(context, self._submission(context, model_index), outcome)

    def resume_after_deadline(self, context: Context) -> list[Any]:
        """Cancel the prediction, and fail permanently: a retry would pay for another one."""
        store = self._store_of(context)
        with airflow_errors(self.log, resubmits=True):
            record = store.load()
            if record and time.time() < record.begun_at + self._own_limit():
                raise AirflowException("Airflow ended the deferral before the prediction's deadline")
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
            outcome = self._canceled(outcome)
        # A retry without a record would pay for a second prediction.
        permanent = not store.is_durable and (unknown or may_run_on(outcome.stopped))
        try:
            output = self._end(context, outcome, permanent=permanent, pays=not store.is_durable)
        except PredictionModerated as error:
            if self.on_moderation == "skip":
                self._push_no_files(context)
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


__all__ = [
    "QuickRouterBatchPredictionOperator",
    "QuickRouterRunPredictionOperator",
    "QuickRouterSubmitPredictionOperator",
]


def __getattr__(name: str) -> Any:
    """Import the batch operator on first use: most DAG files have none, and are parsed faster."""
    if name == "QuickRouterBatchPredictionOperator":
        from airflow_provider_quickrouter.operators import batch

        return batch.QuickRouterBatchPredictionOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
