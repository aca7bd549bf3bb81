"""The reason of an error, which gateways put into different fields of a body."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from tests.faults.gateway import FIRST_ID, Gateway
from tests.faults.responses import json_response


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"code": 23, "description": "队列已满，请稍后尝试"}, "队列已满"),  # noqa: RUF001
        ({"id": "x", "name": "bad_request", "errors": ["width: must be a multiple of 64"]}, "multiple of 64"),
        ({"code": 1001, "msg": "系统繁忙"}, "系统繁忙"),
        ({"error": ["prompt: required"]}, "prompt: required"),
        ({"status": "FAILURE", "fail_reason": "banned prompt detected"}, "banned prompt"),
    ],
    ids=["description", "errors", "msg", "error: [..]", "fail_reason"],
)
def test_an_error_states_the_reason_wherever_the_body_holds_it(
    body: dict[str, Any], reason: str, gateway: Gateway
) -> None:
    gateway.on_poll = json_response(body, 422)
    with pytest.raises(errors.APIError) as raised:
        QuickRouterHook().get_prediction(FIRST_ID)
    assert reason in str(raised.value)
