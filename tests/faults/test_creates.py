"""Create requests that fail: which errors leave open whether a prediction was paid for."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from tests.faults.clock import Clock
from tests.faults.dags import in_dag
from tests.faults.gateway import Gateway
from tests.faults.responses import MODEL, Response, html_page, json_response
from tests.faults.running import failure_of, is_retried

NO_CHANNEL: dict[str, tuple[int, dict[str, Any]]] = {
    "500 get_channel_failed": (
        500,
        {
            "message": "分组 default 下模型 x 的可用渠道不存在（retry） (request id: 2026)",  # noqa: RUF001
            "type": "new_api_error",
            "param": "",
            "code": "get_channel_failed",
        },
    ),
    "500 without a code": (
        500,
        {
            "message": "分组 default 下模型 x 的可用渠道不存在（retry） (request id: 2026)",  # noqa: RUF001
            "type": "new_api_error",
            "code": None,
        },
    ),
    "503 service_unavailable": (
        503,
        {"message": "当前分组下模型 x 的可用渠道不存在", "type": "service_unavailable"},
    ),
    "500 model_not_found": (
        500,
        {
            "message": "No available channel for model x under group default (distributor)",
            "type": "new_api_error",
            "code": "model_not_found",
        },
    ),
}


def error_of_create(gateway: Gateway, response: Response) -> errors.QuickRouterError:
    """Return the error of a create request with this response."""
    gateway.on_create = response
    with pytest.raises(errors.QuickRouterError) as raised:
        QuickRouterHook().create_prediction({"prompt": "x"}, version=MODEL)
    return raised.value


@pytest.mark.parametrize("name", NO_CHANNEL)
def test_a_create_request_that_no_channel_serves_is_reported_as_such(
    name: str, gateway: Gateway, fast: Clock
) -> None:
    status, error = NO_CHANNEL[name]
    response = json_response({"error": error}, status)
    assert isinstance(error_of_create(gateway, response), errors.NoChannelError)


def test_a_create_request_for_a_model_without_a_price_is_not_uncertain(gateway: Gateway, fast: Clock) -> None:
    error = {
        "message": "模型 x 倍率或价格未配置，请联系管理员设置",  # noqa: RUF001
        "type": "new_api_error",
        "code": "model_price_error",
    }
    response = json_response({"error": error}, 500)
    assert not isinstance(error_of_create(gateway, response), errors.UncertainCreateError)


@pytest.mark.parametrize("status", [521, 523, 525, 526, 530])
def test_a_create_request_that_never_reached_the_gateway_is_retried(
    status: int, gateway: Gateway, fast: Clock
) -> None:
    gateway.on_create = html_page(status, f"gateway.example | {status}")
    task = in_dag(
        lambda: QuickRouterSubmitPredictionOperator(task_id="run", version=MODEL, input={"prompt": "x"})
    )
    error = failure_of(task)
    assert not isinstance(error, errors.UncertainCreateError)
    assert is_retried(error)


@pytest.mark.parametrize("status", [502, 504, 520, 524])
def test_a_create_request_that_may_have_reached_the_gateway_is_uncertain(
    status: int, gateway: Gateway, fast: Clock
) -> None:
    response = html_page(status, f"gateway.example | {status}")
    assert isinstance(error_of_create(gateway, response), errors.UncertainCreateError)
    assert len(gateway.creates) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"code": "quota_not_enough", "message": "user quota is not enough", "data": None},
        {
            "error": {
                "message": ("token quota is not enough, token remain quota: $0.25, need quota: $5.5"),
                "type": "new_api_error",
                "code": "",
            }
        },
    ],
    ids=["user", "token"],
)
def test_a_create_request_without_enough_quota_is_reported_as_such(
    body: dict[str, Any], gateway: Gateway
) -> None:
    assert isinstance(error_of_create(gateway, json_response(body, 403)), errors.QuotaError)
