"""The stopwatch: each step begins where the one before has ended."""

from __future__ import annotations

from tests.chaos.steps import Steps


def steps_at(*instants: float) -> tuple[Steps, list[str]]:
    told: list[str] = []
    return Steps(told.append, iter(instants).__next__), told


def test_a_step_takes_the_seconds_since_the_one_before() -> None:
    steps, told = steps_at(10, 12, 17)

    steps.done("servers")
    steps.done("Airflow")

    assert steps.seconds == {"servers": 2, "Airflow": 5}
    assert told == ["servers (2.0 s)", "Airflow (5.0 s)"]


def test_each_quarter_of_the_work_is_a_step_once() -> None:
    steps, _ = steps_at(0, 30, 50)

    for share in (0.1, 0.25, 0.3, 0.49, 0.5, 0.6):
        steps.reached(share)

    assert steps.seconds == {"25% of the work is done": 30, "50% of the work is done": 20}


def test_quarters_that_pass_between_two_looks_are_one_step() -> None:
    steps, _ = steps_at(0, 40, 45)

    steps.reached(0.8)
    steps.reached(1.0)

    assert steps.seconds == {"75% of the work is done": 40, "100% of the work is done": 5}
