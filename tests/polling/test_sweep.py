from __future__ import annotations

from airflow_provider_quickrouter.api.errors import NotFoundError, UpstreamError
from airflow_provider_quickrouter.polling.list_sweep import AFTER_ERROR, AFTER_NOTHING, FRUITLESS, Sweeps

NOW = 1_000_000.0


def ids(number: int) -> set[str]:
    return {f"p{index}" for index in range(number)}


def test_a_few_waits_are_not_worth_a_page() -> None:
    assert Sweeps().begin(ids(9), listed=9) is None
    assert Sweeps().begin(ids(10), listed=10)


def test_many_waits_of_which_few_are_due_are_not_worth_many_pages() -> None:
    assert Sweeps().begin(ids(99), listed=5_000) is None
    assert Sweeps().begin(ids(100), listed=5_000)


def test_a_sweep_ends_when_all_it_wanted_were_found() -> None:
    sweep = Sweeps().begin(ids(10), listed=300)
    assert sweep
    for prediction_id in ids(9):
        sweep.found(prediction_id)
    assert sweep.goes_on("older")
    sweep.found("p9")
    assert not sweep.goes_on("older still")


def test_a_sweep_ends_with_the_list() -> None:
    sweep = Sweeps().begin(ids(10), listed=10)
    assert sweep
    assert not sweep.goes_on(None)


def test_a_sweep_does_not_read_a_list_that_is_mostly_of_others() -> None:
    sweep = Sweeps().begin(ids(10), listed=100)
    assert sweep
    for _ in range(FRUITLESS - 1):
        assert sweep.goes_on("older")
    sweep.found("p3")
    assert sweep.goes_on("older")
    assert [sweep.goes_on("older") for _ in range(FRUITLESS)][-2:] == [True, False]


def test_one_sweep_at_a_time() -> None:
    sweeps = Sweeps()
    assert sweeps.may_begin(NOW)
    sweeps.begin(ids(10), listed=10)
    assert not sweeps.may_begin(NOW)


def test_what_a_sweep_did_not_find_is_not_on_the_list() -> None:
    sweeps = Sweeps()
    sweep = sweeps.begin(ids(10), listed=10)
    assert sweep
    sweep.found("p3")
    assert sweeps.end(NOW) == set(ids(10)) - {"p3"}
    assert sweeps.may_begin(NOW)
    assert sweeps.end(NOW) == set()


def test_a_sweep_matched_none_is_not_repeated_soon() -> None:
    sweeps = Sweeps()
    sweeps.begin(ids(10), listed=10)
    sweeps.end(NOW)
    assert not sweeps.may_begin(NOW + AFTER_NOTHING - 1)
    assert sweeps.may_begin(NOW + AFTER_NOTHING)


def test_without_a_list_there_are_no_more_sweeps() -> None:
    sweeps = Sweeps()
    sweeps.begin(ids(10), listed=10)
    sweeps.on_error(NotFoundError("Invalid URL"), NOW)
    assert not sweeps.may_begin(NOW + 1e9)


def test_after_passing_trouble_the_list_is_tried_again() -> None:
    sweeps = Sweeps()
    sweeps.begin(ids(10), listed=10)
    sweeps.on_error(UpstreamError("busy"), NOW)
    assert not sweeps.may_begin(NOW)
    assert sweeps.may_begin(NOW + AFTER_ERROR)
