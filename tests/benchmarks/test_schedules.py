"""What the simulation of polling schedules makes of runs, pauses and means."""

from __future__ import annotations

from itertools import repeat
from random import Random
from statistics import median

import pytest

from airflow_provider_quickrouter.api.prediction import PredictionStatus
from airflow_provider_quickrouter.polling.history import Histories, Run, Timeline
from airflow_provider_quickrouter.polling.poll import Poll
from benchmarks import asking
from benchmarks.asking import MADE, MODEL, Cost, asked, exponential, fixed, past, shown, watched
from benchmarks.drawing import merged
from benchmarks.durations import COLD, DISTRIBUTIONS, PUBLISHED_RUN, between, published
from benchmarks.schedules import SCHEDULES, Means, Target, means, measured, misses, season

RUN = Run(1.0, 4.0)


def test_a_fixed_schedule_notices_the_end_at_its_next_question() -> None:
    assert fixed(2.0)(RUN) == Cost(delay=1.0, requests=3)


def test_an_exponential_schedule_grows_up_to_its_longest_pause() -> None:
    assert exponential(1.0, 2.0, 3.0)(Run(0.0, 8.5)) == Cost(delay=0.5, requests=4)


def test_pauses_that_end_too_early_are_an_error() -> None:
    with pytest.raises(ValueError, match="before the prediction"):
        asked(iter([1.0]), RUN)


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (0.5, PredictionStatus.STARTING),
        (1.0, PredictionStatus.PROCESSING),
        (5.0, PredictionStatus.SUCCEEDED),
    ],
)
def test_the_api_shows_a_state_and_the_times_that_have_passed(
    at: float, status: PredictionStatus
) -> None:
    seen = shown(RUN, at)
    told = (seen.created_at, seen.started_at, seen.completed_at)

    assert seen.status is status
    assert [time is not None for time in told] == [True, at >= 1.0, at >= 5.0]


def test_a_history_is_made_of_ends_that_were_seen() -> None:
    assert past([RUN] * 5).of(MODEL).pause(None, 0.0, 10.0) is not None
    assert past([RUN] * 4).of(MODEL).pause(None, 0.0, 10.0) is None


def test_who_knows_the_model_asks_less_often() -> None:
    runs = [RUN] * 30
    usual, learned = (
        watched(Poll("p", MADE, jitter=lambda: 0.5, timeline=timeline), RUN)
        for timeline in (None, Timeline(past(runs), MADE, MODEL))
    )

    assert learned.requests < usual.requests
    assert learned.delay < 2.0


def test_only_who_learns_adds_to_the_history() -> None:
    histories = Histories()
    for _ in range(5):
        asking.learned(Random(1), histories)(RUN)
    assert histories.of(MODEL).pause(None, 0.0, 10.0) is None
    for _ in range(5):
        asking.learning(Random(1), histories)(RUN)
    assert histories.of(MODEL).pause(None, 0.0, 10.0) is not None


def test_a_published_percentile_is_met_and_what_lies_between_is_on_the_logarithm() -> None:
    assert [between(PUBLISHED_RUN, share) for share in (0.1, 0.5, 1.0)] == pytest.approx(
        [1.9, 14.0, 3420.0]
    )
    assert between(((0.0, 1.0), (1.0, 100.0)), 0.5) == pytest.approx(10.0)


def test_draws_follow_their_distribution() -> None:
    random = Random(1)
    runs = [published(random).ran for _ in range(4000)]
    cold = [DISTRIBUTIONS["mixture"](random).queued >= 60 for _ in range(4000)]

    assert median(runs) == pytest.approx(14.0, rel=0.1)
    assert sum(cold) / len(cold) == pytest.approx(COLD, abs=0.02)


def test_without_observations_the_learned_schedule_is_the_plain_one() -> None:
    costs = season(DISTRIBUTIONS["warm"], Random(1), trials=3)

    assert costs["learned after 0"] == costs["plain"]
    assert {len(each) for each in costs.values()} == {15}


def test_the_worst_seed_is_that_of_each_number_alone() -> None:
    seasons = [[Cost(1.0, 4), Cost(3.0, 4)], [Cost(4.0, 2), Cost(4.0, 2)]]

    assert means(seasons) == Means(3.0, 4.0, 3.0, 4.0)


def test_a_missed_target_is_told() -> None:
    good, bad = Means(1.0, 1.0, 2.0, 2.0), Means(1.0, 1.0, 9.0, 9.0)
    table = {"warm": {"learned after 10": good}, "mixture": {"learned after 30": bad}}

    assert [text.split(":")[0] for text in misses(table)] == ["MISSED"]
    assert Target("mixture", "learned after 30", 1.1, 6.5).schedule in SCHEDULES


def test_equal_seeds_give_equal_numbers() -> None:
    draw = DISTRIBUTIONS["mixture"]

    assert measured(draw, [1, 2], trials=2) == measured(draw, [1, 2], trials=2)
    assert measured(draw, [1], trials=2) != measured(draw, [2], trials=2)


def test_points_in_one_place_share_a_label() -> None:
    points = {"a": (1.0, 2.0), "b": (1.001, 2.001), "c": (1.0, 3.0)}

    assert merged(points) == {"a\n= b": (1.0, 2.0), "c": (1.0, 3.0)}


def test_pauses_may_go_on_for_ever() -> None:
    assert asked(repeat(10.0), Run(0.0, 100_000.0)).requests == 10_000
