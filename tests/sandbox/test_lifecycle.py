from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_quickrouter.sandbox.bodies import bar, body_of, logs_of, steps_of, timestamp
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.predictions import RETENTION, Record, Status, phase_at

CREATED = 1_790_000_000.0
RECORD = Record(
    id="a" * 26,
    model="stability-ai/stable-diffusion",
    version="b" * 64,
    input={"prompt": "mars"},
    seed=7,
    created_at=CREATED,
    starting=2.0,
    processing=10.0,
)


def status_after(seconds: float, **changes: Any) -> Status:
    return phase_at(replace(RECORD, **changes), CREATED + seconds).status


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "starting"), (1.9, "starting"), (2, "processing"), (11.9, "processing")]
)
def test_a_prediction_runs_after_it_started(seconds: float, status: str) -> None:
    assert status_after(seconds) == status


@pytest.mark.parametrize("seconds", [12, 13, 1e6])
def test_a_prediction_succeeds_when_its_time_is_over(seconds: float) -> None:
    assert status_after(seconds) == "succeeded"


def test_a_create_is_answered_starting_even_when_nothing_takes_time() -> None:
    assert status_after(0, starting=0.0, processing=0.0) == "starting"
    assert status_after(0.001, starting=0.0, processing=0.0) == "succeeded"


def test_a_prediction_that_is_to_fail_fails_at_its_end() -> None:
    assert status_after(11, faults=Faults(fail="NSFW content detected")) == "processing"
    assert status_after(12, faults=Faults(fail="NSFW content detected")) == "failed"


def test_a_prediction_that_never_finishes_does_not_finish() -> None:
    assert status_after(1e9, faults=Faults(never=True)) == "processing"


def test_a_cancel_ends_a_prediction_at_once_and_for_ever() -> None:
    assert status_after(5, canceled_at=CREATED + 5) == "canceled"
    assert status_after(50, canceled_at=CREATED + 5) == "canceled"


def test_a_cancel_ends_even_what_never_finishes() -> None:
    assert status_after(50, canceled_at=CREATED + 5, faults=Faults(never=True)) == "canceled"


def test_a_deadline_before_the_start_aborts() -> None:
    assert status_after(9, starting=8.0, deadline=CREATED + 6) == "aborted"


def test_a_deadline_after_the_start_cancels() -> None:
    assert status_after(9, deadline=CREATED + 6) == "canceled"


def test_a_deadline_after_the_end_changes_nothing() -> None:
    assert status_after(99, deadline=CREATED + 50) == "succeeded"


def test_an_aborted_prediction_never_started() -> None:
    phase = phase_at(replace(RECORD, starting=8.0, deadline=CREATED + 6), CREATED + 9)
    assert (phase.started_at, phase.completed_at) == (None, CREATED + 6)


def test_faults_change_the_durations() -> None:
    faults = Faults(starting=0, processing=1)
    assert status_after(0.5, faults=faults) == "processing"
    assert status_after(1, faults=faults) == "succeeded"


def test_data_is_removed_an_hour_after_completion() -> None:
    assert not phase_at(RECORD, CREATED + 12 + RETENTION - 1).expired
    assert phase_at(RECORD, CREATED + 12 + RETENTION).expired


def test_times_and_output_are_null_until_they_apply() -> None:
    body = body_of(RECORD, CREATED + 1, "http://here")
    assert [body[k] for k in ("started_at", "completed_at", "output", "error")] == [None] * 4
    assert body["logs"] == ""
    assert body["metrics"] == {}


def test_a_success_has_times_metrics_and_urls_of_this_server() -> None:
    body = body_of(RECORD, CREATED + 20, "http://here")
    assert body["output"] == [f"http://here/files/{RECORD.id}/out-0.png"]
    assert body["created_at"] == "2026-09-21T14:13:20.000000Z"
    assert body["completed_at"] == "2026-09-21T14:13:32.000000Z"
    assert body["metrics"] == {"total_time": 12.0, "predict_time": 10.0, "image_count": 1}


def test_as_many_pictures_as_asked_for_are_listed() -> None:
    record = replace(RECORD, input={"num_outputs": 3})
    output = body_of(record, CREATED + 20, "http://here")["output"]
    assert [url.rpartition("/")[2] for url in output] == ["out-0.png", "out-1.png", "out-2.png"]


def test_a_flux_model_answers_one_url() -> None:
    record = replace(RECORD, model="black-forest-labs/flux-kontext-pro")
    body = body_of(record, CREATED + 20, "http://here")
    assert body["output"] == f"http://here/files/{RECORD.id}/out-0.png"


def test_after_removal_input_output_and_logs_are_gone() -> None:
    body = body_of(RECORD, CREATED + 12 + RETENTION, "http://here")
    assert body["data_removed"] is True
    assert (body["input"], body["output"], body["logs"]) == ({}, None, "")
    assert body["status"] == "succeeded"


def test_urls_name_replicate_as_the_real_gateway_does() -> None:
    urls = body_of(RECORD, CREATED, "http://here")["urls"]
    assert urls["get"] == f"https://api.replicate.com/v1/predictions/{RECORD.id}"
    assert urls["cancel"] == f"https://api.replicate.com/v1/predictions/{RECORD.id}/cancel"


def test_logs_name_the_seed_and_grow_with_the_work() -> None:
    early = body_of(RECORD, CREATED + 3, "")["logs"]
    late = body_of(RECORD, CREATED + 7, "")["logs"]
    assert late.startswith(early)
    assert early.startswith("Using seed: 7\n\r  0%|          | 0/50 [00:00<?, ?it/s]\r")
    assert late.rpartition("\r")[2] == " 50%|█████     | 25/50 [00:05<00:05,  5.00it/s]"


def test_a_bar_is_drawn_as_tqdm_draws_it() -> None:
    assert bar(25, 50, 9.9) == " 50%|█████     | 25/50 [00:04<00:04,  5.05it/s]"
    assert bar(2, 50, 10) == "  4%|▍         | 2/50 [00:00<00:09,  5.00it/s]"
    assert bar(50, 50, 10) == "100%|██████████| 50/50 [00:10<00:00,  5.00it/s]"


def test_logs_of_many_steps_stay_short() -> None:
    assert logs_of(1, 500, 100.0, 1.0).count("\r") == 51


@pytest.mark.parametrize(
    ("given", "steps"), [({}, 50), ({"num_inference_steps": 4}, 4), ({"steps": 30}, 30), ({"steps": "x"}, 50)]
)
def test_steps_come_from_the_input(given: dict[str, Any], steps: int) -> None:
    assert steps_of(given) == steps


def test_all_of_the_work_is_done_at_the_end_whatever_the_rounding() -> None:
    records = [replace(RECORD, created_at=CREATED + n / 7, processing=0.05) for n in range(50)]
    assert {phase_at(record, CREATED + 99).fraction for record in records} == {1.0}


def test_no_instant_has_no_timestamp() -> None:
    assert timestamp(None) is None
