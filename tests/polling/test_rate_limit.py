from __future__ import annotations

import pytest

from airflow_provider_quickrouter.polling.rate_limit import USED, RateLimit

NOW = 1_000_000.0


def sent_in(budget: RateLimit, seconds: float, now: float = NOW) -> int:
    """How many questions a caller with plenty of them sends."""
    sent, at = 0, now
    while (at := at + budget.pause(at)) < now + seconds:
        budget.count(at)
        sent += 1
    return sent


def test_questions_of_any_minute_stay_under_the_rate() -> None:
    assert sent_in(RateLimit(600), 60) == pytest.approx(600 * USED, abs=1)


def test_questions_are_spaced_evenly_also_after_a_quiet_time() -> None:
    budget = RateLimit(60 / USED)
    assert sent_in(budget, 10) == 10
    assert sent_in(budget, 10, NOW + 1000) == 10


def test_no_rate_means_no_pause() -> None:
    budget = RateLimit(0)
    budget.count(NOW)
    assert budget.pause(NOW) == 0


def test_a_refusal_stops_all_questions_as_long_as_it_asks_for() -> None:
    budget = RateLimit(0)
    budget.on_refusal(NOW, 7.0)
    assert budget.pause(NOW) == 7.0
    assert budget.pause(NOW + 7) == 0


def test_a_refusal_that_names_no_time_stops_them_for_a_second_and_none_for_over_a_minute() -> None:
    budget = RateLimit(0)
    budget.on_refusal(NOW, None)
    assert budget.pause(NOW) == 1.0
    budget.on_refusal(NOW, 9_999)
    assert budget.pause(NOW) == 60.0


def test_a_refusal_halves_the_rate_which_then_recovers() -> None:
    budget = RateLimit(600)
    whole = budget.spacing(NOW)
    budget.on_refusal(NOW, 1.0)
    assert budget.spacing(NOW) == pytest.approx(2 * whole)
    assert whole < budget.spacing(NOW + 10) < 2 * whole
    assert budget.spacing(NOW + 31) == pytest.approx(whole)


def test_many_refusals_at_once_are_one() -> None:
    budget = RateLimit(600)
    whole = budget.spacing(NOW)
    for _ in range(12):
        budget.on_refusal(NOW + 0.1, 1.0)
    assert budget.spacing(NOW + 0.1) == pytest.approx(2 * whole)


def test_lasting_refusals_never_stop_it_for_good() -> None:
    budget = RateLimit(600)
    for second in range(100):
        budget.on_refusal(NOW + second, 0.0)
    assert budget.spacing(NOW + 99) < 60 / 600 / USED * 65


def test_what_the_server_has_left_is_spread_over_the_time_until_it_is_full() -> None:
    budget = RateLimit(0)
    budget.on_headers(NOW, {"ratelimit-remaining": "5", "ratelimit-reset": "10"})
    assert budget.spacing(NOW) == 2.0
    assert budget.spacing(NOW + 10) == 0.0


def test_plenty_left_does_not_raise_the_rate() -> None:
    budget = RateLimit(600)
    whole = budget.spacing(NOW)
    budget.on_headers(NOW, {"ratelimit-remaining": "2999", "ratelimit-reset": "1"})
    assert budget.spacing(NOW) == whole


def test_nothing_left_is_a_pause_until_it_is_full() -> None:
    budget = RateLimit(0)
    budget.on_headers(NOW, {"ratelimit-remaining": "0", "ratelimit-reset": "3"})
    budget.count(NOW)
    assert budget.pause(NOW) == 3.0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit-remaining": "many", "ratelimit-reset": "1"},
        {"ratelimit-remaining": "1"},
        {"ratelimit-remaining": "1", "ratelimit-reset": "soon"},
    ],
)
def test_headers_that_tell_nothing_change_nothing(headers: dict[str, str]) -> None:
    budget = RateLimit(0)
    budget.on_headers(NOW, headers)
    assert budget.spacing(NOW) == 0
