"""Store the files of an output: download what is missing, several at once, and store it.

Next to the files is a small record, ``.quickrouter/<prediction id>.json``. A file that it names and
that is still there unchanged is not downloaded again, so a retry costs little, and works, too,
when the API has deleted the files by then. Two attempts at once do the same work twice.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.errors import FileUnavailable, QuickRouterError
from airflow_provider_quickrouter.api.files import (
    DEFAULT_MAX_BYTES,
    Source,
    StoredFile,
    check_complete,
    counted,
    digest_of,
    find_results,
    readable_size,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, Prediction
from airflow_provider_quickrouter.api.protocol import MAX_MESSAGE, check_id
from airflow_provider_quickrouter.api.storable import storable, storable_string
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.storage.addresses import shown
from airflow_provider_quickrouter.storage.download import Client, Downloader
from airflow_provider_quickrouter.storage.fetching import Owner, about, expired
from airflow_provider_quickrouter.storage.names import DEFAULT_NAME, check_distinct
from airflow_provider_quickrouter.storage.record import FOLDER, MAX_BYTES, Keeper
from airflow_provider_quickrouter.storage.scratch import temporary_folder
from airflow_provider_quickrouter.storage.target import Target, reason_of

if TYPE_CHECKING:
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

AT_ONCE = 6  # files that are downloaded and stored at the same time
FEW = 10  # files of an output that have a line in the log each
LOG_EVERY = 10.0  # seconds between two lines of progress
GRACE = 10.0  # seconds that a killed task waits for the clean-up

STOPPED = "Airflow stopped the task before all files were stored; a retry stores the rest."


@dataclass
class Job:
    """The files of one output on their way into storage."""

    sources: list[Source]
    keeper: Keeper
    loader: Downloader
    folder: Path
    log: Any
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _done: dict[int, StoredFile] = field(default_factory=dict)
    _found: int = 0

    async def run(self) -> list[StoredFile]:
        """Store all files that can be stored; return them in the order of the output.

        :raises QuickRouterError: the first error, preferably one that a retry may heal.
        """
        began = time.monotonic()
        progress = asyncio.create_task(self._log_progress())
        try:
            work = map(self._store, self.sources)
            results = await asyncio.gather(*work, return_exceptions=True)
        finally:
            progress.cancel()
            await asyncio.to_thread(self.keeper.close)
        errors = [result for result in results if isinstance(result, BaseException)]
        # Airflow retries the task then, and stores what is missing.
        errors.sort(key=lambda error: not getattr(error, "transient", True))
        for error in errors[1:FEW]:
            self.log.warning("%s", storable_string(str(error), MAX_MESSAGE))
        self.log.info(
            "Stored %s, %s, in %.1f s; existed already: %d",
            counted(len(self._done), "file"),
            readable_size(sum(file.size for file in self._done.values())),
            time.monotonic() - began,
            self._found,
        )
        if errors:
            raise errors[0]
        return [self._done[source.n] for source in self.sources]

    async def _store(self, source: Source) -> None:
        async with self._slots:
            try:
                file = await self._find_or_download(source)
            except QuickRouterError as error:
                place = shown(source.url) if source.url else f"its {source.ext}"
                raise about(error, source.n, place) from error.__cause__
        self._done[source.n] = file
        if len(self.sources) <= FEW:
            self.log.info("File %d: %s", source.n, file)

    async def _find_or_download(self, source: Source) -> StoredFile:
        if stored := await asyncio.to_thread(self.keeper.find, source):
            self._found += 1
            return stored
        # In a folder of its own: storing renames it, and the disk must be free again after it.
        folder = self.folder / str(source.n)
        await asyncio.to_thread(folder.mkdir)
        try:
            fetched = await self.loader.fetch(source, folder / "file")
            return await asyncio.to_thread(self.keeper.store, source, fetched)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _log_progress(self) -> None:
        while True:
            await asyncio.sleep(LOG_EVERY)
            self.log.info(
                "Stored so far: %d of %s; received: %s",
                len(self._done),
                counted(len(self.sources), "file"),
                readable_size(self.loader.received),
            )


class Storing:
    """Store the files of outputs for one task.

    :param hook: has proxies, CA bundle and allowed addresses; it polls a prediction whose output
        was too large for XCom.
    :param path: the folder, as ``ObjectStoragePath`` takes it; or a ``Target``, so that no connection
        is read.
    :param name: of each file below it, see ``storage.names``.
    :param max_bytes: of one file. Each is on this machine's disk while it is on its way.
    :param allow_empty: a prediction without an output is a success, too.
    """

    def __init__(
        self,
        hook: QuickRouterHook,
        log: Any,
        *,
        path: Any,
        name: str = DEFAULT_NAME,
        max_bytes: int = DEFAULT_MAX_BYTES,
        allow_empty: bool = False,
    ) -> None:
        self._hook, self._log = hook, log
        self._path, self._name, self._max_bytes = path, name, max_bytes
        self._allow_empty = allow_empty
        self._stopped = False
        self._cancel: Callable[[], object] = lambda: None

    def store_prediction(self, prediction: Prediction) -> list[StoredFile]:
        """Store the output of a prediction that succeeded. Blocks; the rest as :meth:`store`.

        :raises QuickRouterError: it did not succeed.
        """
        expires_at = prediction.expires_at  # the API's own clock may be wrong
        if LEFT_OUT in str(prediction.output):
            try:
                prediction = self._hook.get_prediction(prediction.id)
            except QuickRouterError as error:
                raise FileUnavailable(
                    f"The output of prediction {prediction.id} was too large for XCom, and could "
                    f"not be read again: {error}"
                ) from None
        outcome = Outcome.of(prediction, time.time())
        if outcome is None:
            raise FileUnavailable(
                f"Prediction {prediction.id} is still {prediction.status_word}: there is nothing "
                "to store. Let a QuickRouterPredictionSensor wait for it before."
            )
        owner = Owner(prediction.id, expires_at)
        if outcome.reason is Reason.EXPIRED:
            if found := self.stored_before(prediction.id):
                return found
            raise expired(owner)
        failure = outcome.exception()
        if failure and not (self._allow_empty and outcome.reason is Reason.EMPTY):
            raise failure
        manifest = prediction.manifest(self._hook.prediction_url(prediction.id))
        return self.store(prediction.items, owner, manifest)

    def store(self, output: Any, owner: Owner | None = None, manifest: Any = None) -> list[StoredFile]:
        """Store every file of an output, and return them in its order. Blocks.

        What is stored already is left alone. Errors of files are waited out for two minutes; an
        error is raised when all that can be stored is.

        :param owner: the prediction; None if it is not known, as its manifest is then.
        :raises InvalidInputError: path, name or output cannot be used.
        :raises FileRefused: a file cannot be stored; a retry meets the same.
        :raises FileUnavailable: errors last; a retry stores what is missing.
        :raises PredictionExpired: the API has deleted the files.
        """
        owner = owner or Owner(digest_of(output), known=False)
        check_complete(output)
        sources = find_results(output)
        if not sources:
            self._log.warning("The output of %s is null: nothing is stored", owner)
            return []
        check_distinct(self._name, len(sources))
        keeper = self._keeper(owner, len(sources))
        keeper.inventory.manifest = manifest or keeper.inventory.manifest
        self._log.info("Storing %s of %s to %s", counted(len(sources), "file"), owner, self._path)

        client = Client(self._hook, self._max_bytes, AT_ONCE)  # here, since it reads files

        async def work(folder: Path) -> list[StoredFile]:
            async with client:
                loader = Downloader(client, owner, self._max_bytes, self._log)
                return await Job(sources, keeper, loader, folder, self._log).run()

        with temporary_folder() as folder:
            return self._run(lambda: work(folder))

    def stored_before(self, prediction_id: str) -> list[StoredFile]:
        """Return the files of a prediction if an earlier attempt has stored all of them. Blocks.

        They must still be there unchanged, for which they are read. Else, and if their record is
        missing or damaged, the list is empty. The API and the files' servers are not requested.

        :raises InvalidInputError: path or name cannot be used.
        :raises FileUnavailable: the storage cannot be read now.
        """
        owner = Owner(prediction_id)
        try:
            found = self._keeper(owner, 0, needs_record=True).find_all()
        except QuickRouterError:
            raise
        except Exception as error:  # noqa: BLE001  # a storage's client raises what it likes
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise FileUnavailable(f"{self._path} could not be read ({reason}).") from None
        if found:
            count = counted(len(found), "file")
            self._log.info("An earlier attempt has stored the output of %s: %s", owner, count)
        return found

    def add_request(self, digest: str, prediction_id: str) -> None:
        """Store which prediction was created for a request, for :meth:`find_request`. Blocks.

        :param digest: of the request, see ``submission.record.fingerprint``.
        """
        Target(self._path).write(_entry_of(digest), prediction_id.encode())

    def find_request(self, digest: str) -> tuple[Prediction, list[StoredFile]] | None:
        """Return the prediction of an equal request and its files, if all are stored. Blocks.

        :raises FileUnavailable: the storage cannot be read now.
        """
        target = Target(self._path)
        entry = target.read(_entry_of(digest), MAX_BYTES, strict=True) or b""
        try:
            keeper = self._keeper(Owner(check_id(entry.decode())), 0, needs_record=True)
            paid = Prediction.from_json(storable(keeper.inventory.manifest))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return None  # there is none, or anyone has changed it
        prediction = replace(paid, cost=paid.cost and 0.0)  # it is not paid for again
        over = Outcome.of(prediction, time.time())
        files = [file for _, file in keeper.inventory.complete()]
        reasons = (Reason.SUCCEEDED, Reason.EMPTY) if self._allow_empty else (Reason.SUCCEEDED,)
        good = files and over and over.reason in reasons
        # By their paths, since the task that stored them may have had other names than this one.
        exist = good and all(target.holds_path(file.path, file.size, file.sha256) for file in files)
        return (prediction, files) if exist else None

    def stop(self) -> None:
        """Stop, from a signal handler: no half file stays. Never raises."""
        self._stopped = True
        self._cancel()

    def _keeper(self, owner: Owner, total: int, *, needs_record: bool = False) -> Keeper:
        target = self._path if isinstance(self._path, Target) else Target(self._path)
        prediction_id = owner.prediction_id
        return Keeper(target, prediction_id, self._name, total, self._log, needs_record=needs_record)

    def _run(self, work: Callable[[], Coroutine[Any, Any, list[StoredFile]]]) -> list[StoredFile]:
        """Run work on an event loop in a thread of its own.

        On the main thread a signal handler could raise (``execution_timeout``) within a callback of
        the event loop, which would swallow that.
        """

        async def main() -> list[StoredFile]:
            loop, task = asyncio.get_running_loop(), asyncio.create_task(work())

            def cancel() -> None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(task.cancel)

            self._cancel = cancel
            if self._stopped:
                task.cancel()
            return await task

        future = threads.start(lambda: asyncio.run(main()))
        try:
            return future.result()
        except asyncio.CancelledError:
            raise FileUnavailable(STOPPED) from None
        finally:
            self._cancel()
            wait([future], GRACE)


def _entry_of(digest: str) -> str:
    return f"{FOLDER}/requests/{digest}.txt"
