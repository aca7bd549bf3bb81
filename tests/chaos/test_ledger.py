"""The ledger itself: right books are clean, and each kind of wrong makes them unclean."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.books import Accepted, Failure, Job, TaskEnd
from tests.chaos.ledger import Class, End, Ledger, balance

PROMPT = "chaos run 1"
GOOD = Accepted("good", PROMPT, "succeeded", created_at=100, completed_at=104)
FAILED = Accepted("bad", PROMPT, "failed", created_at=90, completed_at=94, error="NSFW")
UNCERTAIN = Failure(frozenset({"UncertainCreateError"}), "the answer was lost", at=110)
LASTING = Failure(frozenset({"PredictionFailed"}), "Prediction bad failed: NSFW", at=95)
PASSING = Failure(
    frozenset({"PredictionFailed", "PredictionInterrupted"}), "Prediction bad failed: PA", at=95
)
REFUSED = Failure(frozenset({"AuthenticationError"}), "HTTP 401", at=95)
HOLDS = TaskEnd("success", "good")
UPSTREAM_FAILED = TaskEnd("upstream_failed")


def failed(*failures: Failure, tries_left: int = 6) -> TaskEnd:
    return TaskEnd("failed", None, failures, tries_left)


def settle(*accepted: Accepted, submit: TaskEnd = HOLDS, wait: TaskEnd | None = None) -> Ledger:
    return balance(accepted, [Job(PROMPT, submit, wait)])


def test_a_success_that_holds_its_prediction_is_clean() -> None:
    ledger = settle(GOOD)

    assert ledger.clean
    assert ledger.classes == {"good": Class.HELD}
    assert ledger.ends == {PROMPT: End.SUCCEEDED}


def test_a_pair_of_tasks_that_hold_the_same_prediction_is_clean() -> None:
    assert settle(GOOD, wait=HOLDS).clean


def test_a_failure_that_names_the_bad_end_of_its_prediction_is_clean() -> None:
    ledger = settle(FAILED, submit=failed(LASTING))

    assert ledger.clean
    assert ledger.classes == {"bad": Class.ENDED_BADLY}
    assert ledger.ends == {PROMPT: End.PREDICTION_FAILED}


def test_a_later_prediction_may_take_the_place_of_one_that_ended_badly() -> None:
    ledger = settle(FAILED, GOOD)

    assert ledger.clean
    assert ledger.classes == {"bad": Class.ENDED_BADLY, "good": Class.HELD}


def test_a_lost_answer_that_was_reported_is_clean_whether_or_not_it_was_accepted() -> None:
    ledger = settle(GOOD, submit=failed(UNCERTAIN))

    assert ledger.clean
    assert ledger.classes == {"good": Class.REPORTED}
    assert ledger.ends == {PROMPT: End.UNCERTAIN}
    assert settle(submit=failed(UNCERTAIN)).clean


def test_a_bad_end_stays_known_when_the_next_create_was_lost() -> None:
    retry = replace(PASSING, final=False)

    assert settle(FAILED, submit=failed(retry, UNCERTAIN)).clean


def test_what_a_lost_answer_had_accepted_may_end_badly_afterwards() -> None:
    ledger = settle(FAILED, submit=failed(UNCERTAIN))

    assert ledger.clean
    assert ledger.classes == {"bad": Class.REPORTED}


def test_a_submit_that_failed_leaves_its_sensor_without_work() -> None:
    assert settle(GOOD, submit=failed(UNCERTAIN), wait=UPSTREAM_FAILED).clean


def test_a_sensor_may_fail_for_a_passing_reason_since_it_cannot_submit() -> None:
    bad = replace(FAILED, id="good")
    told = replace(PASSING, message="Prediction good failed: PA")
    wait = replace(failed(told), held="good")

    assert settle(bad, wait=wait).clean


def test_a_task_may_give_up_when_its_tries_are_used_up_and_it_says_why() -> None:
    refused = Failure(frozenset({"RateLimitError"}), "HTTP 429", at=95)

    assert settle(submit=failed(refused, tries_left=0)).ends == {PROMPT: End.GAVE_UP}
    assert settle(submit=failed(refused, tries_left=1)).ends == {PROMPT: End.WRONG}


def test_a_prediction_that_no_task_knows_is_unaccounted() -> None:
    ledger = settle(replace(GOOD, id="lost"), GOOD)

    assert not ledger.clean
    assert ledger.classes["lost"] is Class.UNACCOUNTED
    assert ledger.unaccounted == [f"lost of {PROMPT!r} (succeeded)"]


def test_a_prediction_of_a_prompt_that_no_task_has_is_unaccounted() -> None:
    assert not settle(GOOD, replace(GOOD, id="other", prompt="chaos run 99")).clean


def test_a_bad_end_that_no_task_tells_is_unaccounted() -> None:
    ledger = settle(FAILED, submit=failed(replace(UNCERTAIN, since=95)))

    assert ledger.classes == {"bad": Class.UNACCOUNTED}


def test_a_prediction_accepted_outside_of_the_reported_time_is_unaccounted() -> None:
    late = settle(replace(GOOD, created_at=111), submit=failed(UNCERTAIN))
    early = settle(GOOD, submit=failed(replace(UNCERTAIN, since=101, until=105)))

    assert late.classes == early.classes == {"good": Class.UNACCOUNTED}


def test_a_second_prediction_beside_a_good_one_is_a_duplicate() -> None:
    ledger = settle(replace(GOOD, id="first", created_at=90), GOOD)

    assert len(ledger.duplicates) == 1
    assert "there was first" in ledger.duplicates[0]


def test_a_second_prediction_beside_one_that_was_to_fail_later_is_a_duplicate() -> None:
    ledger = settle(replace(FAILED, completed_at=101), GOOD)

    assert len(ledger.duplicates) == 1
    assert not ledger.unaccounted


def test_a_failure_without_a_word_of_why_is_a_wrong_end() -> None:
    ledger = settle(submit=failed())

    assert ledger.wrong_ends == [f"{PROMPT}: is failed, and no exception tells why"]


def test_a_task_that_never_ended_is_a_wrong_end() -> None:
    assert settle(submit=TaskEnd("running")).ends == {PROMPT: End.WRONG}
    assert settle(submit=TaskEnd(None), wait=TaskEnd(None)).ends == {PROMPT: End.WRONG}


def test_a_success_without_a_prediction_that_succeeded_is_a_wrong_end() -> None:
    for ledger in (settle(), settle(replace(FAILED, id="good")), settle(submit=TaskEnd("success"))):
        assert ledger.ends == {PROMPT: End.WRONG}


def test_a_success_with_the_prediction_of_another_prompt_is_a_wrong_end() -> None:
    jobs = [Job(PROMPT, HOLDS), Job("other", HOLDS)]

    assert balance([GOOD], jobs).ends == {PROMPT: End.SUCCEEDED, "other": End.WRONG}


def test_a_failure_that_blames_a_prediction_which_is_well_is_a_wrong_end() -> None:
    blames = replace(LASTING, message="Prediction good failed: NSFW")

    assert settle(GOOD, submit=failed(blames)).ends == {PROMPT: End.WRONG}


def test_a_failure_for_a_passing_reason_with_tries_left_is_a_wrong_end() -> None:
    assert settle(FAILED, submit=failed(PASSING, tries_left=1)).ends == {PROMPT: End.WRONG}
    assert settle(FAILED, submit=failed(PASSING, tries_left=0)).clean


def test_a_prediction_that_nobody_should_have_cancelled_is_a_wrong_end() -> None:
    canceled = replace(FAILED, status="canceled")
    told = Failure(frozenset({"PredictionCanceled", "PredictionError"}), "bad was canceled", at=95)

    assert settle(canceled, submit=failed(told)).ends == {PROMPT: End.WRONG}


def test_tasks_of_a_pair_that_hold_different_predictions_are_a_wrong_end() -> None:
    assert settle(GOOD, wait=TaskEnd("success", "other")).ends == {PROMPT: End.WRONG}


def test_a_sensor_that_ran_though_nothing_was_submitted_is_a_wrong_end() -> None:
    ledger = settle(submit=failed(UNCERTAIN), wait=failed(LASTING))

    assert ledger.wrong_ends == [f"{PROMPT}: submit is failed, but its sensor failed"]


def test_an_uncertain_create_cannot_end_a_sensor() -> None:
    wait = replace(failed(UNCERTAIN), held="good")

    assert settle(GOOD, wait=wait).ends == {PROMPT: End.WRONG}


def test_a_triggerer_that_ended_without_a_strike_makes_a_ledger_unclean() -> None:
    ledger = balance([GOOD], [Job(PROMPT, HOLDS)], deaths=["triggerer ended by itself (1)"])

    assert not ledger.clean
    assert "triggerer deaths beyond the planned ones: 1" in ledger.lines()
    assert "  triggerer ended by itself (1)" in ledger.lines()


def test_a_task_may_give_up_after_odd_responses_when_its_tries_are_used_up() -> None:
    for kind in ("AuthenticationError", "NotFoundError", "RedirectError", "InvalidRequestError"):
        odd = Failure(frozenset({kind}), "HTTP 4xx", at=95)

        assert settle(GOOD, submit=replace(failed(odd, tries_left=0), held="good")).ends == {
            PROMPT: End.GAVE_UP
        }
        assert settle(submit=failed(odd)).ends == {PROMPT: End.WRONG}


def test_a_sensor_of_a_later_attempt_may_fail_for_the_key_since_it_never_had_a_good_get() -> None:
    refused = replace(failed(REFUSED), held="good")

    assert settle(GOOD, wait=replace(refused, tries=2)).ends == {PROMPT: End.KEY_REFUSED}
    resumed = settle(GOOD, submit=replace(HOLDS, tries=2), wait=refused)
    assert resumed.ends == {PROMPT: End.KEY_REFUSED}
    assert resumed.clean


def test_a_sensor_of_the_first_attempt_may_not_fail_for_the_key_since_its_first_get_was_good() -> None:
    wait = replace(failed(REFUSED), held="good")

    assert settle(GOOD, wait=wait).ends == {PROMPT: End.WRONG}


def test_a_task_that_has_created_its_prediction_may_not_fail_for_the_key() -> None:
    submit = replace(failed(REFUSED), held="good", tries=2)

    assert settle(GOOD, submit=submit).ends == {PROMPT: End.WRONG}


def test_an_error_with_half_a_character_can_be_printed() -> None:
    ledger = settle(replace(FAILED, error="NUL \x00 and \ud83d"))

    assert "\n".join(ledger.lines()).encode()
    assert "\\ud83d" in ledger.unaccounted[0]


def test_the_lines_name_what_is_wrong() -> None:
    text = "\n".join(settle(replace(GOOD, id="first"), GOOD, submit=failed()).lines())

    assert "creates accepted: 2" in text
    assert "2 unaccounted" in text
    assert "duplicates: 1" in text
    assert "no exception tells why" in text
