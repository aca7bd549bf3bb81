from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api import errors, protocol
from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, STABLE_DIFFUSION
from airflow_provider_quickrouter.api.protocol import Request, Response

ID = "qpt5jq1fssrmc0cmd5hvy31mdg"
PROMPT = {"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"}
NOW = 1_772_366_400.0  # 2026-03-01T12:00:00Z
GET = protocol.get(ID)
CREATE = protocol.create(PROMPT, version=STABLE_DIFFUSION)
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def response(status: int, body: Any = b"", **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def error_of(reply: Response, request: Request = GET) -> errors.APIError:
    with pytest.raises(errors.APIError) as caught:
        protocol.read_prediction(request, reply, NOW)
    return caught.value


def test_a_create_by_version_is_the_request_of_quickrouters_page() -> None:
    assert Request("POST", "predictions", {"version": STABLE_DIFFUSION, "input": PROMPT}) == CREATE
    assert CREATE.creates


def test_a_create_by_model_names_it_in_the_path_and_has_no_version() -> None:
    request = protocol.create(PROMPT, model=FLUX_KONTEXT_PRO)
    assert request.path == "models/black-forest-labs/flux-kontext-pro/predictions"
    assert request.body == {"input": PROMPT}
    assert request.creates


def test_a_create_by_deployment_names_it_in_the_path_and_knows_no_rules_of_a_model() -> None:
    request = protocol.create({"width": 700}, deployment="stability-ai/stable-diffusion")
    assert request.path == "deployments/stability-ai/stable-diffusion/predictions"
    assert request.body == {"input": {"width": 700}}
    assert request.reference == "deployments/stability-ai/stable-diffusion"
    assert request.creates


def test_reading_and_cancelling_create_nothing() -> None:
    assert Request("GET", f"predictions/{ID}") == GET
    cancel = protocol.cancel(ID)
    assert Request("POST", f"predictions/{ID}/cancel") == cancel
    assert not GET.creates
    assert not cancel.creates
    assert not protocol.probe().creates


@pytest.mark.parametrize(
    ("limit", "header"), [(90, "90s"), (5.9, "5s"), (timedelta(hours=1), "3600s"), (None, None)]
)
def test_cancel_after_is_sent_in_seconds(limit: float | timedelta | None, header: str | None) -> None:
    request = protocol.create(PROMPT, model="a/b", cancel_after=limit)
    assert request.headers.get("Cancel-After") == header


def test_wait_asks_the_server_to_hold_its_answer() -> None:
    request = protocol.create(PROMPT, model="a/b", wait=30)
    assert request.headers == {"Prefer": "wait=30"}
    assert request.hold == 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one of version="),
        ({"version": STABLE_DIFFUSION, "model": "a/b"}, "exactly one of version="),
        ({"model": "a/b", "deployment": "a/b"}, "and deployment= (owner/name)"),
        ({"deployment": "a"}, "deployment: 'a' is not owner/name"),
        ({"deployment": 7}, "deployment: must be a string, got 7"),
        ({"deployment": STABLE_DIFFUSION}, "is a version; use version="),
        ({"model": STABLE_DIFFUSION.partition(":")[2]}, "is a version; use version="),
        ({"version": STABLE_DIFFUSION[:-2]}, "a version id of 62 characters; it needs 64"),
        ({"version": "stable-diffusion"}, "is not owner/name"),
        ({"version": "a/b:latest"}, "is not owner/name"),
        ({"version": "../b"}, "is not owner/name"),
        ({"version": "a/b\n"}, "is not owner/name"),
        ({"model": STABLE_DIFFUSION}, "is a version; use version="),
        ({"model": "a/../b"}, "is not owner/name"),
        ({"model": "a/b", "cancel_after": 4}, "cancel_after: must be a number of seconds from 5 on"),
        ({"model": "a/b", "cancel_after": float("nan")}, "got nan"),
        ({"model": "a/b", "cancel_after": "1h30m"}, "got '1h30m'"),
        ({"version": 5}, "version: must be a string, got 5"),
        ({"model": "a/b", "wait": 61}, "wait: must be a whole number of seconds from 1 to 60"),
        ({"model": "a/b", "wait": 0}, "got 0"),
        ({"model": "a/b", "wait": 2.5}, "got 2.5"),
        ({"model": "a/b", "wait": True}, "got True"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name_and_the_remedy(
    arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(errors.InvalidInputError) as refused:
        protocol.create(PROMPT, **arguments)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "version", [STABLE_DIFFUSION, "a/b", "A1/b_c.d-e", STABLE_DIFFUSION.partition(":")[2]]
)
def test_all_three_forms_of_a_version_pass(version: str) -> None:
    assert protocol.create(PROMPT, version=version).reference == version


@pytest.mark.parametrize("wrong", ["", "../x", "a/b", "a b", "a%2e", "é", "x" * 129, None, 7])
def test_an_id_that_does_not_look_like_one_never_enters_a_path(wrong: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match="prediction_id"):
        protocol.get(wrong)


def test_a_good_answer_is_a_prediction() -> None:
    for status in (200, 201, 202):
        seen = protocol.read_prediction(GET, response(status, {"id": ID, "status": "starting"}), NOW)
        assert seen.id == ID


def test_numbers_that_json_does_not_have_are_read_as_null() -> None:
    body = b'{"id": "%s", "metrics": {"predict_time": NaN}}' % ID.encode()
    assert protocol.read_prediction(GET, response(200, body), NOW).metrics == {"predict_time": None}
    body = b'{"id": "%s", "metrics": {"predict_time": 1e999}}' % ID.encode()
    assert protocol.read_prediction(GET, response(200, body), NOW).metrics == {"predict_time": None}


QUOTA = {"error": {"message": "user quota is not enough", "code": "insufficient_user_quota"}}
NO_CHANNEL = {"error": {"message": "no available channel for model x", "code": "model_not_found"}}
REPLICATE = {"title": "Input validation failed", "detail": "- input: prompt is required"}
FIELDS = REPLICATE | {"status": 422, "invalid_fields": {"input.prompt": "is required"}}


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (response(400, {"error": {"message": "bad", "code": 7}}), errors.InvalidRequestError, "bad"),
        (response(413, b""), errors.InvalidRequestError, "an empty body"),
        (response(422, FIELDS), errors.InvalidRequestError, "input.prompt: is required"),
        (response(422, {"detail": "no", "invalid_fields": ["a"]}), errors.InvalidRequestError, "no: a"),
        (response(401, {"detail": "Unauthenticated"}), errors.AuthenticationError, "API key"),
        (response(402, REPLICATE), errors.QuotaError, "Top up"),
        (response(403, QUOTA), errors.QuotaError, "user quota is not enough"),
        (response(403, {"error": {"message": "额度不足", "code": ""}}), errors.QuotaError, "额度"),
        (
            response(403, {"code": "pre_consume_token_quota_failed", "message": "x", "data": None}),
            errors.QuotaError,
            "x",
        ),
        (
            response(403, {"error": {"message": "x", "type": "local:insufficient_quota"}}),
            errors.QuotaError,
            "x",
        ),
        (response(403, {"detail": "no", "type": "forbidden"}), errors.PermissionDeniedError, "no"),
        (response(403, HTML), errors.PermissionDeniedError, "an HTML page instead of JSON"),
        (response(404, {"error": "Invalid URL (POST /x)"}), errors.NotFoundError, "Invalid URL"),
        (response(410, {}), errors.NotFoundError, "no reason given"),
        (response(408, b"slow"), errors.UpstreamError, "'slow'"),
        (response(425, b"<p>no title"), errors.UpstreamError, "without a title"),
        (response(429, {"detail": "throttled"}), errors.RateLimitError, "throttled"),
        (response(500, {"error": {"message": "", "code": None}}), errors.UpstreamError, "no reason"),
        (response(502, HTML), errors.UpstreamError, "502 Bad Gateway"),
        (response(503, b""), errors.UpstreamError, "an empty body"),
        (response(503, NO_CHANNEL), errors.NoChannelError, "no available channel"),
        (response(503, {"error": {"message": "无可用渠道"}}), errors.NoChannelError, "无可用渠道"),
        (response(599, "text"), errors.UpstreamError, "text"),
        (response(302, b"", location="https://evil.example"), errors.RedirectError, "not followed"),
        (response(200, HTML), errors.UpstreamError, "an HTML page"),
        (response(200, b""), errors.UpstreamError, "an empty body"),
        (response(200, b'{"id": "qpt5'), errors.UpstreamError, "a body that is not a JSON object"),
        (response(200, [1, 2]), errors.UpstreamError, "a body that is not a JSON object"),
        (response(200, b"[" * 100_000), errors.UpstreamError, "a body that is not a JSON object"),
        (response(200, {"status": "starting"}), errors.UpstreamError, "no reason given"),
        (response(200, {"id": ID, "success": False, "message": "no"}), errors.UpstreamError, "no"),
        (response(200, {"success": False, "message": "busy"}), errors.UpstreamError, "busy"),
        (response(200, {"code": 401, "message": "bad key"}), errors.AuthenticationError, "bad key"),
        (response(200, {"code": "429", "message": "slow"}), errors.RateLimitError, "slow"),
        (response(200, {"code": 422, "message": "bad"}), errors.InvalidRequestError, "bad"),
        (
            response(200, {"success": False, "code": "model_not_found", "message": "x"}),
            errors.NoChannelError,
            "x",
        ),
        (response(422, {"detail": "no", "invalid_fields": 5}), errors.InvalidRequestError, "no"),
        (response(502, b"<html><title>" + b" " * 50_000), errors.UpstreamError, "an HTML page"),
        (response(200, {"id": "other", "status": "succeeded"}), errors.UpstreamError, "'other'"),
        (response(200, {"id": "../x", "status": "succeeded"}), errors.UpstreamError, "'../x'"),
    ],
)
def test_each_bad_answer_is_one_typed_error_with_a_readable_message(
    reply: Response, kind: type[errors.APIError], says: str
) -> None:
    error = error_of(reply)
    assert type(error) is kind
    assert error.status == reply.status
    assert says in str(error)
    assert "<html" not in str(error)


