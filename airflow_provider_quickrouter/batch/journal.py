"""Writing a batch's record from an event loop: many writers at once, few writes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from airflow_provider_quickrouter.batch.lines import Entry, Lines
from airflow_provider_quickrouter.batch.record import Record


class Journal:
    """What is put here is stored, and then holds in ``lines``.

    Entries that come while a write is under way, or within the storage's pause, go into the next
    one together.

    :param record: was read into ``lines``.
    """

    def __init__(self, record: Record, lines: Lines) -> None:
        self.record = record
        self.lines = lines
        self._waiting: list[tuple[tuple[Entry, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, *entries: Entry) -> None:
        """Return when the entries are stored, in this order; a storage's own errors are raised."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await stored

    async def close(self) -> None:
        """Store what is still waiting, and close the record."""
        if self._writer:
            await self._writer
        await asyncio.to_thread(self.record.close)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            entries = [entry for some, _ in batch for entry in some]
            error = await self._store(entries)
            for _, stored in batch:
                _settle(stored, error)
            await asyncio.sleep(self.record.pause)

    async def _store(self, entries: list[Entry]) -> BaseException | None:
        """Store entries and take them in; return what went wrong, for those who wait for it."""
        writing = asyncio.to_thread(self.record.write, entries)
        (places,) = await asyncio.gather(writing, return_exceptions=True)
        if isinstance(places, BaseException):
            return places
        for entry, place in zip(entries, places, strict=True):
            self.lines.take(entry, place)
        return None


def _settle(stored: asyncio.Future[None], error: BaseException | None) -> None:
    with suppress(asyncio.InvalidStateError):  # who waited was cancelled
        stored.set_exception(error) if error else stored.set_result(None)
