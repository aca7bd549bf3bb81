from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.polling import (
    LONGEST_PAUSE,
    NOT_FOUND_GRACE,
    PATIENCE,
    RESEND_LIMIT,
    SHORTEST_PAUSE,
    Again,
    Watch,
    resend_after,
)
from airflow_provider_quickrouter.api.prediction import Prediction

START = 1_000_000.0
BUSY = errors.UpstreamError("busy", status=503)


def middle() -> float:
    return 0.5


def exactly() -> float:
    return 0.0


def watch(**fields: Any) -> Watch:
    return Watch("p1", START, jitter=fields.pop("jitter", middle), **fields)


def seen(status: str = "processing", **fields: Any) -> Prediction:
    return Prediction.from_json({"id": "p1", "status": status, **fields})


def pause(step: Again | Outcome) -> float:
    assert isinstance(step, Again)
    return step.after


def end(step: Again | Outcome) -> Outcome:
    assert isinstance(step, Outcome)
    return step


def questions(waiting: Watch, answer: Prediction | errors.APIError, until: float) -> list[float]:
    """Seconds at which one process would ask, given always the same answer."""
    now, asked = START, []
    step: Again | Outcome = waiting.start(now)
    while isinstance(step, Again) and now + step.after <= START + until:
        now += step.after
        asked.append(round(now - START, 2))
        failed = isinstance(answer, errors.APIError)
        step = waiting.failed(answer, now) if failed else waiting.saw(answer, now)  # type: ignore[arg-type]
    return asked


def test_questions_come_quickly_at_first_and_slower_later() -> None:
    assert questions(watch(), seen(), 40) == [
        1,
        1.5,
        2.25,
        3.38,
        5.06,
        7.59,
        11.39,
        17.09,
        25.63,
        35.63,
    ]


def test_the_authors_interval_is_the_upper_bound() -> None:
    assert questions(watch(poll_interval=2), seen(), 12) == [
        1,
        1.5,
        2.25,
        3.38,
        5.06,
        7.06,
        9.06,
        11.06,
    ]


def test_five_hundred_waits_do_not_ask_in_step() -> None:
    pauses = {Watch("p1", START).start(START + 30).after for _ in range(500)}
    assert len(pauses) > 400
    assert min(pauses) >= 8
    assert max(pauses) <= 12


def test_ten_seconds_of_503_cost_at_most_ten_questions() -> None:
    assert len(questions(watch(), BUSY, 10)) <= 10


def test_trouble_doubles_the_pause_up_to_a_minute() -> None:
    waiting = watch(poll_interval=1)
    pauses = [pause(waiting.failed(BUSY, START)) for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_good_answer_forgives_earlier_trouble() -> None:
    waiting = watch()
    for _ in range(5):
        waiting.failed(BUSY, START)
    waiting.saw(seen(), START + PATIENCE + 1)
    assert pause(waiting.failed(BUSY, START + PATIENCE + 2)) < 60
    assert waiting.trouble is BUSY


def test_the_server_decides_how_long_to_wait_after_429() -> None:
    error = errors.RateLimitError("slow", status=429, retry_after=37.0)
    assert pause(watch().failed(error, START)) == 37
    error = errors.RateLimitError("slow", status=429, retry_after=86_400.0)
    assert pause(watch().failed(error, START)) == LONGEST_PAUSE


def test_trouble_that_lasts_ten_minutes_settles_with_the_transient_error() -> None:
    waiting = watch()
    waiting.failed(BUSY, START)
    outcome = end(waiting.failed(BUSY, START + PATIENCE))
    assert outcome.reason is Reason.API_ERROR
    assert outcome.error is BUSY


@pytest.mark.parametrize(
    "kind",
    [
        errors.AuthenticationError,
        errors.QuotaError,
        errors.PermissionDeniedError,
        errors.InvalidRequestError,
        errors.NoChannelError,
        errors.RedirectError,
    ],
)
def test_a_permanent_error_settles_at_once(kind: type[errors.APIError]) -> None:
    error = kind("no")
    assert end(watch().failed(error, START + 5)).error is error


def test_a_404_may_heal_within_30_seconds_of_the_start() -> None:
    missing = errors.NotFoundError("no such prediction", status=404)
    assert pause(watch().failed(missing, START + NOT_FOUND_GRACE - 1)) > 0
    assert end(watch().failed(missing, START + NOT_FOUND_GRACE)).error is missing


def test_a_prediction_that_is_over_settles() -> None:
    outcome = end(watch().saw(seen("succeeded", output="https://x"), START + 1))
    assert outcome.reason is Reason.SUCCEEDED


def test_the_deadline_ends_the_wait_with_what_was_seen_last() -> None:
    waiting = watch(deadline=START + 5)
    assert pause(waiting.saw(seen("starting"), START + 4)) == 1
    outcome = end(waiting.saw(seen("processing"), START + 5))
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.prediction == seen("processing")


def test_the_deadline_also_ends_a_wait_in_trouble() -> None:
    outcome = end(watch(deadline=START).failed(BUSY, START))
    assert (outcome.reason, outcome.error) == (Reason.TIMEOUT, BUSY)


def test_a_result_at_the_deadline_is_still_a_result() -> None:
    outcome = end(watch(deadline=START).saw(seen("succeeded", output="https://x"), START + 9))
    assert outcome.reason is Reason.SUCCEEDED


def test_after_a_long_standstill_it_is_asked_once_more_before_giving_up() -> None:
    waiting = watch(deadline=START + 5)
    assert waiting.start(START + 9_000).after == SHORTEST_PAUSE


def test_the_log_hears_of_trouble_and_of_news_only() -> None:
    waiting = watch()
    trouble = waiting.failed(BUSY, START)
    assert isinstance(trouble, Again)
    assert trouble.line == "Asking again in 1 s: HTTP 503: busy."
    lines = [waiting.saw(seen(), START + second) for second in (1, 2, 3)]
    assert [isinstance(step, Again) and bool(step.line) for step in lines] == [True, False, False]


all_errors = st.sampled_from(errors.APIError.__subclasses__())
times = st.floats(min_value=0, max_value=100_000)


@given(kind=all_errors, retry_after=st.none() | times, now=times, deadline=st.none() | times)
def test_no_error_ever_leads_to_asking_again_without_a_pause(
    kind: type[errors.APIError], retry_after: float | None, now: float, deadline: float | None
) -> None:
    waiting = watch(deadline=None if deadline is None else START + deadline)
    step = waiting.failed(kind("x", retry_after=retry_after), START + now)
    assert isinstance(step, Outcome) or step.after >= SHORTEST_PAUSE


@given(now=st.floats(min_value=-1e6, max_value=1e6), jitter=st.floats(0, 0.999))
def test_no_answer_ever_leads_to_asking_again_without_a_pause(now: float, jitter: float) -> None:
    waiting = watch(jitter=lambda: jitter)
    assert pause(waiting.saw(seen(), START + now)) >= SHORTEST_PAUSE
    assert waiting.start(START + now).after >= SHORTEST_PAUSE


def test_a_create_is_sent_again_only_when_it_was_certainly_not_accepted() -> None:
    may = {
        kind.__name__
        for kind in errors.APIError.__subclasses__()
        if resend_after(kind("x"), 1, 0) is not None
    }
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
