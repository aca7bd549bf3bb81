from __future__ import annotations

from airflow_provider_quickrouter.api.errors import NotFoundError, UpstreamError
from airflow_provider_quickrouter.polling.list_poll import AFTER_ERROR, AFTER_NOTHING, FRUITLESS, ListPoll

NOW = 1_000_000.0


def ids(number: int) -> set[str]:
    return {f"p{index}" for index in range(number)}


def started(number: int, listed: int) -> ListPoll:
    list_poll = ListPoll()
    list_poll.start(ids(number), listed)
    return list_poll


def goes_on(list_poll: ListPoll, found: set[str], cursor: str | None = "older") -> bool:
    list_poll.on_page(found, cursor, NOW)
    return list_poll.active


def test_a_few_waits_are_not_worth_a_page() -> None:
    assert not started(9, listed=9).active
    assert started(10, listed=10).active


def test_many_waits_of_which_few_are_due_are_not_worth_many_pages() -> None:
    assert not started(99, listed=5_000).active
    assert started(100, listed=5_000).active


def test_a_list_poll_ends_when_all_it_wanted_were_found() -> None:
    list_poll = started(10, listed=300)
    assert goes_on(list_poll, ids(9))
    assert not goes_on(list_poll, {"p9"}, "older still")


def test_a_list_poll_ends_with_the_list() -> None:
    assert not goes_on(started(10, listed=10), set(), None)


def test_a_list_poll_does_not_read_a_list_that_is_mostly_of_others() -> None:
    list_poll = started(10, listed=100)
    for _ in range(FRUITLESS - 1):
        assert goes_on(list_poll, set())
    assert goes_on(list_poll, {"p3"})
    assert [goes_on(list_poll, set()) for _ in range(FRUITLESS)][-2:] == [True, False]


def test_one_list_poll_at_a_time() -> None:
    list_poll = ListPoll()
    assert list_poll.may_start(NOW)
    list_poll.start(ids(10), listed=10)
    assert not list_poll.may_start(NOW)


def test_what_a_list_poll_did_not_find_is_not_on_the_list() -> None:
    list_poll = started(10, listed=10)
    assert list_poll.on_page({"p3"}, None, NOW) == set(ids(10)) - {"p3"}
    assert list_poll.may_start(NOW)


def test_a_list_poll_that_matched_none_is_not_repeated_soon() -> None:
    list_poll = started(10, listed=10)
    list_poll.on_page(set(), None, NOW)
    assert not list_poll.may_start(NOW + AFTER_NOTHING - 1)
    assert list_poll.may_start(NOW + AFTER_NOTHING)


def test_a_list_poll_starts_with_the_newest_page_and_no_earlier_result() -> None:
    list_poll = started(10, listed=10)
    list_poll.on_page({"p3"}, "older", NOW)
    list_poll.on_page({"p4"}, None, NOW)
    list_poll.start(ids(10), listed=10)
    assert list_poll.cursor is None
    assert list_poll.on_page(set(), None, NOW) == ids(10)
    assert not list_poll.may_start(NOW + AFTER_NOTHING - 1)


def test_without_a_list_there_are_no_more_list_polls() -> None:
    list_poll = started(10, listed=10)
    list_poll.on_error(NotFoundError("Invalid URL"), NOW)
    assert not list_poll.may_start(NOW + 1e9)


def test_after_a_transient_error_the_list_is_polled_again() -> None:
    list_poll = started(10, listed=10)
    list_poll.on_error(UpstreamError("busy"), NOW)
    assert not list_poll.may_start(NOW)
    assert list_poll.may_start(NOW + AFTER_ERROR)
