"""Lists that lie, pages that do not come, clocks that are set: nobody waits for ever."""

from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api.errors import AuthenticationError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.polling.list_poll import AFTER_ERROR, FRUITLESS, ListPoll
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.polling.schedule import OWN_GET_EVERY, PAGE_TIMEOUT, Entry
from tests.polling.test_schedule import NOW, Simulation, busiest, longest_gap, prediction

PROCESSING, STARTING = PredictionStatus.PROCESSING, PredictionStatus.STARTING


class StaleList(Simulation):
    """A list on which nothing ever ends, before an API that knows better."""

    def answer_page(self, list_poll: ListPoll) -> None:
        self.pages += 1
        entries = [prediction(each, PROCESSING) for each in self.ends]
        self.schedule.on_page(entries, None, self.now)


class StartingList(Simulation):
    """A list on which nothing ever starts."""

    def answer_page(self, list_poll: ListPoll) -> None:
        entries = [prediction(each, STARTING) for each in self.ends]
        self.schedule.on_page(entries, None, self.now)


class HungList(Simulation):
    """A list whose pages never come."""

    def answer_page(self, list_poll: ListPoll) -> None:
        self.pages += 1


def test_a_list_that_never_shows_an_end_hides_none_for_ever() -> None:
    world = StaleList()
    world.waits(60, age=600.0, ends=NOW + 30)
    world.run(900)
    assert len(world.outcomes) == 60


def test_a_list_is_doubted_by_few_questions_more() -> None:
    world = Simulation(per_minute=750)
    world.waits(500, age=600.0)
    world.run(200)
    assert len(world.requests) <= 2 * world.pages + 500 / 100 * 200 / OWN_GET_EVERY
    assert all(longest_gap(times) < 15 for times in world.asked.values())


def test_with_very_many_waits_the_list_is_doubted_less() -> None:
    world = Simulation(per_minute=150)
    world.waits(1_000, age=600.0)
    world.run(200)
    assert len(world.requests) < 1.5 * world.pages
    assert all(longest_gap(times) < 24 for times in world.asked.values())


def test_only_an_answer_about_the_prediction_itself_ends_a_wait_at_its_deadline() -> None:
    world = StaleList()
    for wait in world.waits(30, age=600.0, ends=NOW + 5):
        wait.poll.deadline = NOW + 20
    world.now += 25
    step = world.schedule.next(world.now)
    assert isinstance(step, ListPoll)
    world.answer_page(step)
    world.run(60)
    assert {reason for reason, _ in world.outcomes.values()} == {Reason.SUCCEEDED}


def test_a_list_that_lags_behind_does_not_say_that_a_prediction_never_started() -> None:
    world = StartingList()
    for wait in world.waits(30, age=600.0, ends=NOW + 40):
        wait.poll.start_deadline = NOW + 10
    world.run(300)
    assert {reason for reason, _ in world.outcomes.values()} == {Reason.SUCCEEDED}


def test_a_page_that_does_not_come_keeps_nobody_from_being_asked() -> None:
    world = HungList()
    world.waits(60, age=600.0, ends=NOW + 10)
    world.run(PAGE_TIMEOUT + 40)
    assert world.pages == 1
    assert len(world.outcomes) == 60


def test_a_clock_that_jumps_ahead_makes_no_burst() -> None:
    world = Simulation(per_minute=600, lists=False)
    world.waits(200, age=600.0)
    world.run(60)
    world.now += 7_200
    world.requests.clear()
    world.run(60)
    assert busiest(world.requests) <= 600


def test_a_line_that_cannot_be_said_ends_the_wait_of_its_teller_only() -> None:
    world, told = Simulation(), list[Outcome | BaseException]()
    world.waits(30, age=600.0, ends=NOW + 20)

    def broken(step: Again) -> None:
        raise OSError("the log's disk is full")

    watch = Poll("p3", NOW - 600)
    world.schedule.add(Entry(watch, broken, told.append), NOW)
    world.run(120)
    assert len(world.outcomes) == 30
    assert isinstance(told[0], OSError)


def test_a_page_refused_for_its_key_is_not_a_missing_list() -> None:
    world = Simulation()
    world.waits(50, age=600.0)
    world.now += 20
    assert isinstance(world.schedule.next(world.now), ListPoll)
    world.schedule.list_poll.on_error(AuthenticationError("expired"), world.now)
    assert not world.schedule.list_poll.may_start(world.now)
    assert world.schedule.list_poll.may_start(world.now + AFTER_ERROR)


def test_one_prediction_many_times_on_a_page_is_asked_for_once() -> None:
    world = Simulation()
    world.waits(10, age=600.0, ends=NOW)
    world.now += 20
    assert isinstance(world.schedule.next(world.now), ListPoll)
    entry = world.state("p1")
    running = prediction("p1", PROCESSING)
    world.schedule.on_page([running, entry, running, entry] * 50, None, world.now)
    world.run(1)
    assert world.asked["p1"] == [pytest.approx(NOW + 20)]


def test_cursors_without_end_are_not_followed_for_ever() -> None:
    world = Simulation()
    world.waits(50, age=600.0)
    world.now += 20
    pages = 0
    while isinstance(step := world.schedule.next(world.now), ListPoll):
        pages += 1
        world.schedule.on_page([], "again", world.now)
    assert pages <= FRUITLESS
    assert not isinstance(step, ListPoll)


def test_the_state_in_a_timeout_is_the_last_word_that_was_seen() -> None:
    world = Simulation()
    wait = world.wait("p1")
    for word in ("warming", "resting"):
        seen = Prediction(id="p1", status=PredictionStatus.UNKNOWN, raw_status=word)
        world.schedule.on_prediction(wait, seen, NOW)
    assert wait.poll.timed_out().last_state == "resting"


def test_a_number_of_any_length_in_a_header_is_no_mistake() -> None:
    budget = RateLimit()
    budget.on_headers(NOW, {"ratelimit-remaining": "9" * 400, "ratelimit-reset": "60"})
    budget.count(NOW)
    assert budget.pause(NOW) < 1