def test_an_error_carries_the_request_id() -> None:
    assert error_of(response(500, b"", x_oneapi_request_id="abc")).request_id == "abc"
    assert "[request id abc]" in str(error_of(response(500, b"", x_request_id="abc")))


def test_a_very_long_message_is_cut() -> None:
    assert len(error_of(response(500, {"detail": "x" * 50_000})).message) == 1_000


def test_a_text_that_is_only_json_null_is_named_by_its_status() -> None:
    assert error_of(response(500, b'""')).message == "a body that is not a JSON object: '\"\"'"


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (response(429, {}, retry_after="7"), 7),
        (response(429, {}, retry_after="Sun, 01 Mar 2026 12:00:09 GMT"), 9),
        (response(429, {}, retry_after="Sun, 01 Mar 2026 11:00:00 GMT"), 0),
        (response(429, {"detail": "resets in ~30s"}, retry_after="-3"), 30),
        (response(429, {"detail": "resets in ~30s", "retry_after": False}), 30),
        (response(429, b'{"retry_after": 1' + b"0" * 400 + b"}"), 86_400),
        (response(429, {"detail": "retry in" + " " * 50_000 + "3 seconds"}), None),
        (response(429, {}, retry_after="1e99"), 86_400),
        (response(429, {}, retry_after="soon"), None),
        (response(429, {"detail": "x", "retry_after": 11}), 11),
        (response(429, {"detail": "Your rate limit resets in ~30s."}), 30),
        (response(429, {"detail": "Expected available in 1 second"}), 1),
        (response(429, {"detail": "Try again in 2.5 seconds"}), 2.5),
        (response(429, {"error": {"message": "Current group upstream load is saturated"}}), None),
        (response(429, b"", retry_after="4"), 4),
        (response(503, b"", retry_after="5"), 5),
    ],
)
def test_the_time_to_wait_is_read_from_header_body_or_text(reply: Response, seconds: float | None) -> None:
    assert error_of(reply).retry_after == seconds


