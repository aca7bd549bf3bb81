from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api.outcome import Reason
from airflow_provider_quickrouter.polling.poll import SHORTEST_PAUSE
from tests.polling.test_polling import BUSY, START, end, pause, seen, watch


def test_what_has_not_started_in_time_is_given_up() -> None:
    waiting = watch(start_deadline=START + 10, deadline=START + 100)
    assert pause(waiting.on_prediction(seen("starting"), START + 9.9)) == SHORTEST_PAUSE
    outcome = end(waiting.on_prediction(seen("starting"), START + 10))
    assert (outcome.reason, outcome.last_state) == (Reason.START_TIMEOUT, "starting")
    assert outcome.timed_out


@pytest.mark.parametrize("word", ["processing", "hibernating", "IN_PROGRESS"])
def test_what_has_started_or_may_have_is_not_given_up_as_unstarted(word: str) -> None:
    waiting = watch(start_deadline=START + 10)
    assert pause(waiting.on_prediction(seen(word), START + 50)) > 0


def test_a_question_comes_at_the_latest_start_and_later_ones_do_not_hurry_for_it() -> None:
    waiting = watch(start_deadline=START + 10, poll_interval=60)
    assert pause(waiting.on_prediction(seen("starting"), START + 8)) == 2
    assert pause(waiting.on_prediction(seen("processing"), START + 40)) == 20


def test_trouble_alone_never_says_that_it_did_not_start() -> None:
    waiting = watch(start_deadline=START + 10)
    assert pause(waiting.on_error(BUSY, START + 50)) > 0
    assert end(waiting.on_prediction(seen("starting"), START + 60)).reason is Reason.START_TIMEOUT


def test_what_ended_before_it_could_be_given_up_has_ended() -> None:
    outcome = end(watch(start_deadline=START).on_prediction(seen("aborted"), START + 1))
    assert outcome.reason is Reason.ABORTED
