"""The pace of creates: as fast as the limit, evenly, and made up for what came late."""

from __future__ import annotations

import pytest

from airflow_provider_quickrouter.polling.rate_limit import RateLimit

NOW = 1_790_000_000.0


def sent_at(budget: RateLimit, wakes: list[float]) -> list[float]:
    """When each question is sent by one who wakes so much later than it may."""
    now, sent = NOW, []
    for late in wakes:
        now += budget.pause(now) + late
        budget.count(now)
        sent.append(round(now - NOW, 6))
    return sent


def test_the_whole_rate_may_be_used() -> None:
    assert sent_at(RateLimit(600, used=1.0), [0, 0, 0]) == [0, 0.1, 0.2]


def test_lateness_is_made_up_for_within_the_slack() -> None:
    assert sent_at(RateLimit(600, used=1.0, slack=0.5), [0, 0.25, 0, 0, 0]) == [*(0, 0.35, 0.35, 0.35), 0.4]


def test_without_slack_lateness_is_lost() -> None:
    assert sent_at(RateLimit(600, used=1.0), [0, 0.25, 0]) == [0, 0.35, 0.45]


def test_a_long_stop_is_made_up_for_by_no_more_than_the_slack() -> None:
    sent = sent_at(RateLimit(600, used=1.0, slack=0.5), [0, 60, *[0.0] * 7])
    assert sent[1:7] == pytest.approx([60.1] * 6)
    assert sent[7:] == pytest.approx([60.2, 60.3])


def test_the_first_ones_make_up_for_nothing() -> None:
    assert sent_at(RateLimit(600, used=1.0, slack=0.5), [0, 0]) == [0, 0.1]
