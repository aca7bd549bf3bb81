"""What comes from outside is made storable, and is otherwise left as it is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api.errors import InvalidInputError, UpstreamError, from_payload
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.storable import (
    mask_signatures,
    parse_json,
    storable,
    storable_string,
)

NAN, HUGE = math.nan, 10**5_000


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a cat", "a cat"),
        ("a\0cat", "a\ufffdcat"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("\U0001f600 \ufffe\x01\n", "\U0001f600 \ufffe\x01\n"),
    ],
)
def test_only_nul_and_unpaired_surrogates_are_replaced(text: str, stored: str) -> None:
    assert storable_string(text) == storable(text) == stored
    assert storable({text: [text]}) == {stored: [stored]}


def test_a_text_is_cut_before_it_is_looked_through() -> None:
    assert storable_string("ab\0" * 1_000, 4) == "ab\ufffda"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        pytest.param(HUGE, f"an integer of {HUGE.bit_length()} bits", id="huge"),
        (NAN, None),
        (math.inf, None),
        (1e308, 1e308),
        (True, True),
        ((1, NAN), [1, None]),
        ({7: None}, {"7": None}),
    ],
)
def test_numbers_that_no_database_stores_are_replaced(value: Any, stored: Any) -> None:
    assert storable(value) == stored
    assert type(storable(value)) is type(stored)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"n": 9223372036854775807}', {"n": 2**63 - 1}),
        (b'{"n": 9223372036854775808}', {"n": "9223372036854775808"}),
        (b'{"n": -9223372036854775808}', {"n": -(2**63)}),
        (b'{"n": -9223372036854775809}', {"n": "-9223372036854775809"}),
        (b'{"n": 1' + b"0" * 5_000 + b"}", {"n": "1" + "0" * 5_000}),
        (b'{"n": [1e999, -1e999, NaN, Infinity, 1.5]}', {"n": [None, None, None, None, 1.5]}),
        (b'{"a": "\\u0000"}', {"a": "\ufffd"}),
        (b'{"a\\u0000": "\\ud83d"}', {"a\ufffd": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\xff\xe9"}', {"a": "\ufffd\ufffd"}),
        (b'{"a": "line\nand \0"}', {"a": "line\nand \ufffd"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"<html>", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_body_is_parsed_into_what_can_be_stored(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda items: st.lists(items) | st.dictionaries(st.text(st.characters()), items),
    max_leaves=10,
)


@given(json_values)
def test_whatever_is_parsed_is_storable_and_stays_as_it_is(value: Any) -> None:
    parsed = parse_json(json.dumps(value).encode())
    assert storable(parsed) == parsed
    json.dumps(parsed, allow_nan=False).encode()


PRESIGNED = [
    "https://b.s3.amazonaws.com/a.png?AWSAccessKeyId=AKIA&Signature=S3cr%2Bt%3D&Expires=1790000000",
    "https://b.s3.amazonaws.com/a.png?X-Amz-Expires=60&X-Amz-Security-Token=S3cr&X-Amz-Signature=S3cr",
    "https://storage.googleapis.com/b/a.png?X-Goog-Expires=60&X-Goog-Signature=S3cr",
    "https://account.blob.core.windows.net/b/a.png?se=2026-01-01T00%3A00%3A00Z&sp=r&sig=S3cr%2Bt%3D",
    "https://relay.example/get?url=https%3A%2F%2Fb%2Fa.png%3FX-Amz-Signature%3DS3cr",
]


@pytest.mark.parametrize("url", PRESIGNED)
@pytest.mark.parametrize("quoted", ["{}", "403 for url: {} (forbidden)", '"{}"', "<{}>", "['{}']", "{}\\n"])
def test_the_query_of_a_presigned_url_is_masked_wherever_it_is_quoted(url: str, quoted: str) -> None:
    plain = url.partition("?")[0]
    assert mask_signatures(quoted.format(url)) == quoted.format(f"{plain}?***")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://x.example/a.png?v=2&width=3",
        "what? signature=none",
        "sig=3",
        "why?sign=1&design=2",
        "a?b?c",
    ],
)
def test_other_texts_are_not_masked(text: str) -> None:
    assert mask_signatures(text) == text


@pytest.mark.parametrize("url", PRESIGNED)
def test_no_error_and_no_prediction_holds_a_signature(url: str) -> None:
    quoted = f"could not fetch {url}"
    body = {"id": "p1", "status": "failed", "error": {"detail": [quoted]}, "logs": quoted}
    seen = Prediction.from_json(body)
    kept: list[Any] = [seen.error, seen.logs, seen.manifest("u")]
    for error in (InvalidInputError(quoted), UpstreamError(quoted, status=500)):
        kept += [str(error), error.args, error.to_payload(), from_payload(error.to_payload())]
    assert "S3cr" not in repr(kept)
    assert repr(kept).count("?***") >= 7
