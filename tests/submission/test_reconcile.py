"""Whether a create request without a response was accepted, decided from the API's list."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import (
    InvalidConnectionError,
    NotConnectedError,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.protocol import Request, Response
from airflow_provider_quickrouter.submission import reconcile as module
from airflow_provider_quickrouter.submission.reconcile import (
    Likeness,
    Page,
    Search,
    Skew,
    UncertainCreate,
    compare,
    seconds_ahead,
)

NOW = 1_790_000_000.0
CAT, DOG = {"prompt": "a cat"}, {"prompt": "a dog"}
NAME, DIGITS = STABLE_DIFFUSION.split(":")
DEPLOYMENT = "deployments/acme/shop"
HOUR = 3600.0
SKEWS = [-2 * HOUR, -120.0, 0.0, 120.0, 2 * HOUR]


def entry(id: str, input: Any = None, age: float = 0.0, **more: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(NOW - age, UTC).isoformat()
    return {"id": id, "input": input, "model": NAME, "created_at": created, **more}


def page(*entries: dict[str, Any], older: str | None = None, ahead: float | None = None) -> Page:
    """A page that is received ten seconds after the lost create request."""
    return Page(entries, older, NOW + 10, ahead)


def request_of(input: Any, reference: str = STABLE_DIFFUSION) -> Request:
    if reference in (NAME, DEPLOYMENT):
        path = f"models/{NAME}" if reference == NAME else DEPLOYMENT
        return Request("POST", f"{path}/predictions", {"input": input})
    return Request("POST", "predictions", {"version": reference, "input": input})


def lost(index: int, input: Any, begun_at: float) -> UncertainCreate:
    return UncertainCreate(index, request_of(input), begun_at)


def search(*creates: UncertainCreate, ours: float | None = None, **begun: float) -> Search:
    """Search for a cat that was requested now.

    :param ours: how long ago the intent of the known prediction ``ours`` was stored; None if no
        prediction is known.
    """
    if ours is not None:
        begun["ours"] = NOW - ours
    return Search(list(creates) or [lost(0, CAT, NOW)], set(begun), begun)


def shown(looked: Search) -> tuple[dict[int, str], set[int]]:
    """What was found and what was lost; the rest is unsure."""
    result = looked.result()
    parts = [*result.found, *result.lost, *result.unsure]
    assert sorted(parts) == sorted(create.index for create in looked.creates)
    return result.found, result.lost


def test_an_entry_of_the_same_input_is_the_lost_one() -> None:
    looked = search(ours=5)
    assert not looked.read(page(entry("new", CAT), entry("ours", DOG, 5)))
    assert shown(looked) == ({0: "new"}, set())


def test_a_list_that_shows_ours_and_nothing_like_it_shows_that_it_was_not_accepted() -> None:
    looked = search(ours=5)
    looked.read(page(entry("x", DOG), entry("ours", DOG, 5)))
    assert shown(looked) == ({}, {0})


@pytest.mark.parametrize("ours", [5, None])
def test_an_empty_list_shows_nothing(ours: float | None) -> None:
    looked = search(ours=ours)
    looked.read(page(ahead=0))
    assert shown(looked) == ({}, set())


def test_if_there_are_none_of_ours_others_show_that_the_list_works() -> None:
    looked = search()
    assert not looked.read(page(entry("x", DOG), entry("old", CAT, 71), older="2", ahead=0))
    assert looked.result().lost == {0}


def test_it_is_read_back_to_before_the_create_and_on_to_one_of_ours() -> None:
    looked = search(ours=300)
    assert looked.read(page(entry("x", DOG), older="2"))
    assert looked.read(page(entry("old", CAT, 71), older="3"))
    assert not looked.read(page(entry("ours", DOG, 300), entry("older", CAT, 400), older="4"))
    assert shown(looked) == ({}, {0})


def test_a_list_that_was_not_read_to_its_end_shows_nothing_about_what_is_not_on_it() -> None:
    looked = search(ours=0)
    assert looked.read(page(entry("ours", DOG), older="2"))
    assert looked.result().lost == set()


def test_it_gives_up_a_list_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES", 3)
    looked = search(ours=0)
    pages = [page(entry("ours", DOG), older="on")] * 3
    assert [looked.read(one) for one in pages] == [True, True, False]
    assert looked.result().lost == set()


def test_what_others_know_is_theirs_even_if_it_is_known_only_later() -> None:
    known = {"ours"}
    looked = Search([lost(0, CAT, NOW)], known, {"ours": NOW})
    looked.read(page(entry("late", CAT), entry("ours", CAT)))
    known.add("late")
    assert shown(looked) == ({}, {0})


def test_two_equal_inputs_get_two_entries_and_a_third_none() -> None:
    looked = search(*(lost(index, CAT, NOW) for index in range(3)), ours=9)
    looked.read(page(entry("a", CAT), entry("b", CAT), entry("ours", DOG, 9)))
    assert shown(looked) == ({0: "a", 1: "b"}, {2})


def test_an_entry_from_before_a_create_does_not_belong_to_it() -> None:
    looked = search(lost(0, CAT, NOW - 500), lost(1, DOG, NOW), ours=900)
    looked.read(page(entry("x"), entry("early", DOG, 400), entry("ours", CAT, 900), older="2"))
    assert shown(looked) == ({}, set())  # "x" hides its input
    looked = search(lost(0, CAT, NOW - 500), lost(1, DOG, NOW), ours=900)
    looked.read(page(entry("x", {}), entry("early", DOG, 400), entry("ours", CAT, 900)))
    assert shown(looked) == ({}, {0, 1})


@pytest.mark.parametrize("given", [None, {"prompt": "a cat", "seed": 4}])
def test_an_entry_that_may_be_the_same_leaves_it_uncertain(given: Any) -> None:
    looked = search(ours=5)
    looked.read(page(entry("x", given), entry("ours", DOG, 5)))
    assert shown(looked) == ({}, set())


def test_an_entry_without_a_time_counts() -> None:
    looked = search(ours=5)
    looked.read(page(entry("x", CAT, created_at=None), entry("ours", DOG, 5)))
    assert looked.result().found == {0: "x"}


@pytest.mark.parametrize("skew", SKEWS)
def test_an_accepted_create_is_found_whatever_the_clock_of_the_gateway_says(skew: float) -> None:
    looked = search(ours=5)
    looked.read(page(entry("new", CAT, -skew - 1), entry("ours", DOG, 4 - skew), older="2"))
    assert shown(looked) == ({0: "new"}, set())


@pytest.mark.parametrize("skew", SKEWS)
def test_an_older_entry_is_not_taken_for_it_whatever_the_clock_of_the_gateway_says(skew: float) -> None:
    looked = search(ours=75)
    entries = entry("x", DOG, -skew), entry("old", CAT, 74 - skew), entry("ours", DOG, 75 - skew)
    looked.read(page(*entries, older="2"))
    assert shown(looked) == ({}, {0})


@pytest.mark.parametrize("skew", [-2 * HOUR, -120.0])
@pytest.mark.parametrize("ahead", [None, 0.0, "skew"])
def test_without_one_of_ours_a_clock_that_is_behind_never_leads_to_a_second_create(
    skew: float, ahead: Any
) -> None:
    """A time zone that is wrong does not show in ``Date``."""
    looked = search()
    ahead = skew if ahead == "skew" else ahead
    looked.read(page(entry("new", CAT, -skew - 1), entry("old", CAT, 900 - skew), ahead=ahead))
    assert looked.result().lost == set()
    assert looked.result().found == ({0: "new"} if ahead == skew else {})


def test_without_one_of_ours_entries_from_the_future_show_that_date_means_nothing() -> None:
    looked = search()
    looked.read(page(entry("old", CAT, -HOUR), ahead=0))
    assert shown(looked) == ({}, set())


def test_an_idle_list_says_little_about_a_clock_and_leaves_it_uncertain() -> None:
    """The last entry is an hour old, or it is new and the clock is an hour behind."""
    looked = search()
    looked.read(page(entry("old", CAT, HOUR), ahead=0))
    assert shown(looked) == ({}, set())


@pytest.mark.parametrize("delay", [0.0, 100.0, 1000.0])
def test_a_prediction_that_was_accepted_late_does_not_lead_to_a_second_create(delay: float) -> None:
    """Pauses after a 429 lie between an intent and its prediction."""
    looked = search(ours=1000)
    looked.read(page(entry("new", CAT, -1), entry("ours", DOG, 1000 - delay), older="2"))
    assert looked.result().lost == set()
    assert looked.result().found == ({} if delay > 60 else {0: "new"})


def test_the_known_prediction_that_was_accepted_soonest_measures_the_clock() -> None:
    looked = search(ours=1000, soon=NOW - 20)
    looked.read(page(entry("new", CAT, -1), entry("ours", DOG, 10), entry("soon", DOG, 19)))
    assert looked.result().found == {0: "new"}
    assert (looked.skew.highest, looked.skew.lowest) == (1, -9)


@pytest.mark.parametrize("step", [-2 * HOUR, 2 * HOUR])
def test_a_clock_that_is_set_meanwhile_never_leads_to_a_second_create(step: float) -> None:
    looked = search(ours=5)
    entries = [entry("after", DOG, -step - 9), entry("new", CAT, -1), entry("ours", DOG, 4)]
    entries.sort(key=lambda one: str(one["created_at"]), reverse=True)
    looked.read(page(*entries))
    assert looked.result().found == {0: "new"}


@pytest.mark.parametrize("ours", [2 * HOUR, -2 * HOUR])
def test_clocks_of_two_workers_that_differ_never_lead_to_a_second_create(ours: float) -> None:
    """``ours`` was requested at the same time, by a machine whose clock is two hours off."""
    looked = search(ours=ours)
    looked.read(page(entry("new", CAT, -1), entry("ours", DOG)))
    assert looked.result().lost == set()


def test_a_known_prediction_without_an_intent_does_not_measure_the_clock() -> None:
    looked = Search([lost(0, CAT, NOW)], {"ours"}, {})
    looked.read(page(entry("ours", DOG, 5), entry("old", CAT, 2 * HOUR)))
    assert looked.skew.lowest == -math.inf
    assert shown(looked) == ({}, set())


def test_an_unmeasured_clock_does_not_matter_if_nothing_on_the_list_is_like_it() -> None:
    looked = Search([lost(0, CAT, NOW)], {"ours"}, {})
    assert looked.read(page(entry("ours", DOG, 5), older="2"))
    assert not looked.read(page(entry("x", DOG, 9 * HOUR)))
    assert looked.result().lost == {0}


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Mon, 21 Sep 2026 13:33:20 GMT", 7000.0),
        ("", None),
        ("yesterday", None),
        ("Mon, 99 Sep 2026 13:33:20 GMT", None),
        ("\udcff", None),
    ],
)
def test_the_date_of_a_response_is_compared_with_this_clock(date: str, ahead: float | None) -> None:
    requested = datetime(2026, 9, 21, 11, 36, 40, tzinfo=UTC).timestamp()
    assert seconds_ahead({"date": date}, requested) == ahead


def test_without_a_date_nothing_is_known_of_the_clock() -> None:
    assert seconds_ahead({}, NOW) is None
    assert Skew().highest == math.inf


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
        ({"deployment": "acme/shop", "model": NAME}, DEPLOYMENT, Likeness.SAME),
        ({"deployment": "shop"}, DEPLOYMENT, Likeness.SAME),
        ({"deployment": "other"}, DEPLOYMENT, Likeness.PERHAPS),
        ({"model": NAME, "version": DIGITS}, DEPLOYMENT, Likeness.PERHAPS),
        ({"input": {}}, DEPLOYMENT, Likeness.OTHER),
    ],
)
def test_the_model_is_compared_as_far_as_the_api_tells_it(
    found: Any, reference: str, likeness: Likeness
) -> None:
    assert compare({"id": "x", "input": CAT, **found}, request_of(CAT, reference)) is likeness


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
    assert compare({"id": "x", "input": theirs}, request_of(ours)) is likeness


@pytest.mark.parametrize(
    ("theirs", "likeness"),
    [
        ("https://b/cat.png?Expires=8&Signature=another", Likeness.SAME),
        ("https://b/dog.png?Expires=8&Signature=another", Likeness.OTHER),
    ],
)
@pytest.mark.parametrize("put", [lambda url: url, lambda url: [{"image": url}]], ids=["field", "nested"])
def test_the_signature_of_an_earlier_attempts_url_is_another_one(
    put: Callable[[str], Any], theirs: str, likeness: Likeness
) -> None:
    url = "https://b/cat.png?Expires=7&Signature=S3cr"
    request = replace(request_of({"image": put(url)}), signed={url: "s3://b/cat.png an-etag"})
    assert compare({"id": "x", "input": {"image": put(theirs)}}, request) is likeness


def response(*entries: dict[str, Any], older: str | None = None, status: int = 200) -> Response:
    following = f"https://elsewhere/predictions?cursor={older}" if older else None
    body = json.dumps({"results": entries, "next": following}).encode()
    return Response(status, {"retry-after": "7"} if status == 429 else {}, body)


class Sender:
    """Returns responses, or raises errors, one after the other."""

    def __init__(self, *steps: Response | QuickRouterError) -> None:
        self.steps = list(steps)
        self.paths = list[str]()

    def __call__(self, request: Request) -> Response:
        self.paths.append(request.path)
        step = self.steps.pop(0)
        if isinstance(step, Response):
            return step
        raise step


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, which take no time."""
    made = list[float]()
    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(time, "time", lambda: NOW + 10)
    return made


