"""When a create request is sent again, and how errors are backed off."""

from __future__ import annotations

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import RESEND_LIMIT, resend_after

ERRORS = errors.APIError.__subclasses__()


def middle() -> float:
    return 0.5


def exactly() -> float:
    return 0.0


def test_a_create_is_sent_again_only_when_it_was_certainly_not_accepted() -> None:
    may = {kind.__name__ for kind in ERRORS if resend_after(kind("x"), 1, 0) is not None}
    assert may == {"RateLimitError", "NotConnectedError"}


def test_a_create_is_sent_again_after_1_2_4_8_seconds_and_for_two_minutes_at_most() -> None:
    error, waited, pauses = errors.NotConnectedError("refused"), 0.0, list[float]()
    while (after := resend_after(error, len(pauses) + 1, waited, exactly)) is not None:
        pauses.append(after)
        waited += after
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert waited <= RESEND_LIMIT


def test_a_create_waits_as_long_as_a_429_asks_or_leaves_it_to_the_scheduler() -> None:
    limit = errors.RateLimitError("slow", retry_after=30)
    assert resend_after(limit, 1, 0, exactly) == 30
    spread = resend_after(limit, 1, 0, middle)
    assert spread is not None
    assert 30 < spread <= 33
    assert resend_after(errors.RateLimitError("slow", retry_after=300), 1, 0) is None
