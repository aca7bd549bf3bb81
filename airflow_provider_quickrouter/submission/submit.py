"""One prediction for one task, over all of its tries: remember it, take it up, or make it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_quickrouter.api.errors import (
    NotFoundError,
    QuickRouterError,
    UncertainCreateError,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.api.protocol import Request, cut_off, dated
from airflow_provider_quickrouter.hooks.airflow_errors import tries_left
from airflow_provider_quickrouter.submission.cancel import has_nothing_to_cancel
from airflow_provider_quickrouter.submission.record import (
    Attempt,
    Step,
    fingerprint,
    lost_by_an_earlier_try,
    still_good,
)
from airflow_provider_quickrouter.tasks.reporting import count_submitted, harmless

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

STORE_KEY = "quickrouter_prediction"
"""Key of the record in the task's ``task_state_store``."""


class Task(Protocol):
    """What a task offers to the submission of its prediction."""

    @property
    def log(self) -> Any:
        """The task's log."""

    @property
    def hook(self) -> QuickRouterHook:
        """The task's hook."""

    def still_wanted(self) -> bool:
        """Whether Airflow has not killed the task."""

    def owns(self, prediction_id: str | None, ti: Any = None, *, resumable: bool = True) -> None:
        """Take note of the prediction that a kill cancels."""

    def stop_now(self, prediction_id: str) -> str:
        """Cancel a prediction; return in a sentence what became of it."""

    def look_up(self, prediction_id: str, *, confirmed: bool) -> Prediction:
        """Poll a prediction of an earlier attempt."""


