"""Sending a create: again only if it was not accepted, and no doubt about it left unsaid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_quickrouter.api.errors import (
    APIError,
    ConnectionLostError,
    InvalidConnectionError,
    QuickRouterError,
    UncertainCreateError,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, cut_off, uncertain
from airflow_provider_quickrouter.polling.poll import resend_after
from airflow_provider_quickrouter.submission.record import dated

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


def create_with(
    once: Callable[[Request], Prediction], request: Request, wanted: Callable[[], bool], log: Any
) -> Prediction:
    """Send a create with ``once``, and again after a pause as long as nothing was accepted.

    :param wanted: asked after each pause; False ends it with the error that led to the pause.

    :raises UncertainCreateError: it may have been accepted; tells between which times.
    :raises APIError: it was not accepted, and not within two minutes of pauses either.
    """
    attempt, waited = 1, 0.0
    while True:
        begun_at = time.time()
        try:
            with _doubts():
                return once(request)
        except UncertainCreateError as error:
            raise dated(error, request, begun_at, time.time()) from error.__cause__
        except APIError as error:
            pause = resend_after(error, attempt, waited)
            if pause is None:
                raise
            log.warning("Not accepted, sending again in %.0f s: %s", pause, error)
            with suppress(AirflowTaskTimeout):
                time.sleep(pause)
                if wanted():
                    attempt, waited = attempt + 1, waited + pause
                    continue
            raise


async def create_once(hook: QuickRouterHook, request: Request) -> Prediction:
    """Send a create once, without blocking the event loop.

    :raises UncertainCreateError: it may have been accepted.
    :raises APIError: it was not accepted.
    """
    try:
        return await hook.aread(request, await hook.asend(request))
    except ConnectionLostError as error:
        raise uncertain(error) from None
    except InvalidConnectionError as error:
        raise error.for_good() from None


@contextmanager
def _doubts() -> Iterator[None]:
    """Turn whatever may hide an accepted create into an error without a retry."""
    try:
        yield
    except ConnectionLostError as error:
        raise uncertain(error) from None
    except InvalidConnectionError as error:
        raise error.for_good() from None  # only a wait goes on after it
    except (QuickRouterError, GeneratorExit):
        raise
    except AirflowTaskTimeout:
        raise cut_off() from None
    except BaseException as error:
        # Airflow 2 ends a task by a BaseException, after which it would try again.
        lost = ConnectionLostError(f"reading it ended with {type(error).__name__}")
        raise uncertain(lost) from error
