"""Where files are stored: any file system that Airflow's ``ObjectStoragePath`` reaches.

A file comes under its own name only when it is whole. An object store shows an upload when it is
complete, so there a file is sent to its name at once: a move would be another copy and a delete,
which not everybody who may write is allowed. Elsewhere it is written to a temporary name in the
same folder, ``.<name>.<random>.part``, and moved; that name is removed again if anything fails.

All of this blocks; on an event loop it belongs into a thread.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.api.errors import FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.folders import check_folder, protocols
from airflow_provider_quickrouter.api.storable import storable_text
from airflow_provider_quickrouter.hooks.input_files import missing_connection

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})
"""Protocols of the storages that show a file only when it is whole."""

MAX_REASON = 300
"""Characters of a foreign error that are quoted."""

_CHUNK = 2**20


class Target:
    """A folder in some storage. Made on the thread of the task, since it reads a connection.

    :param path: as ``ObjectStoragePath`` takes it.
    :param argument: what the path is called, for errors.
    :raises InvalidInputError: no storage is reached by it.
    """

    def __init__(self, path: Any, argument: str = "path") -> None:
        # Here, since it is no light import and DAG files import the operators.
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

        text = check_folder(argument, path)
        if conn_id := missing_connection(text):  # without it some would go on as nobody
            raise InvalidInputError(
                f"{argument}: {text!r} needs the connection {conn_id!r}, which Airflow does not "
                "have; add it."
            )
        try:
            self._root = ObjectStoragePath(text)
            self._fs: Any = self._root.fs
        except (ValueError, ImportError, AirflowNotFoundException) as error:
            raise InvalidInputError(
                f"{argument}: {text!r} reaches no storage: {reason_of(error)}"
            ) from error
        self._fs.invalidate_cache()  # another process may have stored since
        self._direct = bool(ATOMIC & set(protocols(self._fs)))

    def path_of(self, name: str) -> str:
        """Return the path of a file in it, as ``ObjectStoragePath`` takes it."""
        return str(self._root / name)

    def holds(self, name: str, size: int, sha256: str) -> bool | None:
        """Read a file and return whether it has just these bytes; None if there is none.

        For a connection that may only write there is none.
        """
        place = self._place(name)
        with _storage_errors(self.path_of(name)):
            try:
                if self._fs.size(place) != size:
                    return False
                return self._digest(place) == sha256
            except (FileNotFoundError, PermissionError):
                return None

    def put(self, local: Path, name: str) -> None:
        """Store a file of this machine under a name; what has it already is replaced."""
        self._store(name, lambda place: self._fs.put_file(str(local), place))

    def read(self, name: str, limit: int) -> bytes | None:
        """Return at most ``limit`` bytes of a file; None if there is none.

        For a connection that may only write there is none.
        """
        with _storage_errors(self.path_of(name)):
            try:
                with self._fs.open(self._place(name), "rb") as file:
                    return bytes(file.read(limit))
            except (FileNotFoundError, PermissionError):
                return None

    def write(self, name: str, data: bytes) -> None:
        """Store bytes under a name; what has it already is replaced."""
        self._store(name, lambda place: self._fs.pipe_file(place, data))

    def _store(self, name: str, write: Callable[[str], None]) -> None:
        place = self._place(name)
        with _storage_errors(self.path_of(name)):
            if self._direct:
                write(place)
            else:
                self._store_and_move(place, write)

    def _store_and_move(self, place: str, write: Callable[[str], None]) -> None:
        folder, _, last = place.rpartition("/")
        temporary = f"{folder}/.{last}.{secrets.token_hex(4)}.part"
        self._fs.makedirs(folder or "/", exist_ok=True)
        if self._fs.isdir(place):  # the file would be moved into it, and found by nobody
            raise IsADirectoryError(place)
        try:
            write(temporary)
            self._fs.mv(temporary, place)
        except BaseException:
            with suppress(OSError):
                self._fs.rm_file(temporary)
            raise

    def _digest(self, place: str) -> str:
        digest = hashlib.sha256()
        with self._fs.open(place, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _place(self, name: str) -> str:
        return str((self._root / name).path)


@contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    """Raise an error of the storage as one that names the path.

    It is raised without its cause: Airflow's log cannot take every string that a server sends.
    """
    try:
        yield
    except OSError as error:
        raise FileUnavailable(
            f"{path} could not be read or written ({type(error).__name__}: {reason_of(error)}). "
            "Check the connection and its permissions. A retry continues with what is missing."
        ) from None


def reason_of(error: Exception) -> str:
    """Return the message of a foreign error: bounded, and without what a log cannot take."""
    return storable_text(str(error), MAX_REASON)
