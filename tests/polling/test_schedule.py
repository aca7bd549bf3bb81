"""The schedule against an API that lives in this file, on a clock that only pauses move."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from airflow_provider_quickrouter.api.errors import NotFoundError, RateLimitError, UpstreamError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.polling.list_poll import ListPoll
from airflow_provider_quickrouter.polling.poll import Again, Poll
from airflow_provider_quickrouter.polling.rate_limit import RateLimit
from airflow_provider_quickrouter.polling.schedule import HANGING_AT_ONCE, Entry, Schedule

NOW = 1_000_000.0
PAGE = 100


def prediction(prediction_id: str, status: PredictionStatus, **more: object) -> Prediction:
    return Prediction(id=prediction_id, status=status, **more)  # type: ignore[arg-type]


@dataclass
class Simulation:
    """A poller on a clock of its own; ``ends`` says when a prediction is over."""

    per_minute: float = 0.0
    lists: bool = True
    foreign: int = 0
    busy_until: float = 0.0
    hidden: set[str] = field(default_factory=set)
    now: float = NOW
    ends: dict[str, float] = field(default_factory=dict)
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: list[float] = field(default_factory=list)
    pages: int = 0
    outcomes: dict[str, tuple[Reason, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schedule = Schedule(RateLimit(self.per_minute))
        self.random = random.Random(1)

    def wait(
        self, prediction_id: str, *, age: float = 0.0, ends: float = 1e12, interval: float = 10.0
    ) -> Entry:
        self.ends.setdefault(prediction_id, ends)

        def settle(end: Outcome | BaseException) -> None:
            assert isinstance(end, Outcome)
            self.outcomes[prediction_id] = (end.reason, self.now)

        watch = Poll(prediction_id, self.now - age, poll_interval=interval, jitter=self.random.random)
        wait = Entry(watch, log=lambda step: None, settle=settle)
        self.schedule.add(wait, self.now)
        return wait

    def waits(self, number: int, **options: float) -> list[Entry]:
        return [self.wait(f"p{len(self.ends)}", **options) for _ in range(number)]

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until and self.schedule:
            step = self.schedule.next(self.now)
            if isinstance(step, float):
                assert step > 0
                self.now += min(step, until - self.now)
                continue
            self.requests.append(self.now)
            if isinstance(step, ListPoll):
                self.answer_page(step)
            else:
                self.answer(step)

    def answer(self, wait: Entry) -> None:
        self.asked[wait.poll.prediction_id].append(self.now)
        self.schedule.on_prediction(wait, self.state(wait.poll.prediction_id), self.now)

    def answer_page(self, list_poll: ListPoll) -> None:
        self.pages += 1
        if not self.lists:
            self.schedule.list_poll.on_error(NotFoundError("Invalid URL"), self.now)
            return
        if self.now < self.busy_until:
            self.schedule.list_poll.on_error(UpstreamError("busy"), self.now)
            return
        newest = [f"foreign{n}" for n in range(self.foreign)] + [
            each for each in reversed(self.ends) if each not in self.hidden
        ]
        place = int(list_poll.cursor or 0)
        found = newest[place : place + PAGE]
        for prediction_id in found:
            self.asked[prediction_id].append(self.now)
        older = str(place + PAGE) if place + PAGE < len(newest) else None
        self.schedule.on_page([self.state(each) for each in found], older, self.now)

    def state(self, prediction_id: str) -> Prediction:
        over = self.now >= self.ends.get(prediction_id, 0)
        if over:
            return prediction(prediction_id, PredictionStatus.SUCCEEDED, output=["url"])
        return prediction(prediction_id, PredictionStatus.PROCESSING, logs="a long log")


def longest_gap(times: list[float]) -> float:
    return max(later - sooner for sooner, later in pairwise(times))


def busiest(requests: list[float], seconds: float = 60.0) -> int:
    first, most = 0, 0
    for index, at in enumerate(requests):
        while at - requests[first] >= seconds:
            first += 1
        most = max(most, index - first + 1)
    return most


def test_one_wait_is_asked_until_it_is_over() -> None:
    world = Simulation()
    world.wait("p1", ends=NOW + 20)
    world.run(60)
    reason, at = world.outcomes["p1"]
    assert reason is Reason.SUCCEEDED
    assert at - NOW < 31
    assert not world.schedule


def test_two_waits_for_one_prediction_both_end() -> None:
    world = Simulation()
    first, second = world.wait("p1", ends=NOW + 5), world.wait("p1")
    assert list(world.schedule) == [first, second]
    world.run(60)
    assert not world.schedule


def test_who_has_left_is_not_asked_any_more_and_may_leave_twice() -> None:
    world = Simulation()
    wait = world.wait("p1")
    world.schedule.remove(wait)
    world.schedule.remove(wait)
    world.schedule.on_prediction(wait, world.state("p1"), world.now)
    world.wait("p2", ends=NOW + 5)
    world.run(60)
    assert "p1" not in world.asked
    assert "p1" not in world.outcomes


def test_of_what_goes_on_no_logs_are_kept() -> None:
    world = Simulation()
    wait = world.wait("p1")
    world.run(5)
    assert wait.poll.last
    assert wait.poll.last.logs == ""


def test_steps_with_a_line_for_the_log_are_handed_over() -> None:
    steps: list[Again] = []
    schedule = Schedule(RateLimit(0))
    watch = Poll("p1", NOW)
    wait = Entry(watch, log=steps.append, settle=lambda end: None)
    schedule.add(wait, NOW)
    schedule.on_error(wait, UpstreamError("busy"), NOW)
    for second in (1, 2, 3):
        schedule.on_prediction(wait, prediction("p1", PredictionStatus.PROCESSING), NOW + second)
    outage, works_again = steps
    assert (outage.warning, works_again.warning) == (True, True)
    assert "busy" in str(outage.line)
    assert str(works_again.line).startswith("Polling works again")


def test_without_a_list_the_rate_holds_and_all_are_asked_alike() -> None:
    world = Simulation(per_minute=6_000, lists=False)
    world.waits(1_000, age=600.0)
    world.run(180)
    fair = 1_000 / (6_000 / 60)
    assert busiest(world.requests) <= 6_000
    assert all(longest_gap(times) <= 3 * fair for times in world.asked.values())
    assert len(world.asked) == 1_000


def test_pages_answer_many_waits_with_few_requests() -> None:
    world = Simulation()
    world.waits(1_000, age=600.0)
    world.run(60)
    assert len(world.requests) < 60 / 5 * 12
    assert all(longest_gap(times) < 15 for times in world.asked.values())


def test_under_a_list_the_rate_holds_and_nobody_is_late() -> None:
    world = Simulation(per_minute=300)
    world.waits(4_000, age=600.0)
    world.run(90)
    fair = 4_000 / PAGE / (300 / 60)
    assert busiest(world.requests) <= 300
    assert len(world.asked) == 4_000
    assert all(longest_gap(times) < 3 * fair for times in world.asked.values())


def test_a_young_wait_does_not_stand_still_while_pages_are_read() -> None:
    world = Simulation(per_minute=300)
    world.waits(4_000, age=600.0)
    world.run(30)
    young = [wait.poll.prediction_id for wait in world.waits(5, ends=world.now + 4)]
    world.run(20)
    late = [world.outcomes[each][1] - world.ends[each] for each in young]
    assert max(late) < 5


def test_survivors_among_many_that_have_ended_are_still_found_on_the_list() -> None:
    world = Simulation()
    waits = world.waits(2_000, age=600.0)
    for number, wait in enumerate(waits):
        if number % 20 > 1:
            world.ends[wait.poll.prediction_id] = NOW + 15
    world.run(200)
    left = [wait for wait in waits if wait.poll.prediction_id not in world.outcomes]
    assert len(left) == 200
    assert all(wait.listed for wait in left)


def test_what_a_page_shows_as_over_is_asked_for_at_once() -> None:
    world = Simulation()
    for number, wait in enumerate(world.waits(200, age=600.0)):
        world.ends[wait.poll.prediction_id] = NOW + 20 + number / 10
    world.run(120)
    assert len(world.outcomes) == 200
    assert {reason for reason, _ in world.outcomes.values()} == {Reason.SUCCEEDED}
    assert world.pages < 40
    assert len(world.requests) < 200 + world.pages + 60


def test_one_who_leaves_before_its_end_is_asked_for_is_passed_over() -> None:
    world = Simulation()
    waits = world.waits(10, age=600.0, ends=NOW)
    world.now += 20
    list_poll = world.schedule.next(world.now)
    assert isinstance(list_poll, ListPoll)
    assert isinstance(world.schedule.next(world.now), float)
    world.answer_page(list_poll)
    world.schedule.remove(waits[5])
    world.run(5)
    assert len(world.outcomes) == 9


def test_a_missing_list_is_found_out_once() -> None:
    world = Simulation(lists=False)
    world.waits(300, age=600.0)
    world.run(120)
    assert world.pages == 1
    assert all(longest_gap(times) < 13 for times in world.asked.values())


def test_predictions_that_are_not_on_the_list_are_asked_one_by_one() -> None:
    world = Simulation()
    world.waits(50, age=600.0)
    world.hidden = {world.wait(f"hidden{n}", age=600.0).poll.prediction_id for n in range(20)}
    world.run(120)
    assert all(longest_gap(world.asked[each]) < 15 for each in world.hidden)


def test_a_list_full_of_others_is_not_read_to_its_end() -> None:
    world = Simulation(foreign=100_000)
    world.waits(50, age=600.0)
    world.run(300)
    assert 0 < world.pages <= 9
    assert all(longest_gap(times) < 13 for each, times in world.asked.items() if each[0] == "p")


def test_passing_trouble_with_the_list_leads_back_to_it_later() -> None:
    world = Simulation()
    world.waits(100, age=600.0)
    world.busy_until = NOW + 20
    world.run(20)
    assert world.pages == 1
    world.run(60)
    assert world.pages > 5
    world.schedule.on_page([], None, world.now)


def test_a_refusal_pauses_all_of_them() -> None:
    world = Simulation(per_minute=600)
    world.waits(5, age=600.0)
    world.schedule.rate_limit.on_refusal(world.now, 30.0)
    world.run(29)
    assert world.requests == []
    assert RateLimitError("slow down").transient


@pytest.mark.parametrize("number", [1, 50, 500])
def test_a_wait_is_noticed_about_as_soon_as_its_interval_says(number: int) -> None:
    world = Simulation(per_minute=1_500)
    for index in range(number):
        world.wait(f"p{index}", age=600.0, ends=NOW + 30 + index % 60)
    world.run(200)
    late = [at - world.ends[each] for each, (_, at) in world.outcomes.items()]
    assert len(late) == number
    assert max(late) < 15


def due(schedule: Schedule, now: float) -> list[str]:
    """The ids of all waits that are polled now, without a response to any of them."""
    polled = list[str]()
    while not isinstance(step := schedule.next(now), float):
        assert isinstance(step, Entry)
        polled.append(step.poll.prediction_id)
    return polled


def test_predictions_whose_polls_hang_hold_up_no_others() -> None:
    schedule, waits = Schedule(RateLimit(0)), dict[str, Entry]()
    names = [*(f"hangs{n}" for n in range(20)), *(f"good{n}" for n in range(20))]
    for name in names:
        wait = Entry(Poll(name, NOW), log=lambda step: None, settle=lambda end: None)
        wait.listed, wait.hung = False, name.startswith("hangs")
        waits[name] = wait
        schedule.add(wait, NOW)
    polled = due(schedule, NOW + 2)
    hanging = [name for name in polled if waits[name].hung]
    assert (len(hanging), len(polled)) == (HANGING_AT_ONCE, HANGING_AT_ONCE + 20)
    assert due(schedule, NOW + 3) == []

    # One that has failed again, one that has left, and one with a good response make room.
    failed, left, good, _ = (waits[name] for name in hanging)
    schedule.on_error(failed, UpstreamError("busy"), NOW + 4)
    schedule.remove(left)
    good.hung = False
    schedule.on_prediction(good, prediction(hanging[2], PredictionStatus.PROCESSING), NOW + 4)
    others = due(schedule, NOW + 4.1)
    assert len(others) == 3
    assert not {*others} & {*hanging}
    assert due(schedule, NOW + 20) == [hanging[2]]


def test_a_poll_in_flight_is_left_alone_by_a_page() -> None:
    world = Simulation()
    (first,) = world.waits(1, age=600.0)
    world.now += 20
    assert world.schedule.next(world.now) is first
    world.waits(20, age=600.0)
    world.now += 20
    assert isinstance(world.schedule.next(world.now), ListPoll)
    running = prediction("p0", PredictionStatus.PROCESSING)
    world.schedule.on_page([running], None, world.now)
    assert first.poll.last is None
    assert first.due == math.inf