@pytest.mark.parametrize(
    "reply",
    [
        response(408),
        response(500, HTML),
        response(502, HTML),
        response(503),
        response(504, HTML),
        response(200, HTML),
        response(201, b""),
        response(201, b'{"id": "qpt5'),
        response(201, {"status": "starting"}),
        response(201, {"id": "../x"}),
        response(200, {"success": False, "message": "busy"}),
        response(201, {"id": ID, "status": "starting", "code": 429}),
        response(201, {"id": ID, "status": "429"}),
        response(201, {"id": ID, "success": False}),
    ],
)
def test_a_create_that_may_have_been_accepted_is_uncertain(reply: Response) -> None:
    error = error_of(reply, CREATE)
    assert type(error) is errors.UncertainCreateError
    assert not error.transient
    assert "may have been accepted and billed" in str(error)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(401), errors.AuthenticationError),
        (response(422, FIELDS), errors.InvalidRequestError),
        (response(429), errors.RateLimitError),
        (response(503, NO_CHANNEL), errors.NoChannelError),
    ],
)
def test_a_create_that_was_refused_is_not_uncertain(reply: Response, kind: type[errors.APIError]) -> None:
    assert type(error_of(reply, CREATE)) is kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 429, 500, 503])
@pytest.mark.parametrize("request_", [GET, protocol.cancel(ID)], ids=["get", "cancel"])
def test_only_a_json_object_is_a_response_of_the_api(status: int, request_: Request) -> None:
    assert error_of(response(status, {"detail": "no"}), request_).from_api
    for body in (HTML, b"", b"404 page not found", ["no"], "no", None):
        assert not error_of(response(status, body), request_).from_api
    assert error_of(response(200, {"code": status, "message": "no"})).from_api


