from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_quickrouter.polling.poll import LONGEST, Limits, airflows_limit

CREATED, BEGAN = 1_000.0, 1_200.0


def test_the_timeout_counts_from_the_create() -> None:
    limits = Limits(timeout=3_600)
    assert limits.deadline(CREATED, BEGAN) == CREATED + 3_600
    assert limits.servers == 3_900
    assert limits.start_deadline(CREATED) is None


@pytest.mark.parametrize(("given", "own"), [(50, 45.0), (100, 90.0), (600, 590.0)])
def test_a_shorter_execution_timeout_counts_and_comes_a_little_before_airflows(
    given: int, own: float
) -> None:
    limits = Limits(timeout=3_600, execution_timeout=timedelta(seconds=given))
    assert limits.own == own
    assert limits.deadline(BEGAN, BEGAN) == BEGAN + own


def test_airflows_limit_is_that_of_the_try_also_if_the_create_was_sent_late() -> None:
    limits = Limits(timeout=3_600, execution_timeout=timedelta(seconds=600))
    assert limits.deadline(since=BEGAN + 60, began=BEGAN) == BEGAN + 590


def test_a_prediction_must_have_started_so_long_after_its_create() -> None:
    assert Limits(timeout=60, start_timeout=20).start_deadline(CREATED) == CREATED + 20


def test_airflows_own_limit_lies_a_minute_behind_the_deadline() -> None:
    assert airflows_limit(CREATED + 10, now=CREATED) == timedelta(seconds=70)
    assert airflows_limit(CREATED - 10, now=CREATED) == timedelta(seconds=60)
    assert airflows_limit(float("inf"), now=CREATED) == timedelta(seconds=LONGEST)
