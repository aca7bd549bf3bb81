"""Sending a create request: again only if it certainly was not accepted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_quickrouter.api.errors import (
    APIError,
    ConnectionLostError,
    InvalidConnectionError,
    QuickRouterError,
    UncertainCreateError,
    backoff,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, cut_off, dated, uncertain

RESEND_LIMIT = 120.0
"""Seconds of pauses that a worker makes before it leaves the create to the scheduler's retry."""

LONGEST_PAUSE = 30.0

Rest = Callable[[APIError, float], bool]
"""Waits for some seconds after an error, and returns whether the request is still wanted."""


def create_with(
    send: Callable[[Request], Prediction], request: Request, rest: Rest, log: Any
) -> Prediction:
    """Send a create request, and again after a pause as long as it certainly was not accepted.

    :param send: sends it once, over a new connection.
    :param rest: is called before it is sent again; False ends it with the error.

    :raises UncertainCreateError: it may have been accepted; states between which times.
    :raises APIError: it was not accepted, and not within two minutes of pauses either.
    """
    attempt, waited = 1, 0.0
    while True:
        begun_at = time.time()
        try:
            return _create_once(send, request)
        except UncertainCreateError as error:
            raise dated(error, request, begun_at, time.time()) from error.__cause__
        except APIError as error:
            pause = resend_after(error, attempt, waited)
            if pause is None:
                raise
            log.warning("Not accepted, sending again in %.0f s: %s", pause, error)
            # Nothing was accepted, so a task that is out of time fails with the gateway's error.
            with suppress(AirflowTaskTimeout):
                if rest(error, pause):
                    attempt, waited = attempt + 1, waited + pause
                    continue
            raise


def resend_after(
    error: APIError,
    attempt: int,
    waited: float,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds until a create may be sent again; None: not by this worker, or never.

    :param attempt: how often it was sent, from 1.
    :param waited: seconds of the pauses so far.
    :param jitter: returns numbers in [0, 1).
    """
    if not error.resendable:
        return None
    # Up to a tenth more, so that tasks that met the same limit do not come back together.
    pause = backoff(attempt, LONGEST_PAUSE, asked=error.retry_after) * (1 + jitter() / 10)
    return pause if waited + pause <= RESEND_LIMIT else None


def _create_once(send: Callable[[Request], Prediction], request: Request) -> Prediction:
    """Send it once; whatever may hide a create that was accepted is an UncertainCreateError."""
    try:
        return send(request)
    except ConnectionLostError as error:
        raise uncertain(error) from None
    except InvalidConnectionError as error:
        raise error.as_permanent() from None  # only a wait goes on after it
    except (QuickRouterError, GeneratorExit):
        raise
    except AirflowTaskTimeout:
        raise cut_off() from None
    except BaseException as error:
        # Airflow 2 ends a task by a BaseException, after which it would try again.
        lost = ConnectionLostError(f"reading it ended with {type(error).__name__}")
        raise uncertain(lost) from error
