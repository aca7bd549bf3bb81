from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api.prediction import MAX_JSON, MAX_TEXT, Prediction, PredictionStatus

ID = "qpt5jq1fssrmc0cmd5hvy31mdg"
LINK = "https://api.quickrouter.ai/replicate/v1/predictions/" + ID
MANIFEST_KEYS = [
    *("id", "status", "output", "error", "model", "version", "deployment"),
    *("created_at", "started_at", "completed_at", "expires_at", "data_removed", "metrics"),
    *("url", "seed", "cost"),
]
HEX = "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
IMAGE = "https://replicate.delivery/xezq/abc/out-0.png"

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def prediction(**fields: Any) -> Prediction:
    return Prediction.from_json({"id": ID, **fields})


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("starting", PredictionStatus.STARTING),
        ("pending", PredictionStatus.STARTING),
        ("queued", PredictionStatus.STARTING),
        ("in_progress", PredictionStatus.PROCESSING),
        ("In Progress", PredictionStatus.PROCESSING),
        ("in-progress", PredictionStatus.PROCESSING),
        ("SUCCESS", PredictionStatus.SUCCEEDED),
        (" completed ", PredictionStatus.SUCCEEDED),
        ("Failure", PredictionStatus.FAILED),
        ("Cancelled", PredictionStatus.CANCELED),
        ("aborted", PredictionStatus.ABORTED),
        ("unknown", PredictionStatus.UNKNOWN),
        ("hibernating", PredictionStatus.UNKNOWN),
        ("", PredictionStatus.UNKNOWN),
        (None, PredictionStatus.UNKNOWN),
        (7, PredictionStatus.UNKNOWN),
    ],
)
def test_a_state_is_read_in_any_spelling(word: object, status: PredictionStatus) -> None:
    assert PredictionStatus.of(word) is status


def test_exactly_four_states_are_terminal() -> None:
    terminal = {str(status) for status in PredictionStatus if status.terminal}
    assert terminal == {"succeeded", "failed", "canceled", "aborted"}


def test_an_unknown_state_keeps_its_raw_word_and_is_not_finished() -> None:
    odd = prediction(status="Hibernating")
    assert odd.status_word == "Hibernating"
    assert not odd.status.terminal


def test_a_gateway_may_send_only_id_and_status() -> None:
    bare = prediction(status="starting")
    assert (bare.items, bare.error, bare.logs, bare.metrics, bare.model) == ([], "", "", {}, None)
    assert bare.created_at is bare.completed_at is bare.expires_at is None


def test_an_absent_state_is_called_unknown() -> None:
    assert prediction().status_word == "unknown"


@pytest.mark.parametrize(
    ("output", "items"),
    [
        (None, []),
        ([], []),
        ("", [""]),
        ([None], [None]),
        ({"detections": []}, [{"detections": []}]),
        (IMAGE, [IMAGE]),
        ("plain text", ["plain text"]),
        ([IMAGE, None, IMAGE], [IMAGE, None, IMAGE]),
        (["to", "ken", "s"], ["to", "ken", "s"]),
        ([{"file": IMAGE}, {"image": IMAGE}], [{"file": IMAGE}, {"image": IMAGE}]),
        ([[IMAGE], [IMAGE]], [[IMAGE], [IMAGE]]),
        ({"a": IMAGE, "b": IMAGE}, [{"a": IMAGE, "b": IMAGE}]),
        (0, [0]),
        (False, [False]),
    ],
)
def test_the_output_is_always_a_list(output: object, items: list[object]) -> None:
    assert prediction(status="succeeded", output=output).items == items
    assert prediction(status="succeeded", output=output).output_for_xcom == items


@pytest.mark.parametrize(
    "output", [None, "", [], [None], [[None]], {"image": None}, {}, {"detections": []}, ["", None, {}]]
)
def test_an_output_that_holds_nothing_is_empty(output: object) -> None:
    assert prediction(status="succeeded", output=output).is_empty
    assert not prediction(status="succeeded", output=[output, 0]).is_empty


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, ""),
        ("", ""),
        ("NSFW content detected", "NSFW content detected"),
        ({"message": "out of memory", "code": 1001}, "out of memory"),
        ({"detail": "no"}, "no"),
        ({"code": 7}, '{"code": 7}'),
        (["a", "b"], "a, b"),
    ],
)
def test_an_error_is_text_whatever_its_shape(error: object, text: str) -> None:
    assert prediction(status="failed", error=error).error == text


