"""Triggers to measure by: one that does nothing, and two that poll as cheaply as aiohttp allows.

They parse each answer, but know no errors, limits or deadlines: no trigger for use is as cheap.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from airflow.triggers.base import BaseTrigger, TriggerEvent

WORKERS = 15
"""Connections of the loop over a heap."""


class NoOpTrigger(BaseTrigger):
    """Wait for ever; what it costs is the triggerer's own part."""

    def __init__(self, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs."""
        return f"{__name__}.{type(self).__name__}", {"number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await asyncio.Event().wait()
        yield TriggerEvent({})


class SharedSessionTrigger(BaseTrigger):
    """A task a wait; all use one session with aiohttp's own limit of 100 connections."""

    _session: aiohttp.ClientSession | None = None

    def __init__(self, url: str, interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs."""
        name = f"{__name__}.{type(self).__name__}"
        return name, {"url": self.url, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll."""
        while not await self._over():
            pass
        yield TriggerEvent({"status": "succeeded"})

    async def _over(self) -> bool:
        await asyncio.sleep(spread(self.interval))
        return await is_over(session(), self.url)


class HeapTrigger(SharedSessionTrigger):
    """One heap of all waits, and a few workers that each take the one that is due next."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the workers to see it."""
        await HEAP.wait(self.url, self.interval)
        yield TriggerEvent({"status": "succeeded"})


class Heap:
    """All waits of the process, the one that is due first at the top."""

    def __init__(self) -> None:
        self._waits: list[tuple[float, str, float, asyncio.Future[None]]] = []
        self._workers: set[asyncio.Task[None]] = set()

    async def wait(self, url: str, interval: float) -> None:
        """Wait until it is over."""
        over = asyncio.get_running_loop().create_future()
        self._push(url, interval, over)
        if len(self._workers) < WORKERS:
            self._workers.add(worker := asyncio.create_task(self._work()))
            worker.add_done_callback(self._workers.discard)
        await over

    def _push(self, url: str, interval: float, over: asyncio.Future[None]) -> None:
        heapq.heappush(self._waits, (time.monotonic() + spread(interval), url, interval, over))

    async def _work(self) -> None:
        while self._waits:
            due, url, interval, over = heapq.heappop(self._waits)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if await is_over(session(), url):
                over.set_result(None)
            else:
                self._push(url, interval, over)


HEAP = Heap()


def session() -> aiohttp.ClientSession:
    """Return the session of the process, made at the first call."""
    if SharedSessionTrigger._session is None:
        SharedSessionTrigger._session = aiohttp.ClientSession()
    return SharedSessionTrigger._session


async def is_over(shared: aiohttp.ClientSession, url: str) -> bool:
    """Ask once; an error means that it is not known to be over."""
    async with shared.get(url) as response:
        body = await response.read()
    return response.status == 200 and json.loads(body)["status"] == "succeeded"


def spread(interval: float) -> float:
    """Return the seconds to the next poll: a fifth more or less, as ours."""
    return interval * random.uniform(0.8, 1.2)  # noqa: S311
