"""Creates without an answer: wait until the API's list must show them, then look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from airflow_provider_quickrouter.api.errors import APIError
from airflow_provider_quickrouter.api.protocol import page, read_entries
from airflow_provider_quickrouter.api.search import LAG, Doubt, Search

LOOKS = 4
"""How often a page is asked for while the answer is passing trouble."""


@dataclass(frozen=True)
class Verdict:
    """What the list tells.

    :ivar found: id by line, of what was accepted.
    :ivar lost: lines of which nothing was accepted.
    :ivar unsure: lines of which the list does not tell.
    """

    found: dict[int, str]
    lost: set[int]
    unsure: set[int]


class Doubts:
    """The doubts of one try.

    :param hook: an open hook.
    :param known: ids that belong to lines; it grows.
    """

    def __init__(self, hook: Any, reference: str, known: Collection[str]) -> None:
        self._hook, self._reference, self._known = hook, reference, known
        self._ripe: dict[int, tuple[Doubt, float]] = {}
        self._news = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._ripe)

    def add(self, doubt: Doubt) -> None:
        """Take up a create whose answer is lost."""
        self._ripe[doubt.index] = doubt, time.time() + LAG
        self._news.set()

    def forget(self, verdict: Verdict) -> None:
        """Take out what has been acted upon."""
        for index in (*verdict.found, *verdict.lost, *verdict.unsure):
            self._ripe.pop(index, None)

    async def search(self) -> Search:
        """Wait until there are doubts that the list may settle; read it for them."""
        while not self._ripe:
            self._news.clear()
            await self._news.wait()
        await asyncio.sleep(max(0.0, min(at for _, at in self._ripe.values()) - time.time()))
        ripe = [doubt for doubt, at in self._ripe.values() if at <= time.time()]
        search = Search(ripe, self._reference, self._known)
        cursor: str | None = None
        while True:
            try:
                entries, cursor = await self._read(cursor)
            except APIError:
                return search
            if not search.read(entries, cursor):
                return search

    async def _read(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        for look in range(1, LOOKS):
            try:
                return await self._read_once(cursor)
            except APIError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(max(2.0**look, min(error.retry_after or 0.0, 60.0)))
        return await self._read_once(cursor)

    async def _read_once(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        return read_entries(await self._hook.asend(page(cursor)), time.time())


def judge(search: Search) -> Verdict:
    """Say what came of a search; ask once all other creates of that time are answered."""
    found, lost = search.found(), search.lost()
    unsure = {doubt.index for doubt in search.doubts} - found.keys() - lost
    return Verdict(found, lost, unsure)
