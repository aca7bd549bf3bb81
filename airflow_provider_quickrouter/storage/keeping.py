"""Storing the files of one output, and the record beside them that a retry reads.

All of this blocks, and several threads do it at once.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from airflow_provider_quickrouter.api.errors import FileUnavailable
from airflow_provider_quickrouter.api.files import Source, StoredFile
from airflow_provider_quickrouter.api.media import ext_of
from airflow_provider_quickrouter.storage.downloading import Fetched
from airflow_provider_quickrouter.storage.inventory import FOLDER, MAX_BYTES, Inventory
from airflow_provider_quickrouter.storage.names import file_name, safe_name
from airflow_provider_quickrouter.storage.target import Target, reason_of

WRITE_EVERY = 1.0
"""Seconds between two writes of the record, so that many small files do not wait for it."""


class Keeper:
    """Stores the fetched files of one output under their names.

    :param total: files of the output; 0 if that is not known.
    :param needs_record: fail if the storage cannot be read. Else the files are fetched again.
    :raises FileUnavailable: the storage cannot be read, and ``needs_record``.
    """

    def __init__(
        self,
        target: Target,
        prediction_id: str,
        template: str,
        total: int,
        log: Any,
        *,
        needs_record: bool = False,
    ) -> None:
        self._target, self._log = target, log
        self._prediction_id, self._template = prediction_id, template
        self._record = f"{FOLDER}/{safe_name(prediction_id)}.json"
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._inventory = self._read(needs_record)
        self._inventory.total = total or self._inventory.total

    def kept(self, source: Source) -> StoredFile | None:
        """Return a file that was stored before, if it still lies there as it was."""
        file = self._inventory.find(source)
        return file if file and self._lies_there(source.n, file) else None

    def keep(self, source: Source, fetched: Fetched) -> StoredFile:
        """Store a fetched file, unless it lies there already, and note it."""
        name = self._name(source.n, fetched.kind.ext, fetched.sha256)
        there = self._target.holds(name, fetched.size, fetched.sha256)
        if not there:
            self._tell_of_loss(name, there)
            # An object store takes the content type from the name of the local file.
            local = fetched.local.rename(fetched.local.with_suffix(f".{fetched.kind.ext}"))
            self._target.put(local, name)
        file = StoredFile(
            self._target.path_of(name),
            fetched.size,
            fetched.sha256,
            fetched.kind.content_type,
            *(fetched.pixels or (None, None)),
        )
        self._note(source, file)
        return file

    def all_there(self) -> list[StoredFile]:
        """Return all files if all were stored and are still there unchanged, else nothing."""
        found = self._inventory.whole()
        return [file for _, file in found] if all(self._lies_there(*one) for one in found) else []

    def close(self) -> None:
        """Write the record as it is."""
        with self._lock:
            self._write()

    def _lies_there(self, n: int, file: StoredFile) -> bool:
        """Look only where this output's files lie, whatever the record says."""
        name = self._name(n, ext_of(file.content_type), file.sha256)
        there = self._target.path_of(name) == file.path
        return there and bool(self._target.holds(name, file.size, file.sha256))

    def _tell_of_loss(self, name: str, there: bool | None) -> None:
        if there is not None:
            self._log.warning(
                "%s holds something else, which is replaced now. If that was another prediction's "
                "file, put {prediction_id} into the name",
                self._target.path_of(name),
            )

    def _name(self, n: int, ext: str, sha256: str) -> str:
        return file_name(
            self._template, prediction_id=self._prediction_id, n=n, ext=ext, sha256=sha256
        )

    def _note(self, source: Source, file: StoredFile) -> None:
        with self._lock:
            self._inventory.add(source, file)
            if time.monotonic() - self._written_at >= WRITE_EVERY:
                self._write()

    def _write(self) -> None:
        """Write the record. Without it a retry fetches the files again, so no error is raised."""
        try:
            self._target.write(self._record, self._inventory.to_bytes())
        except Exception as error:  # noqa: BLE001  # a storage's client raises what it likes
            self._log.warning("The record of what is stored was not written: %s", reason_of(error))
        self._written_at = time.monotonic()

    def _read(self, needs_record: bool) -> Inventory:
        try:
            data = self._target.read(self._record, MAX_BYTES)
            return Inventory.read(data) if data else Inventory()
        except (ValueError, FileUnavailable) as error:
            if needs_record and isinstance(error, FileUnavailable):
                raise
            self._log.warning("The record of what is stored is not used: %s", reason_of(error))
            return Inventory()
