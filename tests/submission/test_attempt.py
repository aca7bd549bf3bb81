from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import UncertainCreateError
from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, SDXL, STABLE_DIFFUSION
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, create
from airflow_provider_quickrouter.submission.record import (
    Attempt,
    Step,
    fingerprint,
    is_reusable,
    lost_by_earlier_attempt,
)

PROMPT = "a prompt that nobody else should read"
SAME, OTHER = "f" * 64, "e" * 64
LONG_AGO = 1_767_225_600.0
"""2026-01-01T00:00:00+00:00"""


def attempt(**fields: Any) -> Attempt:
    known: dict[str, Any] = {"fingerprint": SAME, "begun_at": LONG_AGO, "max_tries": 2}
    return Attempt(**known | fields)


def request(prompt: str = PROMPT, version: str = STABLE_DIFFUSION, **options: Any) -> Request:
    return create({"prompt": prompt}, version=version, **options)


WITH_ID = {"prediction_id": "p1"}
DONE = {"prediction_id": "p1", "done": True}
RESEND = {"model_index": 1, "resend": True}
RETRY, CLEARED = 2, 3


@pytest.mark.parametrize(
    ("record", "now", "max_tries", "step"),
    [
        ({}, SAME, RETRY, Step.REPORT),
        ({}, OTHER, RETRY, Step.REPORT),
        ({}, SAME, CLEARED, Step.REPORT),
        ({"reported": True}, SAME, RETRY, Step.REPORT),
        ({"reported": True}, OTHER, RETRY, Step.REPORT),
        ({"reported": True}, SAME, CLEARED, Step.SUBMIT),
        (WITH_ID, SAME, RETRY, Step.RESUME),
        (WITH_ID, SAME, CLEARED, Step.RESUME),
        (WITH_ID, OTHER, RETRY, Step.SUBMIT),
        (WITH_ID, OTHER, CLEARED, Step.SUBMIT),
        (DONE, SAME, RETRY, Step.RESUME),
        (DONE, OTHER, RETRY, Step.SUBMIT),
        (DONE, SAME, CLEARED, Step.SUBMIT),
        (WITH_ID, SAME, 1, Step.RESUME),
        (RESEND, SAME, RETRY, Step.SUBMIT),
        (RESEND, OTHER, RETRY, Step.SUBMIT),
        (RESEND, SAME, CLEARED, Step.SUBMIT),
    ],
)
def test_what_a_later_try_does_first(record: dict[str, Any], now: str, max_tries: int, step: Step) -> None:
    assert attempt(**record).next_step(now, max_tries) is step


def test_only_a_limit_of_tries_that_has_grown_tells_of_a_clear() -> None:
    assert [attempt().cleared(limit) for limit in (0, 2, 3)] == [False, False, True]


@pytest.mark.parametrize("fields", [{}, WITH_ID, DONE, RESEND, {"reported": True}])
def test_a_record_survives_the_store(fields: dict[str, Any]) -> None:
    stored = json.dumps(attempt(**fields).to_json())
    assert Attempt.from_json(json.loads(stored)) == attempt(**fields)
    assert len(stored) < 300


@pytest.mark.parametrize("stored", [None, "text", 7, True, [], ["fingerprint"], {}, {"x": 1}])
def test_what_cannot_be_a_record_is_none(stored: object) -> None:
    assert Attempt.from_json(stored) is None


@pytest.mark.parametrize("empty", [None, "", 0])
def test_a_record_without_a_fingerprint_is_none(empty: object) -> None:
    assert Attempt.from_json(attempt(**WITH_ID).to_json() | {"fingerprint": empty}) is None


def test_a_record_of_another_version_may_lack_fields_and_have_others() -> None:
    bare = Attempt.from_json({"fingerprint": SAME, "colour": "blue"})
    assert bare == attempt(begun_at=0.0, max_tries=0)
    odd = {"fingerprint": SAME, "prediction_id": "p7", "done": "yes", "reported": 1}
    assert Attempt.from_json(odd) == attempt(begun_at=0.0, max_tries=0, prediction_id="p7")


@pytest.mark.parametrize(
    "odd",
    [
        {"fingerprint": 5},
        {"begun_at": "yesterday"},
        {"begun_at": [1]},
        {"begun_at": "nan"},
        {"begun_at": -1e20},
        {"begun_at": 1e300},
        {"max_tries": "x"},
        {"model_index": "second"},
        {"prediction_id": 7},
        {"prediction_id": "../x"},
    ],
    ids=str,
)
def test_a_record_that_nobody_can_have_written_is_none(odd: dict[str, object]) -> None:
    assert Attempt.from_json(attempt().to_json() | odd) is None


