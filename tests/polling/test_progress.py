from __future__ import annotations

import pytest

from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.polling.poll import HEARTBEAT, Again, Poll, percentage


def seen(status: str, logs: str = "") -> Prediction:
    return Prediction.from_json({"id": "p1", "status": status, "logs": logs})


def line(poll: Poll, prediction: Prediction, now: float) -> str | None:
    step = poll.on_prediction(prediction, now)
    assert isinstance(step, Again)
    return step.line


@pytest.mark.parametrize(
    ("logs", "percent"),
    [
        ("", None),
        ("Using seed: 1", None),
        ("100% sure", None),
        ("  0%|          | 0/50 [00:00<?, ?it/s]", 0),
        ("0%|  | 0/50\r 50%|█████     | 25/50 [00:04<00:04,  5.05it/s]", 50),
        ("999%|x", 100),
        ("%|", None),
        (" 5%|# ", 5),
    ],
)
def test_the_percentage_is_that_of_the_last_progress_bar(logs: str, percent: int | None) -> None:
    assert percentage(logs) == percent


def test_a_line_has_id_state_seconds_and_percentage() -> None:
    logged = line(Poll("p1", 100.0), seen("processing", "50%|x"), 112.4)
    assert logged == "Prediction p1: processing, waited 12 s, 50%"


def test_an_unknown_state_is_named_as_such() -> None:
    assert line(Poll("p1", 0), seen("hibernating"), 1) == (
        "Prediction p1: unknown state 'hibernating', waited 1 s"
    )


def test_only_news_and_a_heartbeat_deserve_a_line() -> None:
    poll = Poll("p1", 0)
    said = [
        bool(line(poll, seen(status, logs), now))
        for now, status, logs in [
            (1, "starting", ""),
            (2, "starting", ""),
            (3, "processing", ""),
            (4, "processing", "10%|#"),
            (5, "processing", "30%|#"),
            (6, "processing", "40%|#"),
            (5 + HEARTBEAT, "processing", "40%|#"),
        ]
    ]
    assert said == [True, False, True, False, True, False, True]
