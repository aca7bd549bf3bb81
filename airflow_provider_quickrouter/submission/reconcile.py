"""Create requests without a response: wait until the API's list must show them, then read it."""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_quickrouter.api.errors import APIError, backoff
from airflow_provider_quickrouter.api.protocol import page, read_entries
from airflow_provider_quickrouter.submission.search import (
    LAG,
    Page,
    Search,
    UncertainCreate,
    seconds_ahead,
)

ATTEMPTS = 4
"""How often a page is requested while the errors are transient."""

LONGEST_PAUSE = 60.0
"""Seconds between two of these requests."""


@dataclass(frozen=True)
class Result:
    """What the list shows.

    :ivar found: id by item, of what was accepted.
    :ivar lost: items of which nothing was accepted.
    :ivar unsure: items of which the list shows neither.
    """

    found: dict[int, str]
    lost: set[int]
    unsure: set[int]


class Ledger(Protocol):
    """What is known of the items whose predictions were requested.

    :ivar ids: by item, None as long as it is unknown.
    :ivar begun: by item, when its create request was begun, epoch seconds.
    """

    ids: list[str | None]
    begun: array[float]

    def known(self) -> set[str]:
        """Return all ids that belong to items."""


class UncertainCreates:
    """The create requests without a response of one attempt.

    :param hook: an open hook.
    :param lines: what is known of each item.
    """

    def __init__(self, hook: Any, reference: str, lines: Ledger) -> None:
        self._hook, self._reference, self._lines = hook, reference, lines
        self._due: dict[int, tuple[UncertainCreate, float]] = {}
        self._added = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._due)

    def add(self, create: UncertainCreate) -> None:
        """Add a create request whose response is lost."""
        self._due[create.index] = create, time.time() + LAG
        self._added.set()

    def remove(self, result: Result) -> None:
        """Remove what is reconciled."""
        for index in (*result.found, *result.lost, *result.unsure):
            self._due.pop(index, None)

    async def search(self) -> Search:
        """Wait until the list must show some of them; read it for these."""
        while not self._due:
            self._added.clear()
            await self._added.wait()
        await asyncio.sleep(max(0.0, min(at for _, at in self._due.values()) - time.time()))
        due = [create for create, at in self._due.values() if at <= time.time()]
        search = Search(due, self._reference, self._lines.known(), self._begun())
        cursor: str | None = None
        while True:
            try:
                found = await self._read(cursor)
            except APIError:
                return search
            if not search.read(found):
                return search
            cursor = found.cursor

    def _begun(self) -> dict[str, float]:
        """Return when the intent of each known prediction was stored."""
        return {id: self._lines.begun[index] for index, id in enumerate(self._lines.ids) if id}

    async def _read(self, cursor: str | None) -> Page:
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._read_once(cursor)
            except APIError as error:
                if not error.transient:
                    raise
                asked = min(error.retry_after or 0.0, LONGEST_PAUSE)
                await asyncio.sleep(backoff(attempt, LONGEST_PAUSE, first=2.0, asked=asked))
        return await self._read_once(cursor)

    async def _read_once(self, cursor: str | None) -> Page:
        requested_at = time.time()
        response = await self._hook.asend(page(cursor))
        received_at = time.time()
        entries, older = read_entries(response, received_at)
        ahead = seconds_ahead(response.headers, requested_at)
        return Page(entries, older, received_at, ahead)


def reconcile(search: Search) -> Result:
    """Return what a search has shown. Call it once all other create requests have a response."""
    found, lost = search.found(), search.lost()
    unsure = {create.index for create in search.creates} - found.keys() - lost
    return Result(found, lost, unsure)
