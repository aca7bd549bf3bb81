"""Keep the files of an output: fetch what is missing, several at once, and store it.

Beside the files lies a small record, ``.quickrouter/<prediction id>.json``. What it names and
still lies there unchanged is not fetched again, so a retry costs little, and works as well when
the files at the API are gone by then. Two tries at once do the same work twice, and no harm.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.errors import FileUnavailable, QuickRouterError
from airflow_provider_quickrouter.api.files import (
    DEFAULT_MAX_BYTES,
    Source,
    StoredFile,
    check_whole,
    find_files,
    readable,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, Prediction
from airflow_provider_quickrouter.api.protocol import MAX_MESSAGE
from airflow_provider_quickrouter.api.storable import storable_text
from airflow_provider_quickrouter.storage.addresses import shown
from airflow_provider_quickrouter.storage.download import Client, Downloader
from airflow_provider_quickrouter.storage.fetching import Owner, about, expired
from airflow_provider_quickrouter.storage.names import DEFAULT_NAME, check_distinct
from airflow_provider_quickrouter.storage.record import Keeper
from airflow_provider_quickrouter.storage.target import Target, reason_of

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


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
        if kept := await asyncio.to_thread(self._keeper.find, source):
            self._left_alone += 1
            return kept
        local = folder / str(source.n)
        fetched = await loader.fetch(source, local)
        try:
            return await asyncio.to_thread(self._keeper.store, source, fetched)
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


GRACE = 10.0
"""Seconds that a killed task waits for what must be tidied up."""
STOPPED = "Airflow stopped the task before all files were stored; a retry goes on with the rest."


class Storing:
    """Stores the files of outputs for one task.

    :param hook: tells of proxies, CA bundle and addresses; it is asked for a prediction whose
        output was too large for XCom.
    :param path: the folder, as ``ObjectStoragePath`` takes it.
    :param name: of each file below it, see ``storage.names``.
    :param max_bytes: of one file. Each is on this machine's disk while it is on its way.
    """

    def __init__(
        self,
        hook: QuickRouterHook,
        log: Any,
        *,
        path: Any,
        name: str = DEFAULT_NAME,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._hook, self._log = hook, log
        self._path, self._name, self._max_bytes = path, name, max_bytes
        self._worker: _Worker | None = None
        self._stopped = False

    def store_prediction(self, prediction: Prediction) -> list[StoredFile]:
        """Store the output of a prediction that succeeded. Blocks; the rest as :meth:`store`.

        :raises QuickRouterError: it did not succeed.
        """
        if LEFT_OUT in str(prediction.output):
            prediction = self._whole(prediction.id)
        over = Outcome.of(prediction, time.time())
        if over is None:
            raise FileUnavailable(
                f"Prediction {prediction.id} is still {prediction.status_word}: there is nothing "
                "to store. Let a QuickRouterPredictionSensor wait for it before."
            )
        owner = Owner(prediction.id, prediction.expires_at)
        if over.reason is Reason.EXPIRED:
            if found := self.stored_before(prediction.id):
                return found
            raise expired(owner)
        if error := over.exception():
            raise error
        return self.store(prediction.output, owner)

    def store(self, output: Any, owner: Owner) -> list[StoredFile]:
        """Store every file of an output, and return them in its order. Blocks.

        What is stored already is left alone. A file's trouble is waited out for two minutes; the
        files that are on their way then are still stored.

        :raises InvalidInputError: path, name or output will not do.
        :raises FileRefused: a file will not do; a retry meets the same.
        :raises FileUnavailable: the trouble lasts; a retry goes on with what is missing.
        :raises PredictionExpired: the files are gone.
        """
        check_whole(output)
        sources = find_files(output)
        if not sources:
            self._log.warning("The output of %s names no file: nothing is stored", owner)
            return []
        check_distinct(self._name, len(sources))
        keeper = self._keeper(owner, len(sources))
        job = Job(keeper, sources, self._log)
        self._log.info("Storing %d files of %s to %s", len(sources), owner, self._path)
        # A killed task does not wait for ever for what still writes there.
        with tempfile.TemporaryDirectory(
            prefix="quickrouter-", ignore_cleanup_errors=True
        ) as folder:
            client = Client(self._hook, self._max_bytes, AT_ONCE)
            return self._run(job.run(client, owner, self._max_bytes, Path(folder)))

    def stored_before(self, prediction_id: str) -> list[StoredFile]:
        """Return the files of a prediction if an earlier attempt has stored all of them. Blocks.

        They must still be there unchanged, for which they are read. Else, and if their record is
        missing or damaged, the list is empty. The API and the files' servers are not requested.

        :raises InvalidInputError: path or name will not do.
        :raises FileUnavailable: the storage cannot be read now.
        """
        try:
            owner = Owner(prediction_id)
            found = self._keeper(owner, 0, needs_record=True).find_all()
        except QuickRouterError:
            raise
        except Exception as error:  # noqa: BLE001  # a storage's client raises what it likes
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise FileUnavailable(f"{self._path} could not be read ({reason}).") from None
        if found:
            count = "1 file" if len(found) == 1 else f"{len(found)} files"
            self._log.info("An earlier attempt has stored the output of %s: %s", owner, count)
        return found

    def _whole(self, prediction_id: str) -> Prediction:
        """Poll a prediction whose output was too large for XCom.

        :raises FileUnavailable: there was no good response, which says nothing about the output.
        """
        try:
            return self._hook.get_prediction(prediction_id)
        except QuickRouterError as error:
            raise FileUnavailable(
                f"The output of prediction {prediction_id} was too large for XCom, and could not "
                f"be read again: {error}"
            ) from None

    def stop(self) -> None:
        """Stop, from a signal's handler: nothing half written stays. Never raises."""
        self._stopped = True
        if self._worker:
            self._worker.stop()

    def _keeper(self, owner: Owner, total: int, *, needs_record: bool = False) -> Keeper:
        return Keeper(
            Target(self._path),
            owner.prediction_id,
            self._name,
            total,
            self._log,
            needs_record=needs_record,
        )

    def _run(self, work: Coroutine[Any, Any, list[StoredFile]]) -> list[StoredFile]:
        self._worker = worker = _Worker(work)
        if self._stopped:
            worker.stop()
        try:
            return worker.result()
        except asyncio.CancelledError:
            raise FileUnavailable(STOPPED) from None


class _Worker:
    """Runs a coroutine on a thread of its own.

    On the main thread a signal's handler could raise (``execution_timeout``) within a callback of
    the event loop, which would swallow that.
    """

    def __init__(self, work: Coroutine[Any, Any, list[StoredFile]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(work)

    def result(self) -> list[StoredFile]:
        """Wait for the end; if a signal's handler raises meanwhile, tidy up first."""
        pool = ThreadPoolExecutor(1, "quickrouter-storing")
        future = pool.submit(self._main)
        try:
            return future.result()
        finally:
            self.stop()
            wait([future], GRACE)
            pool.shutdown(wait=False)

    def stop(self) -> None:
        """Cancel the work, unless it is over."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _main(self) -> list[StoredFile]:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            return runner.get_loop().run_until_complete(self._task)
