"""The counts of a benchmark: what is delivered, lost, reported and paid twice."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.counting import Fate, Score, score
from tests.chaos.books import Accepted, Books, Failure, Job, TaskEnd

PROMPT = "benchmark 1"
GOOD = Accepted("good", PROMPT, "succeeded", created_at=100, completed_at=104)
FIRST = replace(GOOD, id="first", created_at=90, completed_at=94)
BAD = replace(FIRST, id="bad", status="failed")
HOLDS = TaskEnd("success", "good")
FAILED = TaskEnd("failed", None, (Failure(frozenset({"AirflowException"}), "502", at=110),))
UNCERTAIN = TaskEnd("failed", None, (Failure(frozenset({"UncertainCreateError"}), "", at=110),))


def count(*accepted: Accepted, submit: TaskEnd = HOLDS, wait: TaskEnd | None = None) -> Score:
    return score(Books(accepted, [Job(PROMPT, submit, wait)]))


def ends(counted: Score) -> tuple[int, int, int, int]:
    return counted.well, counted.uncertain, counted.doomed, counted.failed


def test_one_prediction_whose_output_a_task_has_is_delivered() -> None:
    counted = count(GOOD)

    assert ends(counted) == (1, 0, 0, 0)
    assert counted.fates[Fate.DELIVERED] == counted.accepted == 1
    assert counted.duplicates == counted.hidden == 0


def test_a_second_one_beside_a_good_one_is_a_duplicate_and_the_first_is_lost_unseen() -> None:
    counted = count(FIRST, GOOD)

    assert ends(counted) == (1, 0, 0, 0)
    assert (counted.duplicates, counted.hidden, counted.fates[Fate.LOST]) == (1, 1, 1)


def test_each_one_after_the_first_is_a_duplicate_also_of_one_that_is_not_the_last() -> None:
    between = replace(BAD, created_at=95, completed_at=96)

    assert count(GOOD, FIRST, between).duplicates == 2


def test_one_that_takes_the_place_of_a_bad_end_is_no_duplicate() -> None:
    counted = count(BAD, GOOD)

    assert counted.duplicates == 0
    assert counted.fates[Fate.ENDED_BADLY] == 1


def test_one_made_before_the_other_came_to_its_bad_end_is_a_duplicate() -> None:
    assert count(replace(BAD, completed_at=101), GOOD).duplicates == 1


def test_predictions_of_other_prompts_are_no_duplicates() -> None:
    counted = count(replace(FIRST, prompt="benchmark 2"), GOOD)

    assert counted.duplicates == 0
    assert counted.fates[Fate.LOST] == 1


def test_what_an_uncertain_task_may_have_made_is_reported() -> None:
    counted = count(GOOD, submit=UNCERTAIN, wait=TaskEnd("upstream_failed"))

    assert ends(counted) == (0, 1, 0, 0)
    assert (counted.fates[Fate.REPORTED], counted.fates[Fate.LOST]) == (1, 0)
    assert ends(count(submit=UNCERTAIN)) == (0, 1, 0, 0)


def test_a_failure_that_says_nothing_of_a_prediction_leaves_it_lost_but_not_hidden() -> None:
    counted = count(GOOD, submit=FAILED, wait=TaskEnd("upstream_failed"))

    assert ends(counted) == (0, 0, 0, 1)
    assert (counted.fates[Fate.LOST], counted.hidden) == (1, 0)


def test_an_output_that_the_waiting_task_failed_to_fetch_is_lost() -> None:
    assert count(GOOD, wait=FAILED).fates[Fate.LOST] == 1


def test_a_task_that_holds_a_prediction_which_did_not_succeed_has_not_ended_well() -> None:
    assert ends(count(replace(GOOD, prompt="benchmark 2"))) == (0, 0, 0, 1)
    assert ends(count(GOOD, wait=TaskEnd("running", "good"))) == (0, 0, 0, 1)


def test_a_task_whose_prompt_got_nothing_but_bad_ends_failed_with_its_prediction() -> None:
    bad = replace(GOOD, status="failed")

    assert ends(count(bad, wait=FAILED)) == (0, 0, 1, 0)
    assert ends(count(BAD, bad, submit=FAILED)) == (0, 0, 1, 0)
    assert ends(count(bad, submit=UNCERTAIN)) == (0, 1, 0, 0)
    assert ends(count(FIRST, bad, wait=FAILED)) == (0, 0, 0, 1)
    assert ends(count(submit=FAILED)) == (0, 0, 0, 1)
