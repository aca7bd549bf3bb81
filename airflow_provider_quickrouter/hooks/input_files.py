"""Reading the files of an input that lie in a storage, before anything is paid for."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_quickrouter.api.attachments import (
    LARGEST_FILE,
    check_size,
    data_uri,
    leave,
)
from airflow_provider_quickrouter.api.errors import FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.folders import connection_in
from airflow_provider_quickrouter.api.inputs import with_files


def read_files(input: Any, *, version: Any, model: Any) -> dict[str, Any]:
    """Return an input as a plain dict, with each file of a storage as a data URI. Blocks.

    Which texts are files is told in ``api.attachments``. A file is read at each call: a retry
    sends what is there then, and takes up its prediction only if that is the same.

    :raises InvalidInputError: a file is not there, may not be read, is too large (the data URI
        may have 256,000 characters) or is neither picture, video nor audio; names the field.
    :raises FileUnavailable: the storage has trouble that may pass; a retry may help.
    """
    return with_files(input, str(version or model), _read)


def _read(field: str, location: str) -> str:
    leave(field, location)
    try:
        data = _bytes(field, location, _opened(field, location))
    except InvalidInputError:
        raise
    except FileNotFoundError:
        raise _wrong(field, location, "is not there; correct the path.") from None
    except IsADirectoryError:
        raise _wrong(field, location, "is a folder; give the path of one file.") from None
    except PermissionError:
        remedy = "give its connection the right to, or name another: s3://conn_id@bucket/key."
        raise _wrong(field, location, f"may not be read; {remedy}") from None
    except Exception as error:  # whatever a storage's client raises, a text of which may be secret
        why = f"{location} could not be read ({type(error).__name__})"
        raise FileUnavailable(f"input.{field}: {why}. Nothing was sent.") from error
    return data_uri(field, location, data)


def _opened(field: str, location: str) -> Any:
    """Return the path, with its connection and its filesystem known to exist."""
    # Here, since it is no light import and DAG files import the operators.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if conn_id := missing_connection(location):  # without it some would go on as nobody
        text = f"is read with the connection {conn_id!r}, which Airflow does not have; add it."
        raise _wrong(field, location, text)
    try:
        path = ObjectStoragePath(location)
        path.fs  # noqa: B018  # made now, to tell its errors from those of reading
    except AirflowNotFoundException as error:  # the one that a storage takes if none is named
        raise _wrong(field, location, f"is read with a connection: {error}") from None
    except (ImportError, ValueError) as error:
        scheme = location.partition("://")[0]
        text = f"needs a filesystem for {scheme!r}; install the provider that brings it."
        raise _wrong(field, location, text) from error
    return path


def missing_connection(location: str) -> str | None:
    """Return the id of the connection that a path names if Airflow does not have it. Blocks."""
    conn_id = connection_in(location)
    if not conn_id:
        return None
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return conn_id
    return None


def _bytes(field: str, location: str, path: Any) -> bytes:
    """Return the file's bytes, or so many of them that it is known to be too large."""
    about = path.fs.info(path.path)
    if about.get("type") == "directory":
        raise IsADirectoryError
    if about.get("size") is not None:
        check_size(field, location, int(about["size"]))
    with path.open("rb") as file:
        data: bytes = file.read(LARGEST_FILE + 1)
    return data


def _wrong(field: str, location: str, text: str) -> InvalidInputError:
    return InvalidInputError(f"input.{field}: {location} {text}")