def test_the_probe_is_free_and_only_a_good_answer_passes() -> None:
    assert protocol.probe() == Request("GET", "v1/models", prefixed=False)
    protocol.read_object(response(200, {"object": "list", "data": []}), NOW)
    for reply in (response(401), response(200, HTML), response(200, {"success": False})):
        with pytest.raises(errors.APIError):
            protocol.read_object(reply, NOW)


def read(request: Request, reply: Response) -> str:
    """What reading an answer gives: the id of a prediction, or the text of a typed error."""
    try:
        return protocol.read_prediction(request, reply, NOW).id
    except errors.APIError as error:
        return str(error)


@given(status=st.integers(100, 599), body=st.binary(max_size=60), after=st.text(max_size=12))
def test_any_answer_is_a_prediction_or_a_typed_error(status: int, body: bytes, after: str) -> None:
    reply = Response(status, {"retry-after": after}, body)
    assert read(GET, reply)
    assert read(CREATE, reply)


words = st.sampled_from(["id", "status", "error", "code", "detail", "title", "retry_after"])
values = st.none() | st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=3), max_size=2)


@given(body=st.dictionaries(words, values), status=st.sampled_from([200, 403, 429, 503]))
def test_any_json_object_is_a_prediction_or_a_typed_error(body: dict[str, Any], status: int) -> None:
    assert read(CREATE, response(status, body))


def test_an_answer_without_the_key_is_otherwise_the_same() -> None:
    reply = response(401, {"detail": "bad key qr-12345678"}, x_request_id="r")
    clean = reply.without("qr-12345678")
    assert clean.body == b'{"detail": "bad key ***"}'
    assert (clean.status, clean.headers) == (reply.status, reply.headers)
    assert reply.without("id") is reply
