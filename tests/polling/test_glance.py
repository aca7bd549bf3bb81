from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.api.protocol import Answer, plainly_still
from airflow_provider_quickrouter.polling.poll import percentage

SEEN = Prediction(id="p1", status=PredictionStatus.PROCESSING, raw_status="processing")
TRICK = 'a "status": "processing" of "p1", {"status": "processing"}'


def told(word: str, **fields: Any) -> Answer:
    return Answer(200, {}, json.dumps({"id": "p1", "status": word, **fields}).encode())


def test_a_body_that_says_the_same_need_not_be_parsed() -> None:
    assert plainly_still(SEEN, told("processing"))


@pytest.mark.parametrize(
    "body",
    [
        told("succeeded"),
        told("starting"),
        told("hibernating"),
        told("succeeded", input={"prompt": TRICK}, logs=TRICK),
        told("succeeded", input={"status": "processing"}),
        told("processing", metrics={"status": "processing"}),
        told("processing", success=False),
        told("processing", code=401),
        Answer(503, {}, told("processing").body),
        Answer(200, {}, b'{"id": "p2", "status": "processing"}'),
        Answer(200, {}, b'{"id": "p1"}'),
        Answer(200, {}, b""),
    ],
)
def test_whatever_may_say_anything_else_is_parsed(body: Answer) -> None:
    assert not plainly_still(SEEN, body)


def test_texts_that_look_like_a_state_do_not_disturb() -> None:
    assert plainly_still(SEEN, told("processing", input={"prompt": TRICK}, logs=TRICK))


def test_a_state_that_the_api_spells_otherwise_is_parsed() -> None:
    other = Prediction(id="p1", status=PredictionStatus.PROCESSING, raw_status="in_progress")
    assert not plainly_still(other, told("in_progress"))


@pytest.mark.parametrize(
    ("logs", "percent"),
    [("", None), (" 5%|# ", 5), ("10%|# \r 50%|█████", 50), ("100%|██", 100), ("%|", None)],
)
def test_the_percentage_is_found_without_parsing(logs: str, percent: int | None) -> None:
    assert percentage(told("processing", logs=logs).body) == percent
    assert percentage(logs) == percent
