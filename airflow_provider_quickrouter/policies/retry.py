"""A retry policy for tasks of this package, on Airflow 3.3 and later.

The tasks already fail permanently where another attempt would not help; the policy adds when to
retry. This module can be imported on any Airflow; before 3.3 creating a policy is an error.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_quickrouter.api.errors import InvalidInputError, QuickRouterError, backoff


def retry_pause(error: QuickRouterError, try_number: int, first: float, longest: float) -> float | None:
    """Return the seconds until the next attempt, or None: another attempt would not help.

    The pause that the server names (429) is used as it is; else ``first`` seconds, doubled with
    each attempt, at most ``longest``.

    :param try_number: the attempt that failed, from 1.
    """
    if not (error.transient or error.resubmittable):
        return None
    if error.retry_after is not None:
        return error.retry_after
    return backoff(try_number, longest, first=first)


if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:  # not from common.compat: Airflow 3.3 was released with one that does not name them
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3 there are no retry policies
        RetryPolicy = object


class QuickRouterRetryPolicy(RetryPolicy):
    """Retry what can heal, when it can have healed; fail the rest at once.

    ======================================================  =======================
    Error                                                   Decision
    ======================================================  =======================
    key, money, input, moderation, uncertain create, ...    fail now
    ``RateLimitError`` (429) with a wait that was named     retry after that wait
    other errors behind the API, an interrupted, aborted    retry after ``first`` seconds,
    or never started prediction                             doubled with each attempt
    any error that is not of this package                   as Airflow does without it
    ======================================================  =======================

    ``retries`` of the task still limits the number of attempts.

    :param first: seconds before the second attempt, more than 0.
    :param longest: seconds, the longest pause that the policy itself chooses.
    :raises InvalidInputError: a number will not do, or Airflow is older than 3.3.
    """

    def __init__(self, *, first: float = 30.0, longest: float = 600.0) -> None:
        if QuickRouterRetryPolicy.__base__ is object:
            raise InvalidInputError("QuickRouterRetryPolicy needs Airflow 3.3 or later.")
        if not 0 < first <= longest:
            raise InvalidInputError(
                f"first, longest: {first!r} and {longest!r} are not 0 < first <= longest seconds."
            )
        self.first = first
        self.longest = longest

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about one failure; Airflow calls this on the worker."""
        if not isinstance(exception, QuickRouterError):
            return RetryDecision.default()
        name = type(exception).__name__
        pause = retry_pause(exception, try_number, self.first, self.longest)
        if pause is None:
            return RetryDecision.fail(reason=f"{name}: another attempt would not help")
        return RetryDecision.retry(delay=timedelta(seconds=pause), reason=f"{name}: again in {pause:.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return the arguments as JSON."""
        return {"first": self.first, "longest": self.longest}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Rebuild the policy from :meth:`serialize`."""
        return cls(**data)
