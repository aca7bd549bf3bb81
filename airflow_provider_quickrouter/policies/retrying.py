"""How long a task waits for its next try after an error, or that it should have none."""

from __future__ import annotations

from airflow_provider_quickrouter.api.errors import PredictionError, QuickRouterError


def retry_pause(
    error: QuickRouterError, try_number: int, first: float, longest: float
) -> float | None:
    """Seconds until the next try; None: another try would not help.

    What the server asked for (429) is obeyed as it is; else ``first`` seconds, doubled with each
    try, at most ``longest``.

    :param try_number: the try that failed, from 1.
    """
    passing = isinstance(error, PredictionError) and error.passing
    if not (error.transient or passing):
        return None
    if error.retry_after is not None:
        return error.retry_after
    return min(first * 2.0 ** min(max(try_number, 1) - 1, 32), longest)