class Durable:
    """The create of one task instance, with what Airflow's ``task_state_store`` knows of it.

    :param task: whose hook and log are used; it is told at once which prediction is its own.
    :param context: the task's; before Airflow 3.3 it has no store, so nothing is remembered.
    :param durable: False remembers nothing either: each try submits anew.
    :param resubmit: let a retry submit anew after an uncertain create.
    :ivar prediction_id: the task's prediction, as soon as it is obtained.
    """

    def __init__(self, task: Task, context: Any, *, durable: bool, resubmit: bool) -> None:
        self._task = task
        self._ti = context["ti"]
        self.log = task.log
        self._resubmit = resubmit
        self._sent: tuple[Request, Attempt] | None = None
        self.prediction_id: str | None = None
        self._store = context.get("task_state_store") if durable else None
        self._max_tries = int(getattr(context["ti"], "max_tries", 0) or 0)

    @property
    def remembers(self) -> bool:
        """Whether a later try will find what this one did."""
        return self._store is not None

    def obtain(
        self,
        request: Request,
        *,
        cancel_other: bool,
        limit: float = math.inf,
        is_stored: Callable[[Prediction], bool] = lambda prediction: False,
    ) -> tuple[Prediction, float]:
        """Return the task's prediction, and since when its time counts (epoch seconds).

        :param cancel_other: stop an earlier prediction that has another input and is not wanted.
        :param limit: seconds that the task gives its prediction, from the create on.
        :param is_stored: whether all files of an earlier prediction lie where they belong, so that
            nothing is missing although the API has deleted its output.
        :raises UncertainCreateError: this create, or that of an earlier try, may be billed.
        :raises PredictionTimeout: the time of the earlier prediction is over, and it has not
            succeeded: another one would be paid for by a task whose time is over as well.
        :raises QuickRouterError: nothing was accepted; or the earlier one could not be polled.
        """
        old, now = self.record(), fingerprint(request)
        step = old.next_step(now, self._max_tries) if old else Step.SUBMIT
        if old and step is Step.REPORT and not self._resubmit:
            self._save(replace(old, reported=True, max_tries=self._max_tries))
            raise lost_by_an_earlier_try(request, old.begun_at, time.time())
        if old and old.prediction_id and step is Step.TAKE_UP:
            cleared, earlier_id = old.cleared(self._max_tries), old.prediction_id
            found = self._find(earlier_id, request, old)
            if found and (still_good(found, time.time(), cleared=cleared) or is_stored(found)):
                self.log.info("Resuming prediction %s: %s", found.id, found.status_word)
                self.prediction_id = found.id
                if cleared:
                    old = old.resumed(self._max_tries, time.time())
                    self._save(old)
                return found, old.counts_from
            self._task.owns(None)
            state = found.status_word if found else "unknown to the API"
            if not cleared and time.time() >= old.counts_from + limit:
                raise _too_late(earlier_id, found, state)
            self.log.info("Prediction %s is %s: creating a new one", earlier_id, state)
        elif old and old.prediction_id and old.fingerprint != now and cancel_other:
            self._drop(old.prediction_id)
        return self._submit(request, now)

    def check_paid(self, late: AirflowTaskTimeout) -> None:
        """Return if there is a prediction: the retry after ``late`` could pay for another.

        What ``execution_timeout`` kept from being stored is stored now.

        :raises UncertainCreateError: ``execution_timeout`` came before the answer to a create.
        :raises AirflowTaskTimeout: it came before anything was paid for; a retry may start anew.
        """
        if self._sent and self.prediction_id is None:
            request, attempt = self._sent
            lost = dated(cut_off(), request, attempt.begun_at, time.time())
            raise self._uncertain(lost, attempt)
        if self.prediction_id is None:
            if tries_left(self._ti):
                self._task.owns(None)  # what an earlier try made is left to the next one
            raise late
        self.keep()

    def record(self) -> Attempt | None:
        """Return what is remembered of the task's create, if anything is."""
        return Attempt.from_json(self._store.get(STORE_KEY)) if self._store is not None else None

    def succeeded(self) -> None:
        """Remember that the task is about to succeed: a person who clears it wants a new one."""
        with harmless(self.log, "Of what is paid for, its success was not stored"):
            if old := self.record():
                self._save(replace(old, done=True, max_tries=self._max_tries))

    def _submit(self, request: Request, now: str) -> tuple[Prediction, float]:
        if not self._task.still_wanted():
            raise AirflowException("This task was killed before it submitted; nothing was sent.")
        attempt = Attempt(fingerprint=now, begun_at=time.time(), max_tries=self._max_tries)
        self._save(attempt)
        self._sent = request, attempt
        try:
            prediction = self._task.hook.send_create(request, self._task.still_wanted)
        except UncertainCreateError as error:
            raise self._uncertain(error, attempt) from error.__cause__
        except QuickRouterError:
            self._sent = None
            self._close(None)
            raise
        self.prediction_id = prediction.id
        self.keep()
        self._own(prediction.id)
        count_submitted(request.reference)
        self.log.info("Submitted prediction %s", prediction.id)
        return prediction, attempt.begun_at

    def keep(self) -> None:
        """Store the id of what was accepted, if that failed before: Airflow may be away."""
        if self._sent and self.prediction_id:
            with harmless(self.log, "Of what is paid for, its id was not stored"):
                self._save(replace(self._sent[1], prediction_id=self.prediction_id))
                self._sent = None

    def _uncertain(self, error: UncertainCreateError, attempt: Attempt) -> UncertainCreateError:
        self._sent = None
        self._close(None if self._resubmit else replace(attempt, reported=True))
        return error.resubmitted() if self._resubmit else error

    def _own(self, prediction_id: str) -> None:
        self._task.owns(prediction_id, self._ti, resumable=self.remembers)

    def _find(self, prediction_id: str, request: Request, old: Attempt) -> Prediction | None:
        """Poll the prediction of an earlier attempt; None if the API does not find it any more.

        It waits out an outage for ten minutes; then the next attempt, or a clear, resumes it.
        """
        self._own(prediction_id)
        self.log.info("Polling prediction %s of an earlier attempt", prediction_id)
        try:
            return self._task.look_up(prediction_id, confirmed=True)
        except NotFoundError:
            return self._cancel_missing(prediction_id, request, old)

    def _cancel_missing(
        self, prediction_id: str, request: Request, old: Attempt
    ) -> Prediction | None:
        """Cancel a prediction that the API does not find any more, before another is created.

        :raises UncertainCreateError: the cancel was refused, but not because there is nothing to
            cancel: the prediction may run on, and another one would be paid for beside it.
        """
        self.log.warning("Prediction %s is unknown to the API: canceling it", prediction_id)
        try:
            seen = self._task.hook.cancel_prediction(prediction_id)
            return seen if seen.status is PredictionStatus.SUCCEEDED else None
        except QuickRouterError as error:
            if has_nothing_to_cancel(error) or self._resubmit:
                return None
            self._save(replace(old, prediction_id=None, reported=True, max_tries=self._max_tries))
            lost = UncertainCreateError(
                f"prediction {prediction_id} of an earlier attempt is not found, and could not be "
                f"canceled ({error})"
            )
            raise dated(lost, request, old.begun_at, time.time()) from None

    def _drop(self, prediction_id: str) -> None:
        self.log.info("Prediction %s has another input than this try", prediction_id)
        self._task.stop_now(prediction_id)

    def _save(self, attempt: Attempt) -> None:
        if self._store is not None:
            self._store.set(STORE_KEY, attempt.to_json())

    def _close(self, attempt: Attempt | None) -> None:
        """End an intent without an id: with nothing, or with what there is to remember."""
        with harmless(self.log, "Of what is paid for, the end of its create was not stored"):
            if attempt:
                self._save(attempt)
            elif self._store is not None:
                self._store.delete(STORE_KEY)


def _too_late(prediction_id: str, seen: Prediction | None, state: str) -> Exception:
    """Make the error of an earlier prediction whose time is over."""
    outcome = Outcome(
        reason=Reason.TIMEOUT, prediction_id=prediction_id, prediction=seen, last_state=state
    )
    return outcome.exception() or RuntimeError("a timeout is not a success")