@pytest.mark.parametrize("digits", range(10))
def test_times_have_from_0_to_9_fractional_digits(digits: int) -> None:
    fraction = f".{'123456789'[:digits]}" if digits else ""
    seen = prediction(completed_at=f"2026-03-01T12:00:00{fraction}Z").completed_at
    assert seen is not None
    microsecond = int("123456789"[:digits][:6].ljust(6, "0")) if digits else 0
    assert seen == datetime(2026, 3, 1, 12, 0, 0, microsecond, tzinfo=UTC)


def test_a_time_without_a_zone_is_utc_and_nonsense_is_none() -> None:
    assert prediction(created_at="2026-03-01T12:00:00").created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert prediction(created_at="yesterday").created_at is None


def test_odd_metrics_are_kept_or_ignored() -> None:
    assert prediction(metrics={"predict_time": -0.2}).metrics == {"predict_time": -0.2}
    assert prediction(metrics="fast").metrics == {}


def test_unknown_keys_are_ignored() -> None:
    assert prediction(status="starting", deadline="x", stream={"a": 1}, zzz=None).id == ID


@pytest.mark.parametrize(
    ("body", "seed"),
    [
        ({"input": {"seed": 7}, "logs": "Using seed: 8"}, 7),
        ({"input": {"prompt": "a forest"}, "logs": "Using seed: 48213\n 10%|"}, 48213),
        ({"input": {"seed": None}, "logs": "Random seed set to 3"}, 3),
        ({"logs": "seed=-5"}, -5),
        ({"seed": 0, "logs": "Using seed: 9"}, 0),
        ({"input": {"seed": True}}, None),
        ({"input": {"seed": 10**400}}, None),
        ({"input": "text", "logs": "no such word 12"}, None),
        ({}, None),
    ],
)
def test_the_seed_is_that_of_the_input_or_the_one_that_the_model_printed(
    body: dict[str, Any], seed: int | None
) -> None:
    seen = prediction(**body)
    assert seen.seed == seed
    assert Prediction.from_json(seen.manifest(LINK)).seed == seed


@pytest.mark.parametrize(
    ("returned", "reference", "named"),
    [
        ({}, f"owner/name:{HEX}", ("owner/name", HEX)),
        ({}, "owner/name", ("owner/name", None)),
        ({}, HEX, (None, HEX)),
        ({}, "", (None, None)),
        ({"version": "hidden"}, f"owner/name:{HEX}", ("owner/name", "hidden")),
        ({"model": "a/b", "version": "hidden"}, f"owner/name:{HEX}", ("a/b", "hidden")),
    ],
)
def test_the_requested_model_stands_in_for_one_that_the_api_does_not_name(
    returned: dict[str, Any], reference: str, named: tuple[str | None, str | None]
) -> None:
    found = prediction(**returned).of_model(reference)
    assert (found.model, found.version) == named


def test_the_manifest_has_its_keys_and_expires_one_hour_after_the_end() -> None:
    manifest = prediction(
        status="SUCCESS", output=IMAGE, completed_at="2026-03-01T12:00:00.5Z", version="hidden"
    ).manifest(LINK)
    assert list(manifest) == MANIFEST_KEYS
    assert manifest["status"] == "succeeded"
    assert manifest["output"] == [IMAGE]
    assert manifest["expires_at"] == "2026-03-01T13:00:00.500000+00:00"
    assert manifest["url"] == LINK


def test_a_data_uri_of_5_mb_is_not_in_the_manifest() -> None:
    uri = "data:image/png;base64," + "A" * 5_000_000
    manifest = prediction(status="succeeded", output=[{"image": uri}, IMAGE]).manifest(LINK)
    assert len(json.dumps(manifest)) < 6_000
    note = f"[left out of XCom: data: URI of {len(uri)} characters]"
    assert manifest["output"] == [{"image": note}, IMAGE]


def test_a_short_data_uri_is_not_in_the_manifest_either() -> None:
    assert "base64" not in json.dumps(prediction(output="data:a;base64,AA==").manifest(LINK))


