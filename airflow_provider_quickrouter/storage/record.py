"""Which files of an output are stored: a record next to the files, which a retry reads.

The record is untrusted: it can be changed by everyone who can write to the storage. It holds
digests of addresses; the output itself is only in the prediction's manifest.

Everything here blocks, and several threads use it at once.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.errors import FileUnavailable
from airflow_provider_quickrouter.api.files import MAX_FILES, MAX_KEY, Source, StoredFile
from airflow_provider_quickrouter.api.storable import LONGEST_HEADER, storable_string
from airflow_provider_quickrouter.storage.media import ext_in, ext_of
from airflow_provider_quickrouter.storage.names import file_name, safe_name
from airflow_provider_quickrouter.storage.target import Target, reason_of

if TYPE_CHECKING:
    from airflow_provider_quickrouter.storage.download import Fetched

FOLDER = ".quickrouter"  # the folder of the records, below the path that files are stored under
MAX_BYTES = 16 * 2**20  # bytes of a record that are read at most

# Seconds between two writes of the record, so that many small files do not wait for it.
WRITE_EVERY = 1.0

_VERSION = 1
_MAX_NUMBER = 2**53  # a size or a number of pixels beyond it was not written by this package


@dataclass
class Inventory:
    """The files of one output that are stored.

    :ivar total: how many files the output has; 0 while that is not known.
    :ivar files: number of the file and what was stored, by ``Source.digest``.
    :ivar manifest: of the prediction, see ``Prediction.manifest``; None if it is not known.
    """

    total: int = 0
    files: dict[str, tuple[int, StoredFile]] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None

    def find(self, source: Source) -> StoredFile | None:
        """Return what was stored of a file, if it was."""
        found = self.files.get(source.digest)
        return found[1] if found and found[0] == source.n else None

    def complete(self) -> list[tuple[int, StoredFile]]:
        """Return all files of the output, in order, if all are stored; else nothing."""
        # One file may be here twice, under the addresses of two attempts: the later one counts.
        latest = dict(self.files.values())
        return sorted(latest.items()) if self.total == len(latest) else []

    def to_bytes(self) -> bytes:
        """Return JSON from which :meth:`read` makes an equal one."""
        files = {digest: {"n": n, **file.to_json()} for digest, (n, file) in self.files.items()}
        record = {"version": _VERSION, "total": self.total, "files": files, "manifest": self.manifest}
        return json.dumps(record).encode()

    @classmethod
    def read(cls, data: bytes) -> Inventory:
        """Read what :meth:`to_bytes` made.

        :raises ValueError: it is something else. The message may quote the data.
        """
        try:
            given = json.loads(data)
            if given["version"] != _VERSION or len(given["files"]) > MAX_FILES:
                raise ValueError("another version, or too many files")
            files = {str(key): _entry(entry) for key, entry in given["files"].items()}
            return cls(int(given["total"]), files, given.get("manifest"))
        except (AttributeError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"it is not a record of files ({type(error).__name__})") from None


def _entry(given: Any) -> tuple[int, StoredFile]:
    file = StoredFile.from_json(given)
    if max(file.size, file.width or 0, file.height or 0, file.index or 0) > _MAX_NUMBER:
        raise ValueError("a number is too large")
    content_type = storable_string(file.content_type, LONGEST_HEADER)
    key = None if file.key is None else storable_string(file.key, MAX_KEY)
    return int(given["n"]), replace(file, content_type=content_type, key=key)


class Keeper:
    """Store the downloaded files of one output under their names.

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
        self._written_at, self._changed = 0.0, False
        self.inventory = self._read(needs_record)
        self.inventory.total = total or self.inventory.total

    def find(self, source: Source) -> StoredFile | None:
        """Return a file that was stored before, if it is still there unchanged."""
        file = self.inventory.find(source)
        if not (file and self._exists(source.n, file)):
            return None
        return replace(file, key=source.key, index=source.index)  # older versions did not record them

    def find_all(self) -> list[StoredFile]:
        """Return all files if all were stored and are still there unchanged, else nothing."""
        found = self.inventory.complete()
        return [file for _, file in found] if all(self._exists(*one) for one in found) else []

    def store(self, source: Source, fetched: Fetched) -> StoredFile:
        """Store a downloaded file, unless it is there already, and record it."""
        name = self._name(source.n, fetched.kind.ext, fetched.sha256)
        width, height = fetched.pixels or (None, None)
        file = StoredFile(
            path=self._target.path_of(name),
            size=fetched.size,
            sha256=fetched.sha256,
            content_type=fetched.kind.content_type,
            width=width,
            height=height,
            key=source.key,
            index=source.index,
        )
        # Recorded before it is stored: a process that is killed in between leaves no file that is
        # fetched again. What the record names is looked for, so it may name a file that is missing.
        with self._lock:
            self.inventory.files[source.digest] = (source.n, file)
            self._changed = True
            if time.monotonic() - self._written_at >= WRITE_EVERY:
                self._write()
        same = self._target.holds(name, fetched.size, fetched.sha256)
        if not same:
            if same is not None:
                self._log.warning(
                    "%s holds something else, which is replaced now. If that was another "
                    "prediction's file, put {prediction_id} into the name",
                    self._target.path_of(name),
                )
            # An object store takes the content type from the name of the local file.
            local = fetched.local.rename(fetched.local.with_suffix(f".{fetched.kind.ext}"))
            self._target.put(local, name)
        return file

    def close(self) -> None:
        """Write the record, unless it is written."""
        with self._lock:
            if self._changed:
                self._write()

    def _exists(self, n: int, file: StoredFile) -> bool:
        """Look only where this output's files are stored, whatever the record holds."""
        name = self._name(n, ext_in(file.path) or ext_of(file.content_type), file.sha256)
        ours = self._target.path_of(name) == file.path
        return ours and bool(self._target.holds(name, file.size, file.sha256))

    def _name(self, n: int, ext: str, sha256: str) -> str:
        return file_name(self._template, prediction_id=self._prediction_id, n=n, ext=ext, sha256=sha256)

    def _write(self) -> None:
        """Write the record. Without it a retry fetches the files again, so no error is raised."""
        try:
            self._target.write(self._record, self.inventory.to_bytes())
            self._changed = False
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
