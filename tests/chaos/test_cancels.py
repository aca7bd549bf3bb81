"""Which cancels are right: pure decisions over what the gateway and the tasks reported."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.books import Accepted, Cancel, Failure, Job, TaskEnd
from tests.chaos.cancels import Cause, canceled
from tests.chaos.ledger import balance

PROMPT = "chaos run 1"
STOPPED = Accepted("stopped", PROMPT, "canceled", created_at=100, completed_at=104.2)
LATER = Accepted("later", PROMPT, "succeeded", created_at=110, completed_at=114)
CANCEL = Cancel("stopped", 104)
UNCERTAIN = Failure(frozenset({"UncertainCreateError"}), "lost", at=102, final=False)
TIMEOUT = Failure(frozenset({"PredictionTimeout"}), "Prediction stopped took too long", at=104)


def causes(*accepted: Accepted, task: TaskEnd, cancel: Cancel = CANCEL) -> list[Cause]:
    return [cause for cause, _ in canceled([cancel], accepted, [Job(PROMPT, task)])]


def test_a_cancel_that_no_task_asked_for_is_unwanted() -> None:
    running, failed = TaskEnd("running"), TaskEnd("failed")

    assert causes(STOPPED, task=running) == causes(STOPPED, task=failed) == [Cause.UNWANTED]


def test_a_cancel_that_did_not_take_effect_is_unwanted_as_well() -> None:
    went_on = replace(STOPPED, status="succeeded", completed_at=120)

    assert causes(went_on, task=TaskEnd("success", "stopped")) == [Cause.UNWANTED]


def test_a_cancel_of_a_prediction_whose_task_timed_out_is_right() -> None:
    assert causes(STOPPED, task=TaskEnd("failed", None, [TIMEOUT])) == [Cause.TIMED_OUT]


def test_the_timeout_of_another_prediction_does_not_excuse_a_cancel() -> None:
    other = replace(TIMEOUT, message="Prediction later took too long")

    assert causes(STOPPED, task=TaskEnd("failed", None, [other])) == [Cause.UNWANTED]


def test_the_timeout_of_the_sensor_excuses_a_cancel() -> None:
    job = Job(PROMPT, TaskEnd("success", "stopped"), TaskEnd("failed", None, [TIMEOUT]))

    assert canceled([CANCEL], [STOPPED], [job])[0][0] is Cause.TIMED_OUT


def test_an_uncertain_create_that_a_later_attempt_replaced_may_be_canceled() -> None:
    task = TaskEnd("success", "later", [UNCERTAIN])

    assert causes(STOPPED, LATER, task=task) == [Cause.REPLACED]
    assert causes(STOPPED, task=task) == [Cause.UNWANTED]
    assert causes(STOPPED, LATER, task=TaskEnd("success", "later")) == [Cause.UNWANTED]


def test_a_cancel_after_the_end_of_the_task_and_of_the_prediction_changes_nothing() -> None:
    over = replace(STOPPED, status="succeeded", completed_at=101)
    ended = TaskEnd("success", "stopped", ended_at=103)

    assert causes(over, task=ended) == [Cause.OVER]
    assert causes(STOPPED, task=ended) == [Cause.UNWANTED]


def test_a_cancel_before_the_end_of_the_task_is_unwanted_though_the_prediction_was_over() -> None:
    over = replace(STOPPED, status="succeeded", completed_at=101)

    assert causes(over, task=TaskEnd("success", "stopped", ended_at=105)) == [Cause.UNWANTED]
    assert causes(over, task=TaskEnd("deferred")) == [Cause.UNWANTED]


def test_a_cancel_of_what_the_gateway_does_not_know_is_unwanted() -> None:
    assert causes(STOPPED, task=TaskEnd("success"), cancel=Cancel("unknown", 1)) == [Cause.UNWANTED]


def test_several_requests_for_a_prediction_are_one_cancel_at_the_first_of_them() -> None:
    found = canceled([CANCEL, Cancel("stopped", 130)], [STOPPED], [Job(PROMPT, TaskEnd("failed"))])

    assert [text for _, text in found] == ["stopped of 'chaos run 1' (canceled), 4 s after its create"]


def test_an_unwanted_cancel_makes_a_ledger_unclean_and_another_one_is_only_counted() -> None:
    jobs = [Job(PROMPT, TaskEnd("success", "later", ended_at=150))]
    over = Cancel("later", 200)

    clean, unclean = (balance([LATER], jobs, cancels) for cancels in ([over], [Cancel("later", 112)]))

    assert clean.clean
    assert "canceled for another cause: 1 with its task over" in clean.lines()
    assert not unclean.clean
    assert "canceled while its task was still wanted: 1" in unclean.lines()
    assert any(line.startswith("  canceled: later of") for line in unclean.lines())
