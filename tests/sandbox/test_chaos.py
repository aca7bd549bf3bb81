from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_quickrouter.sandbox.chaos import (
    KEY_REFUSED,
    PERMANENT_REASONS,
    POISONS,
    POISONS_OF_FAILURES,
    SERVER_ERRORS,
    TRANSIENT_REASONS,
    Chaos,
    of_prediction,
    of_request,
    subject_of,
)
from airflow_provider_quickrouter.sandbox.faults import ODD_RESPONSES, RATE_LIMITS, Faults

pytestmark = pytest.mark.slow("draws the faults of many thousand requests")

DRAWS = 20_000
KINDS = ("create", "get", "cancel")
BASE = (1, 1, "get", "a")


def draws(kind: str, seed: int = 1) -> list[dict[str, Any]]:
    """Return the faults of 20,000 requests about 2,000 subjects."""
    return [of_request(seed, 1, kind, f"subject {n % 2000}", n // 2000).given() for n in range(DRAWS)]


def fates() -> list[dict[str, Any]]:
    return [of_prediction(1, f"subject {n % 2000}", n // 2000).given() for n in range(DRAWS)]


def share(found: list[dict[str, Any]], *names: str) -> float:
    """Return the percentage of draws with any of these faults."""
    return 100 * sum(any(name in faults for name in names) for faults in found) / len(found)


def test_the_same_seed_gives_the_same_plan_in_any_process() -> None:
    assert draws("get") == draws("get")
    assert of_request(1, 1, "get", "subject 24", 0) == Faults(drop="after")
    assert of_prediction(1, "subject 34", 0) == Faults(
        starting=3.868,
        processing=18.152,
        odd_gets={"response": "challenge_page", "seconds": 7.447, "after": 1},
    )


@pytest.mark.parametrize(
    "other", [(2, 1, "get", "a"), (1, 2, "get", "a"), (1, 1, "cancel", "a"), (1, 1, "get", "b")]
)
def test_another_seed_start_kind_or_subject_gives_another_plan(other: tuple[int, int, str, str]) -> None:
    plan, changed = ([of_request(*parts, n) for n in range(200)] for parts in (BASE, other))
    assert plan != changed


@pytest.mark.parametrize("kind", KINDS)
def test_requests_go_wrong_at_the_rates_told(kind: str) -> None:
    found = draws(kind)
    assert share(found, "status", "accepted_status") == pytest.approx(5, abs=0.7)
    assert share(found, "drop") == pytest.approx(5, abs=0.7)
    assert share(found, "rate_limit") == pytest.approx(3, abs=0.5)
    assert share(found, "body") == pytest.approx(1, abs=0.3)
    assert not any(len(faults) > 1 for faults in found if "rate_limit" not in faults)


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_every_fault_occurs_about_as_often(kind: str) -> None:
    found = Counter((name, value) for faults in draws(kind) for name, value in faults.items())
    for name, values in (
        ("rate_limit", RATE_LIMITS),
        ("drop", ("before", "after")),
        ("body", ("html", "cut")),
        ("status", SERVER_ERRORS),
    ):
        numbers = [found[name, value] for value in values]
        assert sum(numbers) == sum(n for (other, _), n in found.items() if other == name)
        assert min(numbers) > 0.7 * sum(numbers) / len(values)
    assert {value for name, value in found if name == "retry_after"} == {1.0}


def test_half_of_the_creates_with_a_5xx_are_accepted_and_no_other_request_is() -> None:
    creates = draws("create")
    assert share(creates, "accepted_status") == pytest.approx(2.5, abs=0.5)
    assert {f["accepted_status"] for f in creates if "accepted_status" in f} == set(SERVER_ERRORS)
    assert share(draws("get") + draws("cancel"), "accepted_status") == 0


def test_predictions_go_wrong_at_the_rates_told() -> None:
    found = fates()
    assert share(found, "starting") == pytest.approx(10, abs=1)
    assert share(found, "fail") == pytest.approx(3, abs=0.5)
    seconds = [faults["starting"] for faults in found if "starting" in faults]
    assert 3 <= min(seconds) < 3.5
    assert 9.5 < max(seconds) <= 10


def test_half_of_the_failures_pass() -> None:
    reasons = Counter(faults["fail"] for faults in fates() if "fail" in faults)
    assert set(reasons) == {*TRANSIENT_REASONS, *PERMANENT_REASONS}
    transient = sum(reasons[reason] for reason in TRANSIENT_REASONS)
    assert transient / reasons.total() == pytest.approx(0.5, abs=0.1)


def test_what_failed_may_succeed_when_it_is_submitted_again() -> None:
    failed = [n for n in range(2000) if of_prediction(1, str(n), 0).fail is not None]
    again = [of_prediction(1, str(n), 1).fail for n in failed]
    assert again.count(None) > 0.8 * len(again)


def test_some_predictions_have_odd_responses_for_seconds_and_every_odd_response_occurs() -> None:
    found = fates()
    episodes = [faults["odd_gets"] for faults in found if "odd_gets" in faults]
    assert share(found, "odd_gets") == pytest.approx(20, abs=1.5)
    assert {episode["response"] for episode in episodes} == set(ODD_RESPONSES)
    assert all(2 <= episode["seconds"] <= 8 for episode in episodes)


def test_an_episode_that_refuses_the_key_begins_only_after_a_good_get() -> None:
    episodes = [faults["odd_gets"] for faults in fates() if "odd_gets" in faults]
    early = {episode["response"] for episode in episodes if not episode.get("after")}
    assert early == set(ODD_RESPONSES) - set(KEY_REFUSED)


def test_a_prediction_whose_episode_begins_after_a_good_get_runs_long_enough_to_meet_it() -> None:
    late = [faults for faults in fates() if faults.get("odd_gets", {}).get("after")]
    assert late
    assert all(faults["processing"] >= 15 for faults in late)


def test_some_predictions_have_their_first_gets_held_and_no_odd_responses() -> None:
    found = fates()
    hung = [faults for faults in found if "hung_gets" in faults]
    assert share(found, "hung_gets") == pytest.approx(5, abs=0.7)
    assert {faults["hung_gets"]["times"] for faults in hung} == {1, 2, 3}
    assert not any("odd_gets" in faults for faults in hung)


def test_poison_is_in_every_part_of_a_prediction_and_in_the_errors_of_half_of_the_failing() -> None:
    found = fates()
    good = [faults for faults in found if "fail" not in faults]
    failing = [faults for faults in found if "fail" in faults]
    assert share(good, "poison") == pytest.approx(8, abs=1)
    assert share(failing, "poison") == pytest.approx(50, abs=7)
    assert {faults["poison"] for faults in good if "poison" in faults} == set(POISONS)
    poisons = {faults["poison"] for faults in failing if "poison" in faults}
    assert poisons == set(POISONS_OF_FAILURES)


def test_the_plan_does_not_depend_on_what_goes_on_meanwhile() -> None:
    alone, together = Chaos(1), Chaos(1)
    plan = [alone.for_request(1, "get", "a") for _ in range(300)]
    mixed = []
    for number in range(300):
        together.for_request(1, "create", "a")
        together.for_request(1, "get", f"other {number}")
        together.for_prediction("a")
        mixed.append(together.for_request(1, "get", "a"))
    assert mixed == plan
    assert len({str(faults) for faults in plan}) > 5


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"prompt": "mars", "seed": 1}, "mars"),
        ({"prompt": ""}, ""),
        ({"prompt": 5, "a": 1}, '{"a": 1, "prompt": 5}'),
        ({"b": 1, "a": [2]}, '{"a": [2], "b": 1}'),
        ({}, "{}"),
        (None, None),
        ([], None),
    ],
)
def test_a_subject_is_the_prompt_or_else_the_whole_input(given: Any, subject: str | None) -> None:
    assert subject_of(given) == subject
