"""Fetching and storing the files of one output, several at once, with progress in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.failures import MAX_MESSAGE
from airflow_provider_quickrouter.api.files import Source, StoredFile, readable
from airflow_provider_quickrouter.api.storable import storable_text
from airflow_provider_quickrouter.storage.addresses import shown
from airflow_provider_quickrouter.storage.client import Client
from airflow_provider_quickrouter.storage.downloading import Downloader
from airflow_provider_quickrouter.storage.fetching import Owner, about
from airflow_provider_quickrouter.storage.keeping import Keeper

AT_ONCE = 6
"""Files that are fetched and stored at the same time."""

FEW = 10
"""Files of an output that have a line in the log each."""

SAY_EVERY = 10.0
"""Seconds between two lines of progress."""


class Job:
    """One output on its way into storage.

    :param sources: its files; not none.
    """

    def __init__(self, keeper: Keeper, sources: list[Source], log: Any) -> None:
        self._keeper, self._sources, self._log = keeper, sources, log
        self._done: dict[int, StoredFile] = {}
        self._left_alone = 0
        self._failed = False

    async def run(
        self, client: Client, owner: Owner, max_bytes: int, folder: Path
    ) -> list[StoredFile]:
        """Store all files; return them in the order of the output.

        :param folder: where files lie while they are on their way.
        :raises QuickRouterError: see ``Storing.store``.
        """
        began = time.monotonic()
        async with client:
            loader = Downloader(client, owner, max_bytes, self._log)
            teller = asyncio.create_task(self._tell_progress(loader))
            try:
                await self._all(loader, folder)
            finally:
                teller.cancel()
                await asyncio.to_thread(self._keeper.close)
        self._tell_end(time.monotonic() - began)
        return [self._done[source.n] for source in self._sources]

    async def _all(self, loader: Downloader, folder: Path) -> None:
        free = asyncio.Semaphore(AT_ONCE)
        tasks = [
            asyncio.create_task(self._one(source, loader, folder, free)) for source in self._sources
        ]
        try:
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        self._raise(error for error in found if isinstance(error, BaseException))

    def _raise(self, errors: Iterable[BaseException]) -> None:
        """Raise the most important error, one against which no retry helps; log the others."""
        told = sorted(errors, key=lambda error: getattr(error, "transient", True))
        for error in told[1:]:
            self._log.warning("%s", storable_text(str(error), MAX_MESSAGE))
        if told:
            raise told[0]

    async def _one(
        self, source: Source, loader: Downloader, folder: Path, free: asyncio.Semaphore
    ) -> None:
        async with free:
            if self._failed:  # those on their way are finished, no others begun
                return
            try:
                self._done[source.n] = await self._stored(source, loader, folder)
            except QuickRouterError as error:
                self._failed = True
                raise about(error, source.n, shown(source.url)) from error.__cause__
            except Exception:
                self._failed = True
                raise
        self._tell(source)

    async def _stored(self, source: Source, loader: Downloader, folder: Path) -> StoredFile:
        if kept := await asyncio.to_thread(self._keeper.kept, source):
            self._left_alone += 1
            return kept
        local = folder / str(source.n)
        fetched = await loader.fetch(source, local)
        try:
            return await asyncio.to_thread(self._keeper.keep, source, fetched)
        finally:
            await asyncio.to_thread(_remove, local, local.with_suffix(f".{fetched.kind.ext}"))

    def _tell(self, source: Source) -> None:
        if len(self._sources) <= FEW:
            self._log.info("File %d: %s", source.n, self._done[source.n])

    async def _tell_progress(self, loader: Downloader) -> None:
        while True:
            await asyncio.sleep(SAY_EVERY)
            self._log.info(
                "%d of %d files are stored; %s have come",
                len(self._done),
                len(self._sources),
                readable(loader.received),
            )

    def _tell_end(self, seconds: float) -> None:
        self._log.info(
            "Stored %d files, %s, in %.1f s; %d of them were there already",
            len(self._done),
            readable(sum(file.size for file in self._done.values())),
            seconds,
            self._left_alone,
        )


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
