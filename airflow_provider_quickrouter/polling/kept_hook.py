"""The open hook of a connection while a poller asks, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.errors import QuickRouterError, UpstreamError

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

FRESH = 60.0
"""Seconds for which the connection's settings are used before a new wait has them read again."""

SHORTEST_REFRESH = 5.0
"""Seconds for which a key that was refused before is not read again."""


class KeptHook:
    """One open hook, replaced by another one when its connection was found to have changed.

    :param changed: is told of each hook that comes into use.
    """

    def __init__(
        self, quickrouter_conn_id: str, changed: Callable[[QuickRouterHook], None]
    ) -> None:
        self._conn_id = quickrouter_conn_id
        self._changed = changed
        self._reading = asyncio.Lock()
        self._read_at = -math.inf
        self._hook: QuickRouterHook | None = None
        self._refused: QuickRouterHook | None = None
        self._unreadable: tuple[QuickRouterError, float] | None = None

    @property
    def hook(self) -> QuickRouterHook | None:
        """The hook that is in use; None as long as the connection could not be read."""
        return self._hook

    async def opened(self) -> QuickRouterHook:
        """Return the hook that is in use; read the connection first if need be.

        :raises QuickRouterError: the connection cannot be read, or cannot be used. Thousands of
            waits do not read it more often than every five seconds.
        """
        if self._hook is None:
            await self.refresh(SHORTEST_REFRESH)
        if self._hook is None:
            raise RuntimeError("a connection was read, but no session opened")
        return self._hook

    async def ready(self) -> None:
        """Open the session; a while later look whether the connection has changed.

        If Airflow cannot tell then, what it told before holds.
        """
        try:
            await self.refresh(FRESH)
        except UpstreamError:
            if self._hook is None:
                raise

    async def replaces(self, refused: QuickRouterHook) -> bool:
        """Whether another hook than the one whose key was refused is in use now."""
        again, self._refused = self._refused is refused, refused
        if self._hook is refused:
            await self.refresh(SHORTEST_REFRESH if again else 0.0)
        return self._hook is not refused

    async def refresh(self, age: float) -> None:
        """Read the connection again if that is longer ago than ``age`` seconds."""
        async with self._reading:
            now = time.monotonic()
            if now - self._read_at <= age:
                return
            if self._unreadable and now - self._unreadable[1] <= SHORTEST_REFRESH:
                raise self._unreadable[0]
            try:
                await self._read()
            except QuickRouterError as error:
                self._unreadable = error, time.monotonic()
                raise
            self._read_at, self._unreadable = time.monotonic(), None

    async def _read(self) -> None:
        hook = await sync_to_async(make_hook)(self._conn_id)
        settings = await hook.aload()
        if not self._hook or settings != self._hook.settings:
            await self._use(await hook.__aenter__())

    async def close(self) -> None:
        """Close the session."""
        if self._hook:
            await self._hook.__aexit__()

    async def _use(self, hook: QuickRouterHook) -> None:
        old, self._hook = self._hook, hook
        self._changed(hook)
        if old:
            await old.__aexit__()


def make_hook(quickrouter_conn_id: str) -> QuickRouterHook:
    """Make a hook; blocks."""
    # In a thread: importing the HTTP clients takes half a second.
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    return QuickRouterHook(quickrouter_conn_id)
