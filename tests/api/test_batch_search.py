"""Whether a create without an answer was accepted, told from the API's list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.api import search as module
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.search import Doubt, Likeness, Search, compare

NOW = 1_790_000_000.0
CAT, DOG = {"prompt": "a cat"}, {"prompt": "a dog"}
NAME, DIGITS = STABLE_DIFFUSION.split(":")


def entry(id: str, input: Any = None, age: float = 0.0, **more: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(NOW - age, UTC).isoformat()
    return {"id": id, "input": input, "model": NAME, "created_at": created, **more}


def search(*doubts: Doubt, known: set[str] | None = None) -> Search:
    lost = list(doubts) or [Doubt(0, CAT, NOW)]
    return Search(lost, STABLE_DIFFUSION, {"ours"} if known is None else known)


def test_an_entry_of_the_same_input_is_the_lost_one() -> None:
    looked = search()
    assert not looked.read([entry("new", CAT), entry("ours", DOG, 5)], None)
    assert (looked.found(), looked.lost()) == ({0: "new"}, set())


def test_a_list_that_shows_ours_and_nothing_like_it_tells_that_it_was_not_accepted() -> None:
    looked = search()
    looked.read([entry("x", DOG), entry("ours", DOG, 5)], None)
    assert (looked.found(), looked.lost()) == ({}, {0})


@pytest.mark.parametrize("known", [{"ours"}, set()])
def test_a_list_that_shows_nothing_at_all_tells_nothing(known: set[str]) -> None:
    looked = search(known=known)
    looked.read([], None)
    assert (looked.found(), looked.lost()) == ({}, set())


def test_if_there_are_none_of_ours_others_show_that_the_list_works() -> None:
    looked = search(known=set())
    assert not looked.read([entry("x", DOG), entry("old", CAT, 61)], "more")
    assert looked.lost() == {0}


def test_it_is_read_back_to_before_the_create_and_on_to_one_of_ours() -> None:
    looked = search()
    assert looked.read([entry("x", DOG)], "2")
    assert looked.read([entry("old", CAT, 61)], "3")
    assert not looked.read([entry("ours", DOG, 300), entry("older", CAT, 400)], "4")
    assert (looked.found(), looked.lost()) == ({}, {0})


def test_a_list_that_was_not_read_to_its_end_tells_nothing_of_what_is_not_on_it() -> None:
    looked = search()
    assert looked.read([entry("ours", DOG)], "2")
    assert looked.lost() == set()


def test_it_gives_up_a_list_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES", 3)
    looked = search()
    assert [looked.read([entry("ours", DOG)], "on") for _ in range(3)] == [True, True, False]
    assert looked.lost() == set()


def test_what_others_know_is_theirs_also_if_it_is_known_only_later() -> None:
    known = {"ours"}
    looked = search(Doubt(0, CAT, NOW), known=known)
    looked.read([entry("late", CAT), entry("ours", CAT)], None)
    known.add("late")
    assert (looked.found(), looked.lost()) == ({}, {0})


def test_two_equal_inputs_get_two_entries_and_a_third_none() -> None:
    looked = search(*(Doubt(index, CAT, NOW) for index in range(3)))
    looked.read([entry("a", CAT), entry("b", CAT), entry("ours", DOG, 9)], None)
    assert (looked.found(), looked.lost()) == ({0: "a", 1: "b"}, {2})


def test_an_entry_from_before_a_create_is_not_its() -> None:
    looked = search(Doubt(0, CAT, NOW - 500), Doubt(1, DOG, NOW))
    looked.read([entry("early", DOG, 400), entry("ours", CAT, 900)], None)
    assert (looked.found(), looked.lost()) == ({}, {0, 1})


@pytest.mark.parametrize("given", [None, {"prompt": "a cat", "seed": 4}])
def test_what_is_only_perhaps_the_same_leaves_it_uncertain(given: Any) -> None:
    looked = search()
    looked.read([entry("x", given), entry("ours", DOG, 5)], None)
    assert (looked.found(), looked.lost()) == ({}, set())


def test_an_entry_without_a_time_counts() -> None:
    looked = search()
    looked.read([entry("x", CAT, created_at=None), entry("ours", DOG, 5)], None)
    assert looked.found() == {0: "x"}


@pytest.mark.parametrize(
    ("found", "reference", "likeness"),
    [
        ({"model": NAME}, STABLE_DIFFUSION, Likeness.SAME),
        ({"model": "other/model"}, STABLE_DIFFUSION, Likeness.OTHER),
        ({"model": NAME}, NAME, Likeness.SAME),
        ({"model": NAME, "version": "hidden"}, DIGITS, Likeness.SAME),
        ({"version": DIGITS}, DIGITS, Likeness.SAME),
        ({"version": DIGITS}, STABLE_DIFFUSION, Likeness.SAME),
        ({"version": "0" * 64}, DIGITS, Likeness.OTHER),
        ({}, STABLE_DIFFUSION, Likeness.SAME),
        ({}, NAME, Likeness.SAME),
    ],
)
def test_the_model_is_compared_as_far_as_the_api_tells_it(
    found: Any, reference: str, likeness: Likeness
) -> None:
    assert compare({"id": "x", "input": CAT, **found}, CAT, reference) is likeness


@pytest.mark.parametrize(
    ("ours", "theirs", "likeness"),
    [
        ({"n": 7}, {"n": 7.0}, Likeness.SAME),
        ({"image": "data:image/png;base64,AA"}, {"image": "https://x"}, Likeness.SAME),
        ({"image": "data:image/png;base64,AA"}, {"image": 3}, Likeness.OTHER),
        ({"image": "https://a"}, {"image": "https://b"}, Likeness.OTHER),
        ({"prompt": "a"}, {}, Likeness.OTHER),
        ({}, {"seed": 1}, Likeness.PERHAPS),
    ],
)
def test_inputs_are_compared_but_for_files_that_became_urls(
    ours: Any, theirs: Any, likeness: Likeness
) -> None:
    assert compare({"id": "x", "input": theirs}, ours, STABLE_DIFFUSION) is likeness
