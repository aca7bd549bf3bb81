"""Which Airflow exception an error is: the one place that decides between fail and retry.

The exception keeps its own class beside Airflow's: ``isinstance(e, PredictionFailed)`` and
``isinstance(e, AirflowFailException)`` both hold, so callbacks can tell what happened while
Airflow knows what to do.

===========================  ========================  ==========================
Error                        Airflow's class           What Airflow does
===========================  ========================  ==========================
``transient`` ones           ``AirflowException``      retries while any are left
``passing`` ones, ``anew``   ``AirflowException``      retries while any are left
``PredictionTimeout``        ``AirflowSensorTimeout``  fails, no retry
all others                   ``AirflowFailException``  fails, no retry
===========================  ========================  ==========================

``anew`` is said by a task whose retry makes a new prediction; a sensor's would only meet the
same dead one.
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
    FileUnavailable,
    PredictionError,
    PredictionTimeout,
    QuickRouterError,
)


def as_airflow(error: QuickRouterError, *, anew: bool = False) -> AirflowException:
    """Return the same error, which is now also the Airflow exception that fits."""
    typed = _both(type(error), _base(error, anew))(str(error))
    typed.__dict__.update(vars(error))
    return typed


@contextmanager
def airflow_errors(*, anew: bool = False) -> Iterator[None]:
    """Raise every error of this package as Airflow's.

    It is raised from the original, except for the end of a prediction: there is nothing behind
    that, and its long text should stand in the log once.
    """
    try:
        yield
    except QuickRouterError as error:
        cause = None if isinstance(error, PredictionError) else error
        raise as_airflow(error, anew=anew) from cause


def tries_left(task_instance: Any) -> bool:
    """Whether Airflow tries the task again if it fails now."""
    tried = int(getattr(task_instance, "try_number", 1))
    return tried <= int(getattr(task_instance, "max_tries", 0) or 0)


@contextmanager
def no_retry(paid: bool) -> Iterator[None]:
    """Let nothing that goes wrong after a success that is ``paid`` lead to a retry.

    It would pay again: before Airflow 3.3, or without ``durable``, nothing is remembered.
    """
    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        if not paid:
            raise
        if isinstance(error, QuickRouterError):
            raise error.for_good() from error.__cause__
        why = f"{type(error).__name__}: {error!s:.300}"
        raise FileUnavailable(f"{_PAID} ({why}).").for_good() from error


_PAID = (
    "The prediction succeeded, but its task could not end well. Nothing is remembered of it, so a "
    "retry would pay again: its output is in the console"
)


def _base(error: QuickRouterError, anew: bool) -> type[AirflowException]:
    if error.transient or (anew and isinstance(error, PredictionError) and error.passing):
        return AirflowException
    timed_out = isinstance(error, PredictionTimeout)
    return AirflowSensorTimeout if timed_out else AirflowFailException


def _both(kind: type[QuickRouterError], base: type[AirflowException]) -> type[AirflowException]:
    """Make the class that is both; it takes its whole text as the only argument."""
    members = {"__module__": kind.__module__, "__init__": Exception.__init__, "__str__": _text}
    return type(kind.__name__, (kind, base), members)


def _text(self: Exception) -> str:
    return str(self.args[0])