def test_a_cleared_task_that_had_succeeded_without_its_id_submits_anew() -> None:
    assert attempt(prediction_id=None, done=True).next_step(SAME, 3) is Step.SUBMIT


def test_the_fingerprint_is_the_same_for_the_same_create_only() -> None:
    same = create({"width": 512, "prompt": PROMPT}, version=STABLE_DIFFUSION)
    assert fingerprint(same) == fingerprint(
        create({"prompt": PROMPT, "width": 512}, version=STABLE_DIFFUSION)
    )
    others = [
        same,
        request(),
        request("another"),
        request(version=SDXL),
        create({"prompt": PROMPT}, model=FLUX_KONTEXT_PRO),
        create({"prompt": PROMPT}, model="black-forest-labs/flux-other"),
        create({"prompt": PROMPT}, version="black-forest-labs/flux-other"),
        create({"prompt": PROMPT}, deployment="black-forest-labs/flux-other"),
    ]
    assert len({fingerprint(other) for other in others}) == len(others)


def test_the_servers_limit_is_no_part_of_the_fingerprint() -> None:
    assert fingerprint(request()) == fingerprint(request(cancel_after=90))


@pytest.mark.parametrize("prompt", [PROMPT, "Eine Straße", "猫 🐈", "half of a pair \ud83d"])
def test_a_fingerprint_is_64_hex_digits_that_hold_no_prompt(prompt: str) -> None:
    found = fingerprint(request(prompt))
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"status": "starting"}, True),
        ({"status": "processing"}, True),
        ({"status": "hibernating"}, True),
        ({"status": "succeeded", "output": ["https://x/1.png"]}, True),
        ({"status": "succeeded", "data_removed": True}, False),
        ({"status": "failed"}, False),
        ({"status": "canceled"}, False),
        ({"status": "aborted"}, False),
    ],
)
def test_an_earlier_prediction_is_good_while_it_runs_or_its_output_is_there(
    fields: dict[str, Any], good: bool
) -> None:
    earlier = Prediction.from_json({"id": "p1", **fields})
    assert is_reusable(earlier, LONG_AGO) is good
    assert is_reusable(earlier, LONG_AGO, cleared=True) is good


@pytest.mark.parametrize("output", [None, [], [None]])
def test_a_success_without_output_is_good_for_a_retry_and_not_after_a_clear(output: Any) -> None:
    empty = Prediction.from_json({"id": "p1", "status": "succeeded", "output": output})
    assert is_reusable(empty, LONG_AGO)
    assert not is_reusable(empty, LONG_AGO, cleared=True)


def test_an_uncertain_create_is_dated_and_names_the_version_to_look_for() -> None:
    lost = UncertainCreateError("the answer was lost", status=502, request_id="r1")
    error = lost.sent_between(LONG_AGO, LONG_AGO + 61.9, request().reference)
    window = "created from 2026-01-01T00:00:00+00:00 to 2026-01-01T00:01:01+00:00"
    assert f"the answer was lost; look for {STABLE_DIFFUSION} {window}" in str(error)
    assert (error.status, error.request_id) == (502, "r1")
    assert (error.begun_at, error.until) == (LONG_AGO, LONG_AGO + 61.9)
    assert PROMPT not in str(error)


def test_an_uncertain_create_by_name_names_the_model() -> None:
    by_name = create({"prompt": PROMPT}, model=FLUX_KONTEXT_PRO)
    assert (
        f"look for {FLUX_KONTEXT_PRO} created" in lost_by_earlier_attempt(by_name, LONG_AGO, LONG_AGO).message
    )


def test_an_intent_without_an_id_is_told_as_the_loss_of_an_earlier_try() -> None:
    error = lost_by_earlier_attempt(request(), LONG_AGO, LONG_AGO + 60)
    assert str(error).startswith("an earlier attempt of this task ended before it received the response")
    assert "The request was not sent twice." in str(error)
    assert not error.transient
    assert error.begun_at == LONG_AGO


def test_a_request_without_a_body_can_be_dated_too() -> None:
    bare = replace(request(), body=None)
    assert "look for predictions created" in str(
        UncertainCreateError("lost").sent_between(LONG_AGO, LONG_AGO, bare.reference)
    )
