"""What the crowd of waits and the curve make of answers, counts and instants."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.crowd import Result, Setting, parser, row, settings_of, table
from benchmarks.crowding import Answers, lags
from benchmarks.curve import Point, Row, busiest, cells
from benchmarks.polled import World
from benchmarks.waiting.plan import ends

LISTED = Setting("with the list", 1500, 100)
GOOD: dict[str, Any] = {
    "longest_s": 20.0,
    "usual_longest_s": 12.0,
    "answers": 5000,
    "answers_a_second": 2000.0,
    "errors": 0,
    "over": 0,
    "lag_ms": 12.0,
    "longest_lag_ms": 300.0,
    "cpu_share": 0.3,
    "memory_kb": 9.0,
}
COUNTS: dict[str, Any] = {"peak_per_minute": 1426, "requests": {"list": 50, "get": 100}}


def result(client: dict[str, Any] | None = None, counts: dict[str, Any] | None = None) -> Result:
    return Result(LISTED, 20_000, GOOD | (client or {}), COUNTS | (counts or {}))


def test_the_time_without_an_answer_includes_the_beginning_and_the_end() -> None:
    answers = Answers()
    answers.begin(["a", "b", "c"], 100.0)
    for prediction_id, at in (("a", 103.0), ("a", 104.0), ("b", 101.0)):
        answers.note(prediction_id, at)

    assert answers.end(106.0) == [3.0, 5.0, 6.0]
    assert answers.number == 3


def test_lags_are_milliseconds_of_the_time_that_is_looked_at() -> None:
    seen: list[tuple[float, float]] = []

    def between(since: float, until: float) -> list[float]:
        seen.append((since, until))
        return [0.01] * 1000 + [0.5]

    assert lags(between, 1.0, 2.0) == {"lag_ms": 10.0, "longest_lag_ms": 500.0}
    assert seen == [(1.0, 2.0)]


def test_a_fair_share_is_what_the_budget_carries() -> None:
    assert Setting("", 60_000, 1).fair_share(20_000) == pytest.approx(21.05, abs=0.01)
    assert LISTED.fair_share(40_000) == pytest.approx(16.84, abs=0.01)


def test_a_wait_may_go_without_an_answer_for_three_shares_or_two_intervals() -> None:
    assert LISTED.most(40_000) == pytest.approx(50.53, abs=0.01)
    assert LISTED.most(10) == 20.0


def test_what_is_as_it_should_be_has_no_faults() -> None:
    assert list(result().faults()) == []


@pytest.mark.parametrize(
    ("client", "counts", "word"),
    [
        ({}, {"peak_per_minute": 1501}, "1501 requests"),
        ({"longest_s": 31.0}, {}, "31.0 s, more than 25.3 s"),
        ({"lag_ms": 100.0}, {}, "100 ms late"),
        ({"errors": 2}, {}, "2 errors"),
        ({"over": 1}, {}, "1 over"),
        ({"answers": 90}, {}, "only 90 answers"),
    ],
)
def test_each_thing_that_is_not_is_told(
    client: dict[str, Any], counts: dict[str, Any], word: str
) -> None:
    (fault,) = result(client, counts).faults()
    assert word in fault


def test_the_table_has_a_cell_for_each_column() -> None:
    assert len({line.count("|") for line in table([result()])}) == 1
    assert row(result())[:3] == ("20,000, with the list", "1,500", "1,426")


def test_both_ways_run_unless_one_is_chosen() -> None:
    assert len(settings_of(parser().parse_args([]))) == 2
    (only,) = settings_of(parser().parse_args(["--only", "no-list", "--without-list", "100"]))
    assert (only.per_minute, only.a_request) == (100.0, 1)
    assert only.options == ("--fault", "no_list=404")


def test_the_busiest_minute_is_found_wherever_it_begins() -> None:
    assert busiest([]) == 0
    assert busiest([0.0, 50.0, 60.0, 70.0, 109.0, 300.0]) == 4


@pytest.mark.parametrize("lists", [True, False])
def test_all_waits_of_a_world_end_within_its_budget(lists: bool) -> None:
    moments = ends(200, 60.0)
    world = World(moments, lists=lists, latency=0.2, seed=1)
    world.run()

    assert len(world.delays) == 200
    assert 0 < min(world.delays) <= max(world.delays) < 30
    assert busiest(world.requests) <= 1500
    assert world.requests == sorted(world.requests)


def test_pages_spare_requests() -> None:
    listed, unlisted = (
        World(ends(300, 120.0), lists=lists, latency=0.2, seed=1) for lists in (True, False)
    )
    listed.run()
    unlisted.run()
    assert len(listed.requests) < len(unlisted.requests) / 2


def test_a_row_of_the_curve_is_in_the_order_of_its_head() -> None:
    point = Point(1234.4, 1425, 5.04, 20.0)

    assert cells(Row(1000, point, point), minutes=20)[:6] == (
        *("1,000", "50.0", "1,234", "1,425", "5.0", "20.0"),
    )
