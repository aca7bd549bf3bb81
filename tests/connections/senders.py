"""A poll by each HTTP client, and a create request that is sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_quickrouter.api import protocol
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

ID = "qpt5jq1fssrmc0cmd5hvy31mdg"
MODEL = "black-forest-labs/flux-kontext-pro"
CREATE = protocol.create({"prompt": "a cat"}, model=MODEL)

Send = Callable[[], Prediction]


def get_with_requests() -> Prediction:
    return QuickRouterHook().get_prediction(ID)


def create_once() -> Prediction:
    return QuickRouterHook().send_create(CREATE, wanted=lambda: False)


def get_with_aiohttp() -> Prediction:
    async def get(hook: QuickRouterHook) -> Prediction:
        return await hook.aget_prediction(ID)

    return _in_block(get)


def _in_block(ask: Callable[[QuickRouterHook], Any]) -> Prediction:
    async def run() -> Prediction:
        async with QuickRouterHook() as hook:
            prediction: Prediction = await ask(hook)
            return prediction

    return asyncio.run(run())


both_gets = pytest.mark.parametrize("get", [get_with_requests, get_with_aiohttp])