def test_very_long_text_and_very_long_lists_are_left_out() -> None:
    text = prediction(output="x" * (MAX_TEXT + 1)).manifest(LINK)["output"]
    assert text == [f"[left out of XCom: text of {MAX_TEXT + 1} characters]"]
    tokens = prediction(output=["token"] * MAX_JSON).manifest(LINK)["output"]
    assert len(tokens) == 1
    assert "left out of XCom: output of" in tokens[0]


def test_nothing_else_in_the_manifest_is_large_either() -> None:
    manifest = prediction(
        status="s" * 1_000_000,
        model="m" * 1_000_000,
        version=" DATA:image/png;base64," + "A" * 400_000,
        error="e" * 1_000_000,
        metrics={str(number): number for number in range(50_000)},
        output={"data:image/png;base64,AAAA": [[[]] * 9, "x"]},
    ).manifest(LINK)
    assert len(json.dumps(manifest)) < 6_000
    assert "base64" not in json.dumps(manifest)


def test_millions_of_values_are_not_even_copied() -> None:
    numbers = prediction(output=[[0.5] * 1024] * 1000, metrics={str(n): n for n in range(40_000)})
    manifest = numbers.manifest(LINK)
    assert manifest["output"] == ["[left out of XCom: output of more than 32768 values]"]
    assert manifest["metrics"] == {"note": "[left out of XCom: more than 32768 metrics]"}


def test_output_that_is_nested_too_deeply_is_left_out_from_there_on() -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = [nested]
    assert "more than 20 levels" in json.dumps(prediction(output=nested).manifest(LINK))


def test_an_error_that_is_nested_too_deeply_to_be_written_is_said_to_be_so() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    assert prediction(error=nested).error == "(nested too deeply to be shown)"


def test_halves_of_surrogate_pairs_can_be_stored() -> None:
    manifest = prediction(error="\ud800", output=["\ud800"], logs="\ud800").manifest(LINK)
    assert json.dumps(manifest, ensure_ascii=False).encode()


def test_the_last_year_of_the_calendar_is_no_time() -> None:
    assert prediction(completed_at="9999-12-31T23:30:00Z").manifest(LINK)["expires_at"] is None


def test_nine_hundred_tokens_stay() -> None:
    assert len(prediction(output=["token "] * 900).manifest(LINK)["output"]) == 900


@given(output=json_values, error=json_values, metrics=json_values, status=st.text())
def test_a_manifest_read_back_gives_the_same_manifest(
    output: object, error: object, metrics: object, status: str
) -> None:
    body = {"output": output, "error": error, "metrics": metrics, "status": status}
    manifest = prediction(**body, completed_at="2026-03-01T12:00:00Z").manifest(LINK)
    assert Prediction.from_json(json.loads(json.dumps(manifest))).manifest(LINK) == manifest


def test_the_output_is_gone_when_the_api_says_so_or_an_hour_after_the_end() -> None:
    done = {"status": "succeeded", "completed_at": "2026-03-01T12:00:00Z"}
    end = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    assert prediction(**done, data_removed=True).expired(end)
    assert prediction(**done).expired(end + 3600)
    assert not prediction(**done).expired(end + 3599)
    assert not prediction(**done, output=IMAGE).expired(end + 9999)
    assert not prediction(status="succeeded").expired(end)


@pytest.mark.parametrize(
    "told", [None, "2026-03-01T10:00:00Z", "2026-03-01T14:00:00+00:00", "9998-01-01T00:00:00Z"]
)
def test_an_end_that_a_clock_of_hours_off_names_is_the_one_that_was_seen(told: str | None) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    done = prediction(status="succeeded", completed_at=told)
    assert done.ended_between(noon.timestamp() - 9, noon.timestamp()).completed_at == noon


@pytest.mark.parametrize("minute", [-4, 0, 4])
def test_an_end_that_a_clock_of_minutes_off_names_is_left_as_it_is(minute: int) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    done = prediction(status="succeeded", completed_at=(noon + timedelta(minutes=minute)).isoformat())
    assert done.ended_between(noon.timestamp() - 9, noon.timestamp()) is done


def test_a_prediction_of_which_only_the_id_is_known_is_not_finished() -> None:
    unseen = Prediction.from_id(ID)
    assert unseen.manifest(LINK)["status"] == "unknown"
    assert not unseen.status.terminal
