"""Where files are stored: any file system that Airflow's ``ObjectStoragePath`` reaches.

A file gets its own name only when it is complete. An object store shows an upload when it is
complete, so there a file is sent to its name at once: a move would be another copy and a delete,
which not everybody who may write is allowed. Elsewhere it is written to a temporary name in the
same folder, ``.<name>.<random>.part``, and moved; that name is removed again if anything fails.

Everything here blocks; on an event loop it belongs into a thread.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.api.attachments import connection_in
from airflow_provider_quickrouter.api.errors import FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.storable import storable_string
from airflow_provider_quickrouter.storage.names import FOLDER_REMEDY, check_folder

# Protocols of the storages that show a file only when it is complete, and have no empty folders.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})

COMMON = OBJECT_STORES | {"file", "local"}  # schemes that Airflow, or its provider of a cloud, brings

MAX_REASON = 300  # characters of a foreign error that are quoted

_CHUNK = 2**20


def check_path(argument: str, path: Any, remedy: str = FOLDER_REMEDY) -> None:
    """Check a path when a DAG is parsed, as far as it is constant; no connection is read.

    :param remedy: as of ``check_folder``.
    :raises InvalidInputError: no storage can have it; names the argument and the remedy.
    """
    scheme, separator, _ = check_folder(argument, path, remedy).partition("://")
    # Nothing is loaded for a common scheme: parsing a DAG should not pay for that.
    if not separator or "{" in scheme or scheme.lower() in COMMON:
        return
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        from airflow.sdk.io import has_fs
    except ImportError:  # Airflow 2
        from airflow.io import has_fs  # type: ignore[attr-defined, no-redef]
    try:
        # The author may have attached a file system of their own.
        _ = has_fs(scheme) or ObjectStoragePath(f"{scheme}://").fs
    except ValueError:
        raise InvalidInputError(f"{argument}: {str(path)!r} {_no_file_system(scheme)}.") from None


def open_path(location: str) -> Any:
    """Return an ``ObjectStoragePath`` whose connection and file system are known to exist.

    :raises InvalidInputError: why it cannot be opened, to be put after the location.
    """
    # Imported here: it is slow, and DAG files import the operators.
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, ObjectStoragePath

    if conn_id := connection_in(location):
        try:
            BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:  # some file systems would continue without credentials
            raise InvalidInputError(
                f"needs the connection {conn_id!r}, which Airflow does not have; add it."
            ) from None
    try:
        path = ObjectStoragePath(location)
        path.fs  # noqa: B018  # made now, so that its errors differ from those of reading
    except AirflowNotFoundException as error:  # the connection that is used if none is named
        raise InvalidInputError(f"needs a connection: {reason_of(error)}") from error
    except (ImportError, ValueError) as error:
        scheme = location.partition("://")[0]
        raise InvalidInputError(f"{_no_file_system(scheme)} ({reason_of(error)}).") from error
    return path


def _no_file_system(scheme: str) -> str:
    return f"needs a filesystem for {scheme!r}; install the provider that brings it, or correct the scheme"


def open_argument(argument: str, path: Any, remedy: str = FOLDER_REMEDY) -> Any:
    """Return the path that an argument names, as :func:`open_path` does.

    :param remedy: what to give instead, for the error.
    :raises InvalidInputError: no storage is reached by it; names the argument.
    """
    text = check_folder(argument, path, remedy)
    try:
        return open_path(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"{argument}: {text!r} {error}") from error.__cause__


def protocols(fs: Any) -> set[str]:
    """Return the names of a fsspec file system's protocol: it has one or several."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def is_object_store(fs: Any) -> bool:
    """Return whether it shows a file only when it is complete, and has no empty folders."""
    return bool(OBJECT_STORES & protocols(fs))


def write_whole(fs: Any, place: str, write: Callable[[str], None]) -> None:
    """Let ``write`` write a file that has the name ``place`` only when it is complete.

    :param write: takes the name to write to.
    """
    if is_object_store(fs):
        write(place)
        return
    folder, _, last = place.rpartition("/")
    temporary = f"{folder}/.{last}.{secrets.token_hex(4)}.part"
    fs.makedirs(folder or "/", exist_ok=True)
    if fs.isdir(place):  # the file would be moved into it
        raise IsADirectoryError(place)
    try:
        write(temporary)
        _move(fs, temporary, place)
    except BaseException:
        with suppress(OSError):
            fs.rm_file(temporary)
        raise


def _move(fs: Any, source: str, target: str) -> None:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

    if type(fs).mv is AbstractFileSystem.mv:  # takes a name with [, ? or * for a pattern
        fs.cp_file(source, target)
        fs.rm_file(source)
    else:
        fs.mv(source, target)


def write_first(fs: Any, place: str, data: bytes) -> bytes:
    """Write a file unless there is one; return what it holds then, maybe of another process."""
    if not fs.exists(place):
        try:
            if "file" in protocols(fs):
                with fs.open(place, "xb") as file:
                    file.write(data)
            else:
                fs.pipe_file(place, data, mode="create")
        except FileExistsError:
            pass
        except (OSError, NotImplementedError, TypeError):
            # Some storages, and older clients of the others, cannot check and write in one step.
            if not fs.exists(place):
                fs.pipe_file(place, data)
    return bytes(fs.cat_file(place))


class Target:
    """A folder in some storage. Made on the thread of the task, since it reads a connection.

    :param path: as ``ObjectStoragePath`` takes it.
    :param argument: the name of the argument, for errors.
    :raises InvalidInputError: no storage is reached by it.
    """

    def __init__(self, path: Any, argument: str = "path") -> None:
        self._root = open_argument(argument, path)
        self._fs: Any = self._root.fs
        self._fs.invalidate_cache()  # another process may have stored since

    def __str__(self) -> str:
        """Return its path."""
        return str(self._root)

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
                digest = hashlib.sha256()
                with self._fs.open(place, "rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
                return digest.hexdigest() == sha256
            except (FileNotFoundError, PermissionError):
                return None

    def holds_path(self, path: str, size: int, sha256: str) -> bool:
        """Read a file below this folder and return whether it has just these bytes.

        :param path: of anyone; one that leads elsewhere is not read.
        """
        folder = self.path_of("x")[:-1]
        name = path.removeprefix(folder)
        inside = path.startswith(folder) and ".." not in name.split("/")
        return inside and bool(self.holds(name, size, sha256))

    def put(self, local: Path, name: str) -> None:
        """Store a file of this machine under a name; a file of that name is replaced."""
        self._store(name, lambda place: self._fs.put_file(str(local), place))

    def read(self, name: str, limit: int, *, strict: bool = False) -> bytes | None:
        """Return at most ``limit`` bytes of a file; None if there is none.

        :param strict: fail if the connection may not read; else there is none for it.
        """
        missing = FileNotFoundError if strict else (FileNotFoundError, PermissionError)
        with _storage_errors(self.path_of(name)):
            try:
                with self._fs.open(self._place(name), "rb") as file:
                    return bytes(file.read(limit))
            except missing:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Store bytes under a name; a file of that name is replaced."""
        self._store(name, lambda place: self._fs.pipe_file(place, data))

    def _store(self, name: str, write: Callable[[str], None]) -> None:
        place = self._place(name)
        with _storage_errors(self.path_of(name)):
            write_whole(self._fs, place, write)

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
    return storable_string(str(error), MAX_REASON)
