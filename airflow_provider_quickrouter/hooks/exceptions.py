"""Which Airflow exception an error is: the one place that decides between fail and retry.

The exception keeps its own class beside Airflow's: ``isinstance(e, PredictionFailed)`` and
``isinstance(e, AirflowFailException)`` both hold, so callbacks can tell what happened while
Airflow knows what to do.

======================  ========================  ==========================
Error                   Airflow's class           What Airflow does
======================  ========================  ==========================
``PredictionTimeout``   ``AirflowSensorTimeout``  fails, no retry
``transient`` ones      ``AirflowException``      retries while any are left
all others              ``AirflowFailException``  fails, no retry
======================  ========================  ==========================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
)

from airflow_provider_quickrouter.api.errors import PredictionTimeout, QuickRouterError


def as_airflow(error: QuickRouterError) -> AirflowException:
    """Return the same error, which is now also the Airflow exception that fits."""
    typed = _both(type(error), _base(error))(str(error))
    typed.__dict__.update(vars(error))
    return typed


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Raise every error of this package as Airflow's, from the original."""
    try:
        yield
    except QuickRouterError as error:
        raise as_airflow(error) from error


def _base(error: QuickRouterError) -> type[AirflowException]:
    if isinstance(error, PredictionTimeout):
        return AirflowSensorTimeout
    return AirflowException if error.transient else AirflowFailException


def _both(kind: type[QuickRouterError], base: type[AirflowException]) -> type[AirflowException]:
    """Make the class that is both; it takes its whole text as the only argument."""
    members = {"__module__": kind.__module__, "__init__": Exception.__init__, "__str__": _text}
    return type(kind.__name__, (kind, base), members)


def _text(self: Exception) -> str:
    return str(self.args[0])
