"""Responses as no good gateway sends them, generated as bytes so that any JSON text can occur."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from airflow_provider_quickrouter.api.protocol import Response, cancel, create, get
from tests.faults.gateway import FIRST_ID
from tests.faults.responses import MODEL

NOW = 1_772_366_400.0  # 2026-03-01T12:00:00Z

REQUESTS = (
    get(FIRST_ID),
    cancel(FIRST_ID),
    create({"prompt": "x"}, version=MODEL),
)

PREDICTION_FIELDS = (
    "output",
    "error",
    "metrics",
    "model",
    "version",
    "logs",
    "input",
    "seed",
    "created_at",
    "started_at",
    "completed_at",
    "fail_reason",
    "data_removed",
)
ERROR_FIELDS = (
    "title",
    "detail",
    "message",
    "description",
    "msg",
    "fail_reason",
    "errors",
    "error",
    "code",
    "type",
    "status",
    "success",
    "invalid_fields",
    "retry_after",
)
WORDS = ("starting", "processing", "succeeded", "failed", "canceled", "aborted", "Success", "done")
TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-03-01T12:00:00.123456789Z")

# Each part is one JSON string, so "\ud83d" and "\ude00" in a row become one valid character.
PARTS = (
    "\0",
    "\ud83d",
    "\ude00",
    "\x1b[31m",
    "\u2028",
    "\ufffe",
    "seed: 7",
    "NSFW",
    "é",
    "x" * 300,
)

strings = st.lists(st.sampled_from(PARTS) | st.text(st.characters(), max_size=8), max_size=4).map(
    "".join
)
long_strings = st.sampled_from([5_000, 20_000, 70_000]).map(lambda size: "\0\ud800" + "x" * size)
json_strings = st.one_of(strings, strings, strings, long_strings).map(json.dumps)

edges = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, -(10**400)])
digits = st.sampled_from([19, 20, 4_300, 5_000]).map(lambda count: "9" * count)
integers = st.integers(-5, 5).map(str) | (st.integers() | edges).map(str) | digits
floats = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "5e-324", "-0.0", "0.1"]
)

leaves = st.one_of(json_strings, integers, floats, st.sampled_from(["true", "false", "null"]))


def _list_of(items: list[str]) -> str:
    return f"[{','.join(items)}]"


def _object_of(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"


def _nested(depth: int, opening: str, leaf: str) -> str:
    """Put a leaf into this many lists or objects."""
    return opening * depth + leaf + ("]" if opening == "[" else "}") * depth


deep = st.builds(
    _nested,
    st.integers(1, 40) | st.integers(200, 1_000) | st.sampled_from([3_000, 50_000]),
    st.sampled_from(["[", '{"a":', '{"message":', '{"error":', '{"\\u0000":']),
    leaves,
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(_list_of)
        | st.lists(st.tuples(json_strings, inner), max_size=3).map(_object_of)
    ),
    max_leaves=8,
)
json_texts = st.one_of(values, values, values, deep)
"""Any JSON, and what Python's parser accepts besides, as a string."""


def _fields(names: tuple[str, ...]) -> st.SearchStrategy[list[tuple[str, str]]]:
    named = st.sampled_from([json.dumps(name) for name in names])
    return st.lists(st.tuples(named, json_texts), max_size=5)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


words = st.sampled_from(WORDS).map(json.dumps)
times = st.sampled_from(TIMES).map(json.dumps)

predictions = st.builds(
    lambda status, time, fields: _bytes(
        _object_of(
            [
                ('"id"', json.dumps(FIRST_ID)),
                ('"status"', status),
                ('"completed_at"', time),
                *fields,
            ]
        )
    ),
    st.one_of(words, words, words, json_texts),
    times | json_texts,
    _fields(PREDICTION_FIELDS),
)
error_objects = _fields(ERROR_FIELDS).map(_object_of)
error_bodies = st.one_of(
    error_objects.map(_bytes),
    error_objects.map(lambda inner: _bytes(f'{{"error":{inner}}}')),
    json_texts.map(_bytes),
)
pages = strings.map(lambda title: _bytes(f"<!DOCTYPE html><title>{title}</title><h1>{title}"))
bodies = st.one_of(predictions, predictions, error_bodies, pages, st.binary(max_size=300))

# An asynchronous client decodes header values as UTF-8 with surrogates for other bytes, requests
# decodes them as Latin-1.
header_values = st.binary(max_size=40).flatmap(
    lambda raw: st.sampled_from([raw.decode("utf-8", "surrogateescape"), raw.decode("latin-1")])
)
headers = st.dictionaries(
    st.sampled_from(["x-oneapi-request-id", "x-request-id", "retry-after", "content-type"]),
    header_values | st.sampled_from(["nan", "inf", "1e999", "9" * 400, "-1"]),
    max_size=3,
)
statuses = st.sampled_from([200, 201, 400, 422, 429, 500, 503]) | st.integers(200, 599)

requests = st.sampled_from(REQUESTS)
responses = st.builds(Response, statuses, headers, bodies)
