from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.polling.poll import (
    GONE_AFTER,
    LONGEST_PAUSE,
    OUTPUT_GRACE,
    OUTPUT_PAUSE,
    PATIENCE,
    SHORTEST_PAUSE,
    Again,
    Poll,
)

START = 1_000_000.0
BUSY = errors.UpstreamError("busy", status=503)
MISSING = errors.NotFoundError("no such prediction", status=404, from_api=True)
ERRORS = errors.APIError.__subclasses__()
OUTAGES = [
    (kind, from_api)
    for kind in ERRORS
    for from_api in (True, False)
    if not (kind is errors.NotFoundError and from_api)
]


def middle() -> float:
    return 0.5


def watch(**fields: Any) -> Poll:
    return Poll("p1", START, jitter=fields.pop("jitter", middle), **fields)


def vars_of(waiting: Poll) -> dict[str, Any]:
    return {name: getattr(waiting, name) for name in ("error", "last")}


def seen(status: str = "processing", **fields: Any) -> Prediction:
    return Prediction.from_json({"id": "p1", "status": status, **fields})


def pause(step: Again | Outcome) -> float:
    assert isinstance(step, Again)
    return step.after


def end(step: Again | Outcome) -> Outcome:
    assert isinstance(step, Outcome)
    return step


def questions(waiting: Poll, answer: Prediction | errors.APIError, until: float) -> list[float]:
    """Seconds at which one process would ask, given always the same answer."""
    now, asked = START, []
    step: Again | Outcome = Again(waiting.first_pause(now))
    while isinstance(step, Again) and now + step.after <= START + until:
        now += step.after
        asked.append(round(now - START, 2))
        failed = isinstance(answer, errors.APIError)
        step = waiting.on_error(answer, now) if failed else waiting.on_prediction(answer, now)  # type: ignore[arg-type]
    return asked


def test_questions_come_quickly_at_first_and_slower_later() -> None:
    assert questions(watch(), seen(), 40) == [1, 1.5, 2.25, 3.38, 5.06, 7.59, 11.39, 17.09, 25.63, 35.63]


def test_the_authors_interval_is_the_upper_bound() -> None:
    assert questions(watch(poll_interval=2), seen(), 12) == [1, 1.5, 2.25, 3.38, 5.06, 7.06, 9.06, 11.06]


def test_five_hundred_waits_do_not_ask_in_step() -> None:
    pauses = {Poll("p1", START).first_pause(START + 30) for _ in range(500)}
    assert len(pauses) > 400
    assert min(pauses) >= 8
    assert max(pauses) <= 12


def test_ten_seconds_of_503_cost_at_most_ten_questions() -> None:
    assert len(questions(watch(), BUSY, 10)) <= 10


