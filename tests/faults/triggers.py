"""Triggers of many predictions in one event loop, as a triggerer runs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.faults.clock import real_time


@dataclass(frozen=True)
class End:
    """The event that ended a wait.

    :ivar at: when the event came, on the clock of ``real_time``.
    """

    payload: dict[str, Any]
    at: float

    @property
    def reason(self) -> str:
        """Why the wait ended."""
        return str(self.payload["reason"])


def wait_for_all(
    ids: Sequence[str], *, seconds: float, age: float = 0.0, cancel_on: Sequence[str] = ()
) -> dict[str, End]:
    """Wait for predictions with one trigger for each; return ``{id: end}``.

    :param seconds: until the deadline of all waits.
    :param age: seconds for which the waits have been running already.
    """
    now = time.time()
    ends: dict[str, End] = {}

    async def wait(prediction_id: str) -> None:
        trigger = QuickRouterPredictionTrigger(
            prediction_id,
            poll_interval=1.0,
            started_at=now - age,
            deadline=now + seconds,
            cancel_on=cancel_on,
        )
        async for event in trigger.run():
            ends[prediction_id] = End(event.payload, real_time())

    async def wait_together() -> None:
        await asyncio.gather(*map(wait, ids))

    asyncio.run(wait_together())
    return ends
