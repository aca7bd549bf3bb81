"""Which Airflow exception an error becomes: the one place that decides between fail and retry.

The exception is an instance of both classes, for example of ``PredictionFailed`` and of
``AirflowFailException``: callbacks see what happened, and Airflow fails or retries the task.

==========================================  ========================  ========================
Error                                       Airflow's class           What Airflow does
==========================================  ========================  ========================
``transient`` ones                          ``AirflowException``      retries while any are left
``resubmittable`` ones, if ``resubmits``    ``AirflowException``      retries while any are left
``PredictionTimeout``                       ``AirflowSensorTimeout``  fails, no retry
all others                                  ``AirflowFailException``  fails, no retry
==========================================  ========================  ========================

Tasks whose retry creates a new prediction pass ``resubmits``; a sensor's retry would only find the
same failed prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from airflow_provider_quickrouter.api.errors import (
    APIError,
    BatchFailed,
    FileError,
    FileUnavailable,
    NotFoundError,
    PredictionError,
    PredictionTimeout,
    QuickRouterError,
    UncertainCreateError,
)
from airflow_provider_quickrouter.api.outcome import LOG_HEADING


def as_airflow(error: QuickRouterError, *, resubmits: bool = False) -> AirflowException:
    """Return the same error as an instance of its own class and of Airflow's."""
    base: type[AirflowException] = AirflowFailException
    if error.transient or (resubmits and error.resubmittable):
        base = AirflowException
    elif isinstance(error, PredictionTimeout):
        base = AirflowSensorTimeout
    kind = type(error)
    # The message is complete, so the new class takes it as its only argument and changes nothing.
    members = {"__module__": kind.__module__, "__init__": Exception.__init__, "__str__": Exception.__str__}
    typed: AirflowException = type(kind.__name__, (kind, base), members)(str(error))
    vars(typed).update(vars(error))
    return typed


@contextmanager
def airflow_errors(log: Any = None, *, resubmits: bool = False) -> Iterator[None]:
    """Raise every error of this package as Airflow's; log :func:`error_line` before.

    :param log: the task's log; None while a DAG is parsed.
    """
    try:
        yield
    except QuickRouterError as error:
        if isinstance(error, AirflowException):  # an inner call has logged and converted it
            raise
        if log:
            log.error("%s", error_line(error, resubmits=resubmits))
        # Not from the error itself, which would print the same message again.
        raise as_airflow(error, resubmits=resubmits) from error.__cause__


def error_line(error: QuickRouterError, *, resubmits: bool = False) -> str:
    """Return in one line what failed, why, what to do, and what clearing the task costs."""
    reason = str(error).partition(f"\n  {LOG_HEADING}")[0]
    lines = [line.strip() for line in reason.splitlines()]
    sentences = [line if line.endswith((".", "!", "?", "]")) else f"{line}." for line in lines if line]
    if error.remedy not in reason:
        sentences.append(error.remedy)
    return " ".join([*sentences, _after_a_clear(error, resubmits)])


def _after_a_clear(error: QuickRouterError, resubmits: bool) -> str:
    if not resubmits:
        if isinstance(error, PredictionError) and not isinstance(error, PredictionTimeout):
            return "Clear the task that submitted the prediction: it creates, and pays for, a new one."
        return "Clearing this task costs nothing, because it never creates a prediction."
    gone = isinstance(error, NotFoundError) and error.prediction_id
    if gone or isinstance(error, PredictionError | UncertainCreateError):
        return "Clearing the task creates, and pays for, a new prediction."
    if isinstance(error, BatchFailed):
        return (
            "Clearing the task submits, and pays for, the inputs that were not submitted or failed; an "
            "uncertain one may be paid for twice."
        )
    if isinstance(error, FileError) or (isinstance(error, APIError) and error.prediction_id):
        return (
            "Clearing the task resumes the prediction if its id is stored (Airflow 3.3 and later, or "
            "durable= with a folder). Otherwise it creates, and pays for, a new prediction."
        )
    return "This error cost nothing. Clearing the task sends the create request again."


def tries_left(task_instance: Any) -> bool:
    """Return whether Airflow retries the task if it fails now."""
    tried = int(getattr(task_instance, "try_number", 1))
    return tried <= int(getattr(task_instance, "max_tries", 0) or 0)


@contextmanager
def fail_without_retry(paid: bool) -> Iterator[None]:
    """Fail permanently on errors after a ``paid`` success, since a retry would pay again.

    A retry does not find the prediction before Airflow 3.3, or without ``durable``.
    """
    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        if not paid:
            raise
        if isinstance(error, QuickRouterError):
            raise error.as_permanent() from error.__cause__
        raise FileUnavailable(
            "The prediction succeeded, but its task failed afterwards. A retry would not find it "
            "and would pay again, so there is none: the output is in the gateway's console "
            f"({type(error).__name__}: {error!s:.300}).",
            transient=False,
        ) from error
