"""Read the files of an input from object storage, before anything is paid for."""

from __future__ import annotations

import base64
import logging
import math
from datetime import timedelta
from typing import Any

from airflow_provider_quickrouter.api.attachments import check_no_password
from airflow_provider_quickrouter.api.errors import FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.inputs import with_files
from airflow_provider_quickrouter.api.references import check_reference
from airflow_provider_quickrouter.hooks.connection import mask_secret
from airflow_provider_quickrouter.storage.media import sniff
from airflow_provider_quickrouter.storage.target import open_path

# Characters of a whole data URI, head and base64 included: the API reference's 256 kB.
DATA_URI_LIMIT = 256_000

# Bytes of a picture whose data URI just fits: base64 makes four characters of three.
LARGEST_FILE = (DATA_URI_LIMIT - len("data:image/png;base64,")) // 4 * 3

UNLIMITED = 7_200.0  # seconds that a prediction without a limit may take: 74 minutes were seen
MARGIN = 300.0  # seconds for which a presigned URL is valid beyond that: clocks differ
LONGEST = 604_800.0  # seconds: S3 and Google Cloud Storage accept no longer validity

_BY_NAME = {".csv": "text/csv", ".txt": "text/plain"}  # without magic bytes
_OTHERS = ("application/pdf", "application/zip", "application/x-safetensors", "model/gltf-binary")
_SENT = ("image/", "video/", "audio/", *_OTHERS, *_BY_NAME.values())

log = logging.getLogger(__name__)


class InputFiles:
    """What is sent for the files of one input: data URIs, and presigned URLs of larger files.

    :param limits: of the prediction's time, seconds or timedelta; None means no limit. A presigned
        URL is valid for the longest one, or for two hours, and some minutes more; at most seven days.
    :param masked: let Airflow mask the URLs in logs. Each makes it slower, so not for thousands.
    :ivar signed: what identifies the content behind each presigned URL. The URLs are secret.
    """

    def __init__(self, *limits: float | timedelta | None, masked: bool = True) -> None:
        seconds = [one.total_seconds() if isinstance(one, timedelta) else one for one in limits if one]
        longest = max(filter(math.isfinite, seconds), default=UNLIMITED)
        self._valid_for = int(min(longest + MARGIN, LONGEST))  # seconds
        self._masked = masked
        self.signed: dict[str, str] = {}

    def read(self, input: Any, **reference: str | None) -> dict[str, Any]:
        """Return an input as a plain dict, with what is sent for each file of a storage. Blocks.

        ``api.attachments`` decides which strings are files. Each call reads the files again, so a retry
        resumes its prediction only if they have not changed.

        :param reference: ``version``, ``model`` or ``deployment``.
        :raises InvalidInputError: a file is missing, may not be read, is of no kind that is sent, or is
            too large for a data URI and cannot be presigned; names the field.
        :raises FileUnavailable: the storage has a transient error; a retry may help.
        """
        return with_files(input, check_reference(**reference), self._read)

    def _read(self, field: str, location: str) -> str:
        """Return what is sent for the file of a field."""
        check_no_password(f"input.{field}", location)
        try:
            return self._sent(field, location)
        except InvalidInputError as error:
            raise InvalidInputError(f"input.{field}: {location} {error}") from error.__cause__
        except FileNotFoundError:
            why = "does not exist; correct the path."
        except IsADirectoryError:
            why = "is a folder; give the path of one file."
        except PermissionError:
            why = (
                "cannot be read: its connection has no permission. Give it the permission, or name another "
                "connection: s3://conn_id@bucket/key."
            )
        except Exception as error:  # storage clients raise any class; its message may hold a secret
            raise FileUnavailable(
                f"input.{field}: {location} could not be read ({type(error).__name__}). Nothing was sent."
            ) from error
        raise InvalidInputError(f"input.{field}: {location} {why}")

    def _sent(self, field: str, location: str) -> str:
        path = open_path(location)
        info = path.fs.info(path.path)
        if info.get("type") == "directory":
            raise IsADirectoryError
        size = info.get("size")
        if size is None or size <= LARGEST_FILE:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
            if len(uri := data_uri(data, location)) <= DATA_URI_LIMIT:
                return uri
            size = len(data)
        logging.getLogger("botocore.auth").setLevel(logging.INFO)  # at DEBUG it logs each signature
        try:
            url = path.fs.sign(path.path, expiration=self._valid_for)
        # A file system that cannot, a package that is missing, or credentials without a key.
        except (AttributeError, ImportError, NotImplementedError, TypeError, ValueError) as error:
            raise _too_large(size, type(error).__name__) from None
        if self._masked:
            mask_secret(url)
        # Only its beginning: an opened file would read megabytes ahead.
        _content_type(path.fs.cat_file(path.path, start=0, end=4_096), location)
        self.signed[url] = f"{location} {info.get('ETag') or info.get('etag') or path.fs.checksum(path.path)}"
        log.info("input.%s: sending %s as a URL valid for %d s", field, location, self._valid_for)
        return str(url)


def _too_large(size: int, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"has {size:,} bytes. A data URI may have {DATA_URI_LIMIT:,} characters, which is "
        f"{LARGEST_FILE:,} bytes in base64, and the storage made no presigned URL ({why}). Store the file "
        "in S3, Google Cloud Storage or Azure, with a connection that has a key to sign with; or make it "
        "smaller; or give an https URL, such as the URL in the output of the task that created the file."
    )


def data_uri(data: bytes, name: str = "") -> str:
    """Return the data URI of a file. Its first bytes, or the end of its name, show its media type.

    :raises InvalidInputError: it is empty, or of no kind that is sent. The message continues a
        sentence that starts with the file's name.
    """
    return f"data:{_content_type(data, name)};base64,{base64.b64encode(data).decode()}"


def _content_type(data: bytes, name: str) -> str:
    if not data:
        raise InvalidInputError("is empty; give another file.")
    kind, text = sniff(data), _BY_NAME.get(name[-4:].casefold(), "")
    found = kind.content_type if kind else "" if b"\0" in data else text
    if not found.startswith(_SENT):
        raise InvalidInputError(
            "is not of a kind that is sent: its first bytes are not those of a picture, video, audio, PDF, "
            "ZIP, GLB or safetensors file, and it is not a text file whose name ends in .csv or .txt."
        )
    return found