def test_trouble_doubles_the_pause_up_to_a_minute() -> None:
    waiting = watch(poll_interval=1)
    pauses = [pause(waiting.on_error(BUSY, START)) for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_good_answer_forgives_earlier_trouble() -> None:
    waiting = watch()
    for _ in range(5):
        waiting.on_error(BUSY, START)
    waiting.on_prediction(seen(), START + PATIENCE + 1)
    assert vars_of(waiting)["error"] is None
    assert pause(waiting.on_error(BUSY, START + PATIENCE + 2)) < 60
    assert vars_of(waiting)["error"] is BUSY
    assert pause(waiting.on_error(BUSY, START + 2 * PATIENCE + 1)) > 0
    assert end(waiting.on_error(BUSY, START + 2 * PATIENCE + 2)).error is BUSY


def test_the_server_decides_how_long_to_wait_after_429() -> None:
    error = errors.RateLimitError("slow", status=429, retry_after=37.0)
    assert pause(watch().on_error(error, START)) == 37
    error = errors.RateLimitError("slow", status=429, retry_after=86_400.0)
    assert pause(watch().on_error(error, START)) == LONGEST_PAUSE


def test_trouble_that_lasts_ten_minutes_settles_with_the_transient_error() -> None:
    waiting = watch()
    waiting.on_error(BUSY, START)
    outcome = end(waiting.on_error(BUSY, START + PATIENCE))
    assert outcome.reason is Reason.API_ERROR
    assert outcome.error is BUSY


def waited_out(waiting: Poll, error: errors.QuickRouterError) -> errors.QuickRouterError:
    """Check that only ten minutes of this error end the wait; return what the wait ends with."""
    for seconds in (0, 1, GONE_AFTER - 1, GONE_AFTER, PATIENCE - 1):
        assert pause(waiting.on_error(error, START + seconds)) >= SHORTEST_PAUSE
        assert waiting.error is error
    outcome = end(waiting.on_error(error, START + PATIENCE))
    assert outcome.reason is Reason.API_ERROR
    assert outcome.error is not None
    assert outcome.error.transient
    return outcome.error


@pytest.mark.parametrize(("kind", "from_api"), OUTAGES)
def test_a_confirmed_wait_survives_ten_minutes_of_any_error(
    kind: type[errors.APIError], from_api: bool
) -> None:
    error = kind("no", status=418, request_id="r1", from_api=from_api)
    ended = waited_out(watch(), error)
    assert (ended is error) is error.transient
    assert type(ended) is (kind if error.transient else errors.UpstreamError)


def test_a_permanent_error_that_lasted_is_quoted_and_can_be_retried() -> None:
    refused = errors.AuthenticationError("bad key", status=401, request_id="r1", from_api=True)
    ended = waited_out(watch(), refused)
    assert isinstance(ended, errors.UpstreamError)
    assert (ended.status, ended.request_id) == (401, "r1")
    assert str(ended) == (
        "HTTP 401: polling failed for 10 minutes, at last with: bad key. "
        "Check the API key in the connection's password. [request id r1]"
    )


def test_a_connection_that_cannot_be_used_is_waited_out_too() -> None:
    wrong = errors.InvalidConnectionError("extra.timeout: must be a number, got 'soon'")
    ended = waited_out(watch(), wrong)
    assert str(ended) == f"polling failed for 10 minutes, at last with: {wrong}."
    assert isinstance(ended, errors.UpstreamError)


def test_of_several_errors_the_last_one_is_quoted_and_the_first_one_begins_the_ten_minutes() -> None:
    waiting = watch()
    waiting.on_error(BUSY, START)
    waiting.on_error(errors.RedirectError("moved", status=302), START + 300)
    outcome = end(waiting.on_error(errors.QuotaError("no money", status=402), START + PATIENCE))
    assert "no money" in str(outcome.error)


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_404_of_the_api_that_lasts_a_minute_means_that_it_is_gone(confirmed: bool) -> None:
    waiting = watch(confirmed=confirmed)
    for seconds in (100, 101, 100 + GONE_AFTER - 1):
        assert pause(waiting.on_error(MISSING, START + seconds)) >= SHORTEST_PAUSE
    outcome = end(waiting.on_error(MISSING, START + 100 + GONE_AFTER))
    assert (outcome.reason, outcome.error) == (Reason.API_ERROR, MISSING)
    assert not MISSING.transient


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("other", [BUSY, errors.NotFoundError("Invalid URL", status=404), None], ids=str)
def test_any_other_response_begins_the_minute_of_404s_again(
    other: errors.APIError | None, confirmed: bool
) -> None:
    waiting = watch(confirmed=confirmed)
    waiting.on_error(MISSING, START)
    between = START + GONE_AFTER / 2
    pause(waiting.on_error(other, between) if other else waiting.on_prediction(seen(), between))
    assert pause(waiting.on_error(MISSING, START + GONE_AFTER)) >= SHORTEST_PAUSE
    assert pause(waiting.on_error(MISSING, START + 2 * GONE_AFTER - 1)) >= SHORTEST_PAUSE
    assert end(waiting.on_error(MISSING, START + 2 * GONE_AFTER)).error is MISSING


def test_a_page_with_status_404_never_means_that_it_is_gone() -> None:
    page = errors.NotFoundError("Not Found", status=404, from_api=False)
    assert isinstance(waited_out(watch(), page), errors.UpstreamError)


REFUSALS: list[errors.QuickRouterError] = [
    errors.AuthenticationError("bad key", status=401, from_api=True),
    errors.AuthenticationError("Unauthorized", status=401, from_api=False),
    errors.PermissionDeniedError("not this model", status=403, from_api=True),
    errors.QuotaError("no money", status=403, from_api=True),
    errors.InvalidConnectionError("extra.timeout: must be a number, got 'soon'"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_wait_that_never_had_a_good_response_ends_at_once_when_it_is_refused(
    error: errors.QuickRouterError,
) -> None:
    outcome = end(watch(confirmed=False).on_error(error, START + 5))
    assert (outcome.reason, outcome.error) == (Reason.API_ERROR, error)
    assert not error.transient


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_good_response_confirms_a_wait(error: errors.QuickRouterError) -> None:
    waiting = watch(confirmed=False)
    waiting.on_prediction(seen("starting"), START - 1)
    assert waiting.confirmed
    waited_out(waiting, error)


@pytest.mark.parametrize(
    "error",
    [
        errors.PermissionDeniedError("Forbidden", status=403, from_api=False),
        errors.QuotaError("余额", status=403, from_api=False),
        errors.InvalidRequestError("bad", status=400, from_api=True),
        errors.NoChannelError("no channel", status=503, from_api=True),
        errors.RedirectError("moved", status=302, from_api=True),
        errors.UpstreamError("the connection could not be read"),
        BUSY,
    ],
    ids=repr,
)
def test_without_a_good_response_any_other_error_is_waited_out(error: errors.APIError) -> None:
    waited_out(watch(confirmed=False), error)


def test_a_connection_that_may_be_readable_later_is_waited_out_without_a_good_response() -> None:
    missing = errors.InvalidConnectionError("it was not found", transient=True)
    assert waited_out(watch(confirmed=False), missing) is missing


EMPTY = seen("succeeded", output=[])


def test_a_success_without_output_is_polled_again_for_ten_seconds() -> None:
    waiting = watch(poll_interval=60)
    assert not waiting.awaits_output
    for seconds in (50, 52, 50 + OUTPUT_GRACE - 0.1):
        assert pause(waiting.on_prediction(EMPTY, START + seconds)) == OUTPUT_PAUSE
        assert waiting.awaits_output
    assert end(waiting.on_prediction(EMPTY, START + 50 + OUTPUT_GRACE)).reason is Reason.EMPTY


def test_an_output_that_comes_a_moment_after_the_status_is_a_success() -> None:
    waiting = watch()
    pause(waiting.on_prediction(EMPTY, START + 50))
    outcome = end(waiting.on_prediction(seen("succeeded", output=["https://x"]), START + 52))
    assert (outcome.reason, outcome.output) == (Reason.SUCCEEDED, ["https://x"])


def test_at_the_deadline_a_success_without_output_is_no_timeout() -> None:
    waiting = watch(deadline=START + 51)
    assert pause(waiting.on_prediction(EMPTY, START + 50)) == 1
    assert end(waiting.on_prediction(EMPTY, START + 51)).reason is Reason.EMPTY


@pytest.mark.parametrize("fields", [{"status": "failed"}, {"data_removed": True}])
def test_no_other_end_waits_for_an_output(fields: dict[str, Any]) -> None:
    end(watch().on_prediction(seen(**{"status": "succeeded", "output": []} | fields), START + 50))


def test_a_prediction_that_is_over_settles() -> None:
    outcome = end(watch().on_prediction(seen("succeeded", output="https://x"), START + 1))
    assert outcome.reason is Reason.SUCCEEDED


def test_the_deadline_ends_the_wait_with_what_was_seen_last() -> None:
    waiting = watch(deadline=START + 5)
    assert pause(waiting.on_prediction(seen("starting"), START + 4)) == 1
    outcome = end(waiting.on_prediction(seen("processing"), START + 5))
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.prediction == seen("processing")


def test_the_deadline_also_ends_a_wait_in_trouble() -> None:
    outcome = end(watch(deadline=START).on_error(BUSY, START))
    assert (outcome.reason, outcome.error) == (Reason.TIMEOUT, BUSY)


def test_a_result_at_the_deadline_is_still_a_result() -> None:
    outcome = end(watch(deadline=START).on_prediction(seen("succeeded", output="https://x"), START + 9))
    assert outcome.reason is Reason.SUCCEEDED


def test_after_a_long_standstill_it_is_asked_once_more_before_giving_up() -> None:
    waiting = watch(deadline=START + 5)
    assert waiting.first_pause(START + 9_000) == SHORTEST_PAUSE


def logged(step: Again | Outcome) -> tuple[str | None, bool]:
    assert isinstance(step, Again)
    return step.line, step.warning


def test_the_first_error_of_an_outage_is_a_warning_that_says_when_the_wait_gives_up() -> None:
    waiting = watch()
    assert logged(waiting.on_error(BUSY, START)) == (
        "Polling prediction p1 fails since 13:46:40 UTC: HTTP 503: busy. "
        "Polling again in 1 s, giving up at 13:56:40 UTC.",
        True,
    )
    assert logged(waiting.on_error(BUSY, START + 1)) == ("Polling again in 2 s: HTTP 503: busy.", False)


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        ([0], "Polling works again after 1 error in 3 s."),
        ([0, 1, 2], "Polling works again after 3 errors in 3 s."),
    ],
)
def test_the_first_good_response_after_errors_is_a_warning(seconds: list[int], line: str) -> None:
    waiting = watch()
    for second in seconds:
        waiting.on_error(BUSY, START + second)
    found, warning = logged(waiting.on_prediction(seen(), START + 3))
    assert found is not None
    assert found.startswith(line)
    assert "processing" in found
    assert warning
    assert logged(waiting.on_prediction(seen(), START + 4)) == (None, False)
    again, warning = logged(waiting.on_error(BUSY, START + 5))
    assert (str(again).startswith("Polling prediction p1 fails since 13:46:45"), warning) == (True, True)


def test_a_good_response_that_brings_no_news_ends_an_outage_too() -> None:
    waiting = watch()
    waiting.on_prediction(seen(), START)
    waiting.on_error(BUSY, START + 1)
    step = waiting.on_prediction(seen(), START + 2)
    assert logged(step) == ("Polling works again after 1 error in 1 s.", True)


def test_news_without_an_outage_are_no_warning() -> None:
    waiting = watch()
    steps = [logged(waiting.on_prediction(seen(), START + second)) for second in (1, 2, 3)]
    assert [bool(line) for line, _ in steps] == [True, False, False]
    assert [warning for _, warning in steps] == [False, False, False]


def test_a_step_is_logged_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for step in (Again(1.0), Again(1.0, "news"), Again(1.0, "outage", warning=True)):
        step.log_to(logging.getLogger("tests"))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "news"),
        ("WARNING", "outage"),
    ]