def test_the_list_is_read_page_by_page_as_far_as_it_matters(pauses: list[float]) -> None:
    first = response(entry("new", CAT), older="2")
    looked, send = search(ours=90), Sender(first, response(entry("ours", DOG, 90), older="3"))
    looked.read_list(send)
    assert (shown(looked), pauses) == (({0: "new"}, set()), [])
    assert send.paths == ["predictions", "predictions?cursor=2"]


def test_a_page_is_requested_again_after_a_transient_error(pauses: list[float]) -> None:
    page = response(entry("new", CAT), entry("ours", DOG, 5))
    looked, send = search(ours=5), Sender(NotConnectedError("?"), response(status=429), page)
    looked.read_list(send)
    assert (looked.result().found, pauses) == ({0: "new"}, [2.0, 7.0])


@pytest.mark.parametrize(
    ("steps", "requests"),
    [
        ([response(status=404)], 1),
        ([InvalidConnectionError("no key")], 1),
        ([NotConnectedError("?")] * module.ATTEMPTS, module.ATTEMPTS),
    ],
)
def test_a_list_that_cannot_be_read_leaves_everything_unsure(
    pauses: list[float], steps: list[Any], requests: int
) -> None:
    looked, send = search(ours=5), Sender(*steps)
    looked.read_list(send)
    assert (shown(looked), len(send.paths)) == (({}, set()), requests)
