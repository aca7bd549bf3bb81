"""What a batch's record tells of each line, and what the next try does about it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import QuotaError, RateLimitError
from airflow_provider_quickrouter.batch.ledger import KEEP, SUBMIT, WAIT, Ledger, State

PRINT = "00ff00ff00ff00ff"
BEGIN = {"try": 1, "max_tries": 2, "at": 100.0}


def intent(index: int, digits: str = PRINT) -> dict[str, Any]:
    return {"i": index, "f": digits, "at": 5.0}


def accepted(index: int) -> dict[str, Any]:
    return {"i": index, "id": f"p{index}"}


def ended(index: int, outcome: str = "succeeded", retry: str = KEEP) -> dict[str, Any]:
    return {"i": index, "end": {"index": index, "id": f"p{index}", "outcome": outcome}, "retry": retry}


def ledger(*entries: dict[str, Any], total: int = 3) -> Ledger:
    read = Ledger(total)
    for place, entry in enumerate(entries):
        read.take(entry, place)
    return read


def resumed(read: Ledger, digits: str = PRINT, *, cleared: bool = False) -> list[Any]:
    return list(read.resume(lambda index: digits, cleared=cleared))


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([], State.MISSING),
        ([intent(0)], State.SENDING),
        ([intent(0), accepted(0)], State.RUNNING),
        ([intent(0), accepted(0), ended(0)], State.ENDED),
        ([intent(0), {"i": 0, "no": True}], State.MISSING),
        ([intent(0), accepted(0), ended(0), intent(0)], State.SENDING),
    ],
)
def test_the_last_entry_of_a_line_tells_its_state(entries: Any, state: State) -> None:
    read = ledger(*entries)
    assert read.state(0) is state
    assert list(read.those(state)) == ([0] if state else [0, 1, 2])
    assert read.count(State.MISSING) == 3 - bool(state)


def test_what_is_said_of_lines_that_are_no_more_is_passed_over() -> None:
    assert ledger(intent(3), accepted(7), ended(-1)).count(State.MISSING) == 3


def test_a_line_that_has_ended_is_found_again_at_its_place() -> None:
    read = ledger(BEGIN, intent(1), accepted(1), ended(1))
    assert (read.places[1], read.ids[1], read.started[1]) == (3, "p1", 5.0)


def test_all_ids_stay_known() -> None:
    read = ledger(accepted(0), {"i": 0, "no": True}, accepted(1), BEGIN | {"anew": True})
    assert read.known == {"p0", "p1"}
    assert read.count(State.MISSING) == 3


def test_ids_of_what_runs_are_returned_in_order() -> None:
    read = ledger(accepted(2), accepted(1), ended(1), accepted(0), intent(0), accepted(0))
    assert read.running_ids() == ["p0", "p2"]


def test_the_first_try_tells_when_the_batch_began_until_a_clear() -> None:
    again = BEGIN | {"try": 2, "at": 200.0}
    assert ledger(BEGIN, again).started_at == 100.0
    assert ledger(BEGIN, again | {"cleared": True}).started_at == 200.0


def test_a_clear_is_told_by_the_limit_of_tries() -> None:
    assert not ledger().cleared(5)
    assert not ledger(BEGIN).cleared(2)
    assert ledger(BEGIN).cleared(3)


def test_a_new_try_forgets_why_the_one_before_stopped() -> None:
    stop = {"stop": {"type": "QuotaError"}}
    assert ledger(BEGIN, stop, {"done": True}).stopped == {"type": "QuotaError"}
    assert ledger(BEGIN, {"done": True}).done
    again = ledger(BEGIN, stop, {"done": True}, BEGIN)
    assert (again.stopped, again.done) == (None, False)


FIRST = (intent(0), accepted(0))
ANEW, ON = [{"i": 0, "no": True}], [{"i": 0, "id": "p0"}]


@pytest.mark.parametrize(
    ("last", "retry", "clear"),
    [
        ([], [], []),
        ([ended(0)], [], []),
        ([ended(0, "failed")], [], ANEW),
        ([ended(0, "interrupted", SUBMIT)], ANEW, ANEW),
        ([ended(0, "api_error", WAIT)], ON, ON),
        ([ended(0, "failed", "a word of a later version")], [], ANEW),
        ([ended(0, "not_stored", WAIT)], ON, ON),
        ([ended(0, "not_stored")], [], ON),
    ],
)
def test_a_retry_makes_anew_what_may_pass_and_a_clear_all_that_is_not_good(
    last: Any, retry: Any, clear: Any
) -> None:
    assert resumed(ledger(*FIRST, *last)) == retry
    assert resumed(ledger(*FIRST, *last), cleared=True) == clear


@pytest.mark.parametrize("last", [[], [ended(0)], [ended(0, "api_error", WAIT)]])
def test_what_has_another_input_now_is_made_anew(last: Any) -> None:
    assert resumed(ledger(*FIRST, *last), "1" * 16) == ANEW


@pytest.mark.parametrize(
    ("stopped", "retry"), [(None, SUBMIT), (RateLimitError("many"), SUBMIT), (QuotaError("no money"), KEEP)]
)
def test_what_has_not_ended_is_told_as_it_is(stopped: Any, retry: str) -> None:
    read = ledger(*FIRST, intent(1), total=3)
    running, sending, missing = (read.unfinished(index, stopped) for index in range(3))
    assert running
    assert sending
    assert missing
    assert (running.outcome, running.retry, running.line["id"]) == ("api_error", WAIT, "p0")
    assert (sending.outcome, sending.retry) == ("uncertain", WAIT)
    assert (missing.outcome, missing.retry) == ("not_submitted", retry)
    assert str(stopped or "the task ended before") == missing.line["error"]


def test_lines_are_counted_by_how_they_ended() -> None:
    read = ledger(*FIRST, ended(0), intent(1), accepted(1), ended(1, "aborted", SUBMIT))
    assert read.ended().outcomes == {"succeeded": 1, "aborted": 1}
    tally = read.tally(None)
    assert tally.outcomes == {"succeeded": 1, "aborted": 1, "not_submitted": 1}
    assert (tally.done, tally.failed, tally.retriable) == (3, 2, 2)


def test_the_results_are_lines_or_the_places_where_they_stand() -> None:
    first, second, third = ledger(BEGIN, *FIRST, ended(0), intent(1)).results(None)
    assert first == 3
    assert [line["outcome"] for line in (second, third) if isinstance(line, dict)] == [
        "uncertain",
        "not_submitted",
    ]


def costs(entry: dict[str, Any], cost: float | None) -> dict[str, Any]:
    return {**entry, "cost": cost}


NOT_ACCEPTED = {"i": 0, "no": True, "cost": 0}
RESUBMITTED = {"i": 0, "no": True}
PAID = [costs(intent(0), 0.2), accepted(0), costs(ended(0), 0.1)]


@pytest.mark.parametrize(
    ("entries", "cost"),
    [
        ([], "0"),
        (PAID[:1], "0.2"),
        (PAID[:2], "0.2"),
        (PAID, "0.1"),
        ([*PAID[:2], costs(ended(0), None)], "0.2"),
        ([*PAID, accepted(0), costs(ended(0), 0.1)], "0.1"),
        ([costs(intent(0), 0.2), NOT_ACCEPTED], "0"),
        ([costs(intent(0), 0.2), RESUBMITTED, *PAID], "0.3"),
        ([*PAID, RESUBMITTED, *PAID], "0.2"),
        ([*PAID, RESUBMITTED, costs(intent(0), 0.2), NOT_ACCEPTED], "0.1"),
        ([*PAID, BEGIN | {"cleared": True, "anew": True}, *PAID], "0.2"),
        ([intent(0), accepted(0), ended(0), NOT_ACCEPTED], "0"),
    ],
)
def test_the_costs_of_all_predictions_are_summed_also_of_those_that_were_created_again(
    entries: Any, cost: str
) -> None:
    assert ledger(*entries).cost == Decimal(cost)


def test_what_is_charged_before_its_intent_is_stored_is_not_charged_twice() -> None:
    read = ledger()
    read.charge(0, 0.04)
    read.take(costs(intent(0), 0.04))
    assert read.cost == Decimal("0.04")
