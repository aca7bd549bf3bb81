"""Read the files of an input from object storage, before anything is paid for."""

from __future__ import annotations

import base64
from typing import Any

from airflow_provider_quickrouter.api.attachments import check_no_password
from airflow_provider_quickrouter.api.errors import FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.inputs import with_files
from airflow_provider_quickrouter.api.references import check_reference
from airflow_provider_quickrouter.storage.media import sniff
from airflow_provider_quickrouter.storage.target import open_path

# Characters of a whole data URI, head and base64 included: the API reference's 256 kB.
DATA_URI_LIMIT = 256_000

# Bytes of a picture whose data URI just fits: base64 makes four characters of three.
LARGEST_FILE = (DATA_URI_LIMIT - len("data:image/png;base64,")) // 4 * 3

_KINDS = ("image/", "video/", "audio/")


def read_files(input: Any, **reference: str | None) -> dict[str, Any]:
    """Return an input as a plain dict, with each file of a storage as a data URI. Blocks.

    ``api.attachments`` decides which strings are files. Each call reads the files again, so a retry
    resumes its prediction only if they have not changed.

    :param reference: ``version``, ``model`` or ``deployment``.
    :raises InvalidInputError: a file is missing, may not be read, is too large (the data URI
        may have 256,000 characters) or is neither picture, video nor audio; names the field.
    :raises FileUnavailable: the storage has a transient error; a retry may help.
    """
    return with_files(input, check_reference(**reference), _read)


def _read(field: str, location: str) -> str:
    """Return the file of a field as a data URI."""
    check_no_password(f"input.{field}", location)
    remedy = "give its connection the right to, or name another: s3://conn_id@bucket/key."
    try:
        return data_uri(_bytes(location))
    except InvalidInputError as error:
        raise InvalidInputError(f"input.{field}: {location} {error}") from error.__cause__
    except FileNotFoundError:
        why = "is not there; correct the path."
    except IsADirectoryError:
        why = "is a folder; give the path of one file."
    except PermissionError:
        why = f"may not be read; {remedy}"
    except Exception as error:  # storage clients raise any class; its message may hold a secret
        raise FileUnavailable(
            f"input.{field}: {location} could not be read ({type(error).__name__}). Nothing was sent."
        ) from error
    raise InvalidInputError(f"input.{field}: {location} {why}")


def _bytes(location: str) -> bytes:
    """Return the file's bytes, at most one more than the limit allows."""
    path = open_path(location)
    info = path.fs.info(path.path)
    if info.get("type") == "directory":
        raise IsADirectoryError
    if info.get("size") is not None:
        _check_size(int(info["size"]))
    with path.open("rb") as file:
        data: bytes = file.read(LARGEST_FILE + 1)
    return data


def _check_size(size: int, limit: int = LARGEST_FILE) -> None:
    if not size:
        raise InvalidInputError("is empty; give a file with a picture.")
    if size > limit:
        raise InvalidInputError(
            f"has {size:,} bytes. A data URI may have {DATA_URI_LIMIT:,} characters, which is "
            f"{LARGEST_FILE:,} bytes in base64: make the file smaller, or give an https URL, a "
            "presigned one for instance."
        )


def data_uri(data: bytes) -> str:
    """Return the data URI of a file. The media type is read from its first bytes.

    :raises InvalidInputError: it is empty, too large, or neither picture, video nor audio. The
        message continues a sentence that starts with the file's name.
    """
    _check_size(len(data))
    kind = sniff(data)
    if kind is None or not kind.content_type.startswith(_KINDS):
        raise InvalidInputError(
            "is neither picture, video nor audio, going by its first "
            "bytes. Nothing else is sent; give the path of one."
        )
    uri = f"data:{kind.content_type};base64,{base64.b64encode(data).decode()}"
    if len(uri) > DATA_URI_LIMIT:  # its content type is longer than a PNG's
        _check_size(len(data), limit=0)
    return uri