all_errors = st.sampled_from(ERRORS)
times = st.floats(min_value=0, max_value=100_000)


@given(kind=all_errors, retry_after=st.none() | times, now=times, deadline=st.none() | times)
def test_no_error_ever_leads_to_asking_again_without_a_pause(
    kind: type[errors.APIError], retry_after: float | None, now: float, deadline: float | None
) -> None:
    waiting = watch(deadline=None if deadline is None else START + deadline)
    step = waiting.on_error(kind("x", retry_after=retry_after), START + now)
    assert isinstance(step, Outcome) or step.after >= SHORTEST_PAUSE


@given(now=st.floats(min_value=-1e6, max_value=1e6), jitter=st.floats(0, 0.999))
def test_no_answer_ever_leads_to_asking_again_without_a_pause(now: float, jitter: float) -> None:
    waiting = watch(jitter=lambda: jitter)
    assert pause(waiting.on_prediction(seen(), START + now)) >= SHORTEST_PAUSE
    assert waiting.first_pause(START + now) >= SHORTEST_PAUSE


@pytest.mark.parametrize("next_response", ["processing", "an error"])
def test_only_an_empty_success_just_now_is_polled_again_soon(next_response: str) -> None:
    waiting = watch(poll_interval=10)
    waiting.on_prediction(seen("succeeded", output=None), START + 100)
    assert waiting.awaits_output is True
    if next_response == "processing":
        assert pause(waiting.on_prediction(seen("processing"), START + 102)) == 10
    else:
        waiting.on_error(BUSY, START + 102)
    assert [waiting.awaits_output] == [False]


BEHIND = "1970-01-01T00:00:01Z"


def test_the_end_of_a_prediction_that_was_seen_to_run_is_not_before_that() -> None:
    done = seen("succeeded", output="x", completed_at=BEHIND)
    polled = watch()
    polled.on_prediction(seen(), START + 3)
    for waiting in (polled, watch(unfinished_at=START)):
        ended = end(waiting.on_prediction(done, START + 5)).prediction
        assert ended
        assert ended.completed_at
        assert ended.completed_at.timestamp() == START + 5
        assert waiting.last == ended


def test_an_end_before_the_wait_is_as_the_api_states_it() -> None:
    done = seen("succeeded", output="x", completed_at=BEHIND)
    assert end(watch().on_prediction(done, START + 5)).prediction == done


def test_an_output_that_is_not_there_yet_has_not_expired_where_the_clock_of_the_gateway_is_behind() -> None:
    done = seen("succeeded", completed_at=BEHIND)
    assert isinstance(watch(unfinished_at=START).on_prediction(done, START + 1), Again)
    assert end(watch().on_prediction(done, START)).reason is Reason.EXPIRED
