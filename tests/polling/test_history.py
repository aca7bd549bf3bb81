from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.polling.history import (
    FEWEST,
    LENGTH,
    MODELS,
    Histories,
    History,
    Run,
    Timeline,
)
from airflow_provider_quickrouter.polling.poll import Poll

NOW = 1_000_000.0
STARTING, PROCESSING = PredictionStatus.STARTING, PredictionStatus.PROCESSING


def history(*runs: tuple[float, float]) -> History:
    made = History()
    for run in runs:
        made.add(Run(*run))
    return made


def prediction(status: str, model: str | None = "a/b", **times: float) -> Prediction:
    told = {name: datetime.fromtimestamp(at, UTC) for name, at in times.items()}
    return Prediction(id="p1", status=PredictionStatus.of(status), model=model, **told)  # type: ignore[arg-type]


def test_too_few_past_runs_tell_nothing() -> None:
    assert history(*[(0.2, 4.0)] * (FEWEST - 1)).pause(None, 0, 10) is None


def test_the_first_question_comes_about_when_most_runs_have_ended() -> None:
    pause = history(*[(0.2, 4.0)] * FEWEST).pause(None, 0, 10)
    assert pause is not None
    assert 3 < pause < 6


def test_each_state_has_a_history_of_its_own() -> None:
    booting = history(*[(100.0, 4.0)] * FEWEST)
    starting, processing = booting.pause(STARTING, 50, 600), booting.pause(PROCESSING, 0, 600)
    assert starting is not None
    assert processing is not None
    assert processing < 6 < starting


def test_what_takes_longer_than_all_runs_before_is_asked_by_the_plain_schedule() -> None:
    assert history(*[(0.2, 4.0)] * FEWEST).pause(PROCESSING, 30, 10) is None


def test_runs_that_cannot_end_before_the_next_question_do_not_put_it_off() -> None:
    warm, cold = [(0.2, 4.0)] * 8, [(500.0, 4.0)] * 8
    with_cold, alone = history(*warm, *cold), history(*warm)
    assert with_cold.pause(None, 0, 10) == pytest.approx(alone.pause(None, 0, 10), rel=0.3)


def test_a_single_run_ahead_is_asked_for_when_it_has_waited_for_the_price() -> None:
    pause = history(*[(0.0, 1.0)] * (FEWEST - 1), (0.0, 100.0)).pause(PROCESSING, 150, 10)
    assert pause == pytest.approx(10.34)


def test_only_the_last_runs_count() -> None:
    changed = history(*[(0.2, 500.0)] * LENGTH, *[(0.2, 4.0)] * LENGTH)
    assert changed.pause(None, 0, 600) == history(*[(0.2, 4.0)] * LENGTH).pause(None, 0, 600)


def test_the_model_that_was_not_met_for_longest_is_forgotten() -> None:
    histories = Histories()
    first = histories.of("first")
    for number in range(MODELS - 1):
        histories.of(f"model {number}")
    assert histories.of("first") is first
    histories.of("one more")
    assert histories.of("first") is first
    assert histories.of("model 1") is histories.of("model 1")


def test_a_success_is_learned_from_with_the_times_that_the_api_tells() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        Timeline(histories, NOW).on_prediction(
            prediction("succeeded", created_at=NOW, started_at=NOW + 60, completed_at=NOW + 64), NOW + 90
        )
    assert histories.of("a/b").pause(PROCESSING, 0, 600) == pytest.approx(
        history(*[(60.0, 4.0)] * FEWEST).pause(PROCESSING, 0, 600)
    )


def test_a_failure_is_not_learned_from() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        Timeline(histories, NOW).on_prediction(
            prediction("failed", created_at=NOW, started_at=NOW, completed_at=NOW + 1), NOW + 2
        )
    assert histories.of("a/b").pause(None, 0, 10) is None


def test_times_that_the_api_does_not_tell_are_taken_from_its_answers() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        timeline = Timeline(histories, NOW)
        timeline.on_prediction(prediction("starting", None), NOW + 5)
        timeline.on_prediction(prediction("processing", None), NOW + 10)
        timeline.on_prediction(prediction("processing", None), NOW + 12)
        timeline.on_prediction(prediction("succeeded", None), NOW + 14)
    assert histories.of("").pause(STARTING, 0, 600) == history(*[(10.0, 3.0)] * FEWEST).pause(
        STARTING, 0, 600
    )


def test_an_end_at_the_first_answer_is_learned_from_as_well() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        Timeline(histories, NOW).on_prediction(prediction("succeeded"), NOW + 4)
    assert histories.of("a/b").pause(None, 0, 10) is not None


def test_processing_is_counted_from_its_beginning() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        histories.of("a/b").add(Run(60.0, 4.0))
    timeline = Timeline(histories, NOW)
    timeline.on_prediction(prediction("processing", created_at=NOW, started_at=NOW + 58), NOW + 60)
    assert timeline.pause(NOW + 60, 600) == histories.of("a/b").pause(PROCESSING, 2.0, 600)


def test_a_clock_of_the_api_that_is_ahead_does_no_harm() -> None:
    timeline = Timeline(Histories(), NOW, "a/b")
    timeline.on_prediction(prediction("processing", created_at=NOW + 999, started_at=NOW + 999), NOW + 1)
    assert timeline.pause(NOW + 2, 10) is None


def test_a_learned_pause_keeps_to_the_authors_interval() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        histories.of("a/b").add(Run(0.0, 500.0))
    timeline = Timeline(histories, NOW, "a/b")
    watch = Poll("p1", NOW, poll_interval=7.0, jitter=lambda: 0.5, timeline=timeline)
    assert watch.first_pause(NOW) == 7.0


def test_a_success_becomes_a_part_of_the_history() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        watch = Poll("p1", NOW, timeline=Timeline(histories, NOW))
        watch.on_prediction(prediction("succeeded", created_at=NOW, started_at=NOW, completed_at=NOW), NOW)
    assert histories.of("a/b").pause(None, 0, 10) is None
    assert histories.of("a/b").pause(None, -1, 10) is not None


def test_a_learned_pause_is_jittered_by_a_twentieth() -> None:
    histories = Histories()
    for _ in range(FEWEST):
        histories.of("a/b").add(Run(0.0, 500.0))
    jitter = random.Random(1)
    pauses = [
        Poll("p1", NOW, jitter=jitter.random, timeline=Timeline(histories, NOW, "a/b")).first_pause(NOW)
        for _ in range(200)
    ]
    assert 9.5 <= min(pauses) < 9.6
    assert 10.4 < max(pauses) <= 10.5


def test_a_run_without_all_times_is_none() -> None:
    assert Run.of(prediction("succeeded", created_at=NOW)) is None
    odd = prediction("succeeded", created_at=NOW, started_at=NOW - 1, completed_at=NOW - 2)
    assert Run.of(odd) == Run(0.0, 0.0)
