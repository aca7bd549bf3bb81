"""One paid prediction for one task instance, over all of its attempts: resume it or create it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_quickrouter.api.errors import (
    NotFoundError,
    QuickRouterError,
    UncertainCreateError,
    UpstreamError,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.api.protocol import Request, cut_off_by_timeout
from airflow_provider_quickrouter.hooks.airflow_errors import tries_left
from airflow_provider_quickrouter.polling.poll import Poll
from airflow_provider_quickrouter.submission.cancel import KillHandler, cancel_and_log, has_nothing_to_cancel
from airflow_provider_quickrouter.submission.reconcile import find_prediction
from airflow_provider_quickrouter.submission.record import (
    Attempt,
    Step,
    fingerprint,
    is_reusable,
    lost_by_earlier_attempt,
)
from airflow_provider_quickrouter.submission.store import RecordStore
from airflow_provider_quickrouter.tasks.reporting import count_submitted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


@dataclass
class Submission:
    """The prediction of one attempt of a task.

    :param hook: sends the requests.
    :param store: the record of earlier attempts.
    :param kill_handler: is given the prediction's id as soon as it is known.
    :param ti: the task instance.
    :param resubmit: create again after an uncertain create request.
    :param cancel_other: cancel an earlier prediction of another input, which is not wanted.
    :param limit: seconds that the task gives its prediction, from the create request on.
    :param is_complete: whether nothing is missing of an earlier prediction although it has no
        output: all its files are stored, or the author allows an empty output.
    :param find_equal: returns a prediction that another task has paid for and that will do.
    :param models: references of the models that the task tries, in this order.
    :param index: which of them is tried; :meth:`obtain` starts with that of an earlier attempt.
    :ivar prediction_id: the task's prediction, as soon as there is one.
    """

    hook: QuickRouterHook
    store: RecordStore
    kill_handler: KillHandler
    ti: Any
    log: Any
    resubmit: bool
    cancel_other: bool
    limit: float
    is_complete: Callable[[Outcome], bool]
    find_equal: Callable[[Request], Prediction | None] | None
    models: Sequence[str]
    index: int = 0
    prediction_id: str | None = None
    _sent: tuple[Request, Attempt] | None = None
    _fell_back: bool = False

    @property
    def model(self) -> str:
        """The model that is tried; "" if the task's list has become shorter since a deferral."""
        return self.models[self.index] if self.index < len(self.models) else ""

    def obtain(self, request_of: Callable[[int], Request]) -> tuple[Prediction, float]:
        """Return the task's prediction, and since when its time counts (epoch seconds).

        :param request_of: returns the create request of the model with this index.
        :raises UncertainCreateError: a request of this or an earlier attempt may be billed.
        :raises PredictionTimeout: the time of the earlier prediction is over, and it has not
            succeeded: the task's time is over, so nothing else is paid for.
        :raises QuickRouterError: nothing was accepted; or the earlier one could not be polled.
        """
        # After a fallback the record is that of the model before: it is over, or accepted nothing.
        old = None if self._fell_back else self.store.load()
        if old and (resumed := self._earlier(request_of, old)):
            return resumed
        while True:
            try:
                request = request_of(self.index)
                equal = self.find_equal(request) if self.find_equal else None
                return (equal, time.time()) if equal else self._create(request)
            except QuickRouterError as error:
                if not self.fall_back(error):
                    raise

    def fall_back(self, error: QuickRouterError | None) -> bool:
        """Go on to the next model, if there is one that may succeed after this error; return whether."""
        if not (error and error.another_model) or self.index + 1 >= len(self.models):
            return False
        reason, failed = str(error).partition("\n")[0].rstrip("."), self.model
        self.index += 1
        self.log.warning("Model %s: %s. Trying the next model, %s", failed, reason, self.model)
        self._fell_back, self.prediction_id = True, None
        self.kill_handler.track(None)
        return True

    def _earlier(self, request_of: Callable[[int], Request], old: Attempt) -> tuple[Prediction, float] | None:
        """Return what the record of an earlier attempt leads to; None if a request is to be sent."""
        self.index = old.model_index if old.model_index in range(len(self.models)) else 0
        request = request_of(self.index)
        step = old.next_step(fingerprint(request), self.store.max_tries)
        if step is Step.REPORT:
            old, step = self._reconcile_earlier(request, old)
        if old.prediction_id and step is Step.RESUME:
            return self._resume(request, old, old.prediction_id)
        is_other = old.fingerprint != fingerprint(request)
        if old.prediction_id and self.cancel_other and is_other:
            self.log.info("Prediction %s has another input than this attempt", old.prediction_id)
            cancel_and_log(self.hook, old.prediction_id, self.log)
        if is_other or old.cleared(self.store.max_tries):
            self.index = 0
        return None

    def _reconcile_earlier(self, request: Request, old: Attempt) -> tuple[Attempt, Step]:
        """Return what the list shows of the create request of an attempt that left no id.

        :raises UncertainCreateError: it does not show whether the request was accepted.
        """
        found = None
        # Of another input nothing is known that could be looked for; a person may know by now.
        if old.fingerprint == fingerprint(request) and not old.reported:
            found = find_prediction(self.hook.exchange, request, old.begun_at)
        if found:
            self.log.info("Prediction %s was created by an earlier attempt", found)
            old = replace(old, prediction_id=found)
            self.store.save(old)
            return old, Step.RESUME
        if found is None and not self.resubmit:
            self.store.save(replace(old, reported=True, max_tries=self.store.max_tries))
            raise lost_by_earlier_attempt(request, old.begun_at, time.time())
        return old, Step.SUBMIT

    def _resume(self, request: Request, old: Attempt, prediction_id: str) -> tuple[Prediction, float] | None:
        """Return the prediction of an earlier attempt; None if another one is to be created."""
        self._track(prediction_id)
        self.log.info("Polling prediction %s of an earlier attempt", prediction_id)
        found: Prediction | None
        try:
            found = poll_through_outage(self.hook, prediction_id, self.log, confirmed=True)
        except NotFoundError:
            found = self._cancel_missing(request, old, prediction_id)
        cleared = old.cleared(self.store.max_tries)
        over = Outcome.of(found, time.time()) if found else None
        complete = over and self.is_complete(over)
        if found and (is_reusable(found, time.time(), cleared=cleared) or complete):
            self.log.info("Resuming prediction %s: %s", found.id, found.status_word)
            self.prediction_id = found.id
            if cleared:
                # The next retry follows no clear: its time counts from here.
                old = old.resumed(self.store.max_tries, time.time())
                self.store.save(old)
            return found, old.counts_from
        self.kill_handler.track(None)
        if over and over.reason is Reason.MODERATED and self.fall_back(over.exception()):
            return None
        state = found.status_word if found else "unknown to the API"
        if not cleared and time.time() >= old.counts_from + self.limit:
            outcome = Outcome(
                reason=Reason.TIMEOUT, prediction_id=prediction_id, prediction=found, last_state=state
            )
            raise outcome.exception() or RuntimeError("a timeout is not a success")
        self.log.info("Prediction %s is %s: creating a new one", prediction_id, state)
        if cleared:
            self.index = 0
        return None

    def _cancel_missing(self, request: Request, old: Attempt, prediction_id: str) -> Prediction | None:
        """Cancel a prediction that the API does not find any more, before another is created.

        :raises UncertainCreateError: the cancel failed for another reason than that there is
            nothing to cancel: the prediction may run on, and a second one would be paid for.
        """
        self.log.warning("Prediction %s is unknown to the API: canceling it", prediction_id)
        try:
            seen = self.hook.cancel_prediction(prediction_id)
            return seen if seen.status is PredictionStatus.SUCCEEDED else None
        except QuickRouterError as error:
            if has_nothing_to_cancel(error) or self.resubmit:
                return None
            lost = replace(old, prediction_id=None, reported=True, max_tries=self.store.max_tries)
            self.store.save(lost)
            uncertain = UncertainCreateError(
                f"prediction {prediction_id} of an earlier attempt is not found, and could not be "
                f"canceled ({error})"
            )
            raise uncertain.sent_between(old.begun_at, time.time(), request.reference) from None

    def _create(self, request: Request) -> tuple[Prediction, float]:
        """Send the create request, between storing its intent and storing its id."""
        if self.kill_handler.killed:
            raise AirflowException("This task was killed before it submitted; nothing was sent.")
        attempt = Attempt(
            fingerprint=fingerprint(request),
            begun_at=time.time(),
            max_tries=self.store.max_tries,
            model_index=self.index,
        )
        self.store.save(attempt)
        self._sent = request, attempt
        try:
            prediction = self._send(request, attempt)
        except UncertainCreateError as error:
            raise self._uncertain(error, attempt) from error.__cause__
        except QuickRouterError:
            self._sent = None
            self.store.close(self._to_resend(attempt))
            raise
        self.prediction_id = prediction.id
        self.store.save_paid(replace(attempt, prediction_id=prediction.id))
        self._track(prediction.id)
        count_submitted(request.reference)
        self.log.info("Submitted prediction %s", prediction.id)
        return prediction, attempt.begun_at

    def _send(self, request: Request, attempt: Attempt) -> Prediction:
        """Send the create request; if its response is lost, look for it in the API's list."""
        try:
            return self.hook.send_create(request, self.kill_handler.is_alive)
        except UncertainCreateError as error:
            self.log.warning("%s Looking for it in the API's list", error)
            found = find_prediction(self.hook.exchange, request, attempt.begun_at)
            if found is None:
                raise
            if not found:
                message = f"{error.message}; the API's list shows that it was not accepted"
                raise UpstreamError(message, request_id=error.request_id) from None
        # It is paid for: no error of this GET may lead to another one.
        with suppress(QuickRouterError):
            return self.hook.get_prediction(found)
        return Prediction.from_id(found)

    def _uncertain(self, error: UncertainCreateError, attempt: Attempt) -> UncertainCreateError:
        self._sent = None
        self.store.close(self._to_resend(attempt) if self.resubmit else replace(attempt, reported=True))
        return error.resubmitted() if self.resubmit else error

    def _to_resend(self, attempt: Attempt) -> Attempt | None:
        """Return the record by which a retry does not pay for earlier models again; None without any."""
        return replace(attempt, resend=True) if self.index else None

    def _track(self, prediction_id: str) -> None:
        self.kill_handler.track(prediction_id, self.ti, resumable=self.store.is_durable)

    def check_paid(self, late: AirflowTaskTimeout) -> None:
        """Return if there is a prediction: a retry after ``late`` could pay for another one.

        :raises UncertainCreateError: ``execution_timeout`` came before the response to a create
            request.
        :raises AirflowTaskTimeout: it came before anything was paid for; a retry may submit.
        """
        if self.prediction_id:
            self.store.flush()
        elif self._sent:
            request, attempt = self._sent
            lost = cut_off_by_timeout().sent_between(attempt.begun_at, time.time(), request.reference)
            raise self._uncertain(lost, attempt)
        else:
            if tries_left(self.ti):
                self.kill_handler.track(None)  # the next attempt resumes an earlier prediction
            raise late


def poll_through_outage(
    hook: QuickRouterHook, prediction_id: str, log: Any, *, confirmed: bool
) -> Prediction:
    """Poll until there is a good response, for as long as a wait does: ten minutes. Blocks.

    :param confirmed: the prediction is known to exist, see ``Poll``.
    :raises QuickRouterError: the error with which a wait would end.
    """
    poll = Poll(prediction_id, time.time(), confirmed=confirmed)
    while True:
        try:
            return hook.get_prediction(prediction_id)
        except QuickRouterError as error:
            step = poll.on_error(error, time.time())
            if isinstance(step, Outcome):
                raise step.exception() or error from None
        step.log_to(log)
        time.sleep(step.after)
