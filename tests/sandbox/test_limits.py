from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_quickrouter.sandbox.journal import Bucket, LimitResult, Limits


def taken(bucket: Bucket, now: float, calls: int) -> int:
    """Return how many of so many calls at one instant get a token."""
    return sum(not bucket.take(now).refused for _ in range(calls))


@pytest.mark.parametrize(("per_minute", "at_once"), [(600, 10), (3000, 50), (60, 1), (6, 1)])
def test_a_bucket_holds_what_comes_in_a_second_but_at_least_one(per_minute: float, at_once: int) -> None:
    assert taken(Bucket(per_minute), 0, 100) == at_once


def test_no_more_gather_while_nobody_calls() -> None:
    bucket = Bucket(600)
    assert [taken(bucket, now, 100) for now in (0, 1, 3600)] == [10, 10, 10]


def test_over_a_minute_as_many_are_let_through_as_the_limit_says() -> None:
    bucket = Bucket(600)
    bucket_was_full = 10
    instants = [step / 64 for step in range(60 * 64 + 1)]
    assert sum(taken(bucket, now, 3) for now in instants) == 600 + bucket_was_full


def test_tokens_come_back_one_by_one() -> None:
    bucket = Bucket(120)
    assert taken(bucket, 0, 5) == 2
    assert [taken(bucket, now, 5) for now in (0.25, 0.5, 0.75, 1.0)] == [0, 1, 0, 1]


def test_a_refused_call_costs_nothing() -> None:
    bucket = Bucket(6)
    bucket.take(0)
    assert [bucket.take(now).wait for now in (0, 2.5, 5)] == [10, 7.5, 5]
    assert not bucket.take(10).refused


def test_a_verdict_tells_what_is_left_and_when_all_is_back() -> None:
    bucket = Bucket(240)
    told = [(v.remaining, v.reset) for v in (bucket.take(0) for _ in range(5))]
    assert told == [(3, 1), (2, 1), (1, 1), (0, 1), (0, 1)]
    assert Bucket(6).take(0) == LimitResult(wait=0, remaining=0, reset=10)


@pytest.mark.parametrize(("wait", "seconds"), [(0.001, 1), (1, 1), (1.2, 2), (10, 10)])
def test_a_wait_is_told_in_whole_seconds_and_is_never_too_short(wait: float, seconds: int) -> None:
    assert LimitResult(wait, remaining=0, reset=1).retry_after == seconds


def test_a_clock_that_is_set_back_stops_nothing_for_long() -> None:
    bucket = Bucket(60)
    assert not bucket.take(5000).refused
    assert bucket.take(1000).refused
    assert not bucket.take(1001).refused


@pytest.mark.parametrize("per_minute", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_nothing(per_minute: float) -> None:
    with pytest.raises(ValueError, match="a limit per minute must be a number above 0"):
        Bucket(per_minute)


def test_creates_and_other_calls_are_limited_apart() -> None:
    limits = Limits(creates_per_minute=60, calls_per_minute=120)
    kinds = ("create", "create", "get", "list", "cancel", "other")
    verdicts = [limits.take(kind, 0) for kind in kinds]
    assert [v is not None and v.refused for v in verdicts] == [False, True, False, False, True, True]


def test_without_a_limit_there_is_no_verdict() -> None:
    limits = Limits(creates_per_minute=60, calls_per_minute=None)
    assert limits.take("get", 0) is None
    assert limits.take("create", 0) == LimitResult(wait=0, remaining=0, reset=1)


def test_waits_grow_shorter_as_time_goes_on() -> None:
    bucket = Bucket(1)
    waits = [bucket.take(now).wait for now in (0, 1, 20, 59)]
    assert waits[0] == 0
    assert all(longer > shorter for longer, shorter in pairwise(waits[1:]))
