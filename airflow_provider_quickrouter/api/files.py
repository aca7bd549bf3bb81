"""The files of an output: find them, decode ``data:`` URIs, and describe a stored file."""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from airflow_provider_quickrouter.api.errors import FileRefused, InvalidInputError
from airflow_provider_quickrouter.api.prediction import LEFT_OUT

DEFAULT_MAX_BYTES = 512 * 2**20  # of one file; the longest known videos have a tenth of it
MAX_FILES = 10_000  # files of one output

_DATA_URI = re.compile(
    r"data:([\w.+-]{1,100}/[\w.+-]{1,100})?(?:;(?!base64,)[\w.+-]{1,50}(?:=[^;,\s]{0,200})?){0,8}(;base64)?,",
    re.IGNORECASE,
)
# A URL with blanks, as of files that are named after prompts. A sentence has no extension at its end.
_URL_WITH_BLANKS = re.compile(r"https?://[^\s/]+/\S[^?#]*\.\w{2,5}([?#]\S*)?", re.IGNORECASE)
_HEADER = 4_096  # characters of a data: URI in which its comma is searched for
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One stored file; XCom ``files`` holds a list of them as JSON.

    :ivar path: as ``ObjectStoragePath`` accepts it.
    :ivar size: bytes.
    :ivar sha256: of its bytes, 64 hex digits.
    :ivar width: and ``height``: pixels of a picture; None where they are not known.
    """

    path: str
    size: int
    sha256: str
    content_type: str
    width: int | None = None
    height: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON from which :meth:`from_json` makes an equal one."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Any) -> StoredFile:
        """Read the JSON of :meth:`to_json`.

        :raises ValueError: it is something else.
        """
        found: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        file = cls(**{name: found.get(name) for name in cls.__slots__})  # type: ignore[arg-type]
        strings = (file.path, file.content_type, file.sha256)
        numbers = [file.size, *(side for side in (file.width, file.height) if side is not None)]
        if not (
            all(isinstance(value, str) for value in strings)
            and _SHA256.fullmatch(file.sha256)
            and all(type(value) is int and value >= 0 for value in numbers)
        ):
            raise ValueError("not a stored file")
        return file

    def __str__(self) -> str:
        """Path, size and dimensions, for logs."""
        size = f", {self.width} x {self.height}" if self.width and self.height else ""
        return f"{self.path} ({readable_size(self.size)}{size})"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of an output before it is stored: its number, from 0, and its URL."""

    n: int
    url: str

    @property
    def inline(self) -> bool:
        """Whether the URL is a ``data:`` URI, which contains the bytes."""
        return self.url[:5].casefold() == "data:"

    @property
    def key(self) -> str:
        """The file's name in the record of what was stored."""
        # A new signature in the query does not make it another file.
        plain = self.url if self.inline else self.url.partition("?")[0]
        return hashlib.sha256(f"{self.n} {plain}".encode("utf-8", "replace")).hexdigest()


def find_files(output: Any) -> list[Source]:
    """Return all URLs and ``data:`` URIs of an output, in its order, at any depth.

    :raises FileRefused: there are more than ``MAX_FILES``.
    """
    found: list[Source] = []
    for value in _strings(output):
        if (url := value.strip()) and is_file(url):
            found.append(Source(len(found), url))
        if len(found) > MAX_FILES:
            raise FileRefused(f"The output has more than {MAX_FILES} files.")
    return found


def is_file(value: str) -> bool:
    """Return whether a string of an output is the URL of a file, and not text of a model."""
    if value[:5].casefold() == "data:":
        header = value[:_HEADER]
        return bool(_DATA_URI.match(header)) or ";base64" in header.partition(",")[0].casefold()
    if not value[:8].casefold().startswith(("http://", "https://")):
        return False
    try:
        has_host = bool(urlsplit(value).hostname)
    except ValueError:
        return False
    # No other white space than blanks is printable.
    return has_host and value.isprintable() and (" " not in value or bool(_URL_WITH_BLANKS.fullmatch(value)))


def check_complete(output: Any) -> None:
    """Refuse an output from XCom of which a part was left out because of its size.

    :raises InvalidInputError: names the remedy.
    """
    if any(value.startswith(LEFT_OUT) for value in _strings(output)):
        raise InvalidInputError(
            "output: XCom does not hold all of it, since a part was too large. Pass "
            "prediction_id= instead: the task then polls the whole output."
        )


def parse_rendered(output: Any) -> Any:
    """Return the list or dict that a template rendered as a string; other values unchanged."""
    if not isinstance(output, str) or output.lstrip()[:1] not in ("[", "{"):
        return output
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return read(output)
    return output


def digest_of(output: Any) -> str:
    """Return a name for an output whose prediction id is not known; equal for equal outputs."""
    content = json.dumps(output, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:26]


def decode(uri: str, max_bytes: int) -> tuple[str, bytes]:
    """Return content type and bytes of a ``data:`` URI. Slow if large: not on an event loop.

    :raises FileRefused: it is malformed, empty, or has more than ``max_bytes``.
    """
    match = _DATA_URI.match(uri[:_HEADER])
    if not match:
        raise FileRefused("it begins like a data: URI, but is malformed")
    # Before anything is copied, since the URI may be very large. A percent-encoded byte has three
    # characters.
    length = len(uri) - match.end()
    if length > 3 * max_bytes + 4:
        raise too_large(length * 3 // 4, max_bytes)
    data = unquote_to_bytes(uri[match.end() :])
    if match[2]:
        # Blanks, a missing "=" at the end and the URL-safe alphabet occur.
        plain = b"".join(data.split()).rstrip(b"=").translate(_URL_SAFE)
        try:
            data = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except binascii.Error:
            raise FileRefused("its data: URI is not valid base64") from None
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    if not data:
        raise FileRefused("its data: URI is empty")
    return match[1] or "text/plain", data


def too_large(size: int, max_bytes: int) -> FileRefused:
    """Return the error of a file over the limit."""
    return FileRefused(
        f"it has at least {readable_size(size)}, and max_bytes allows {readable_size(max_bytes)}; "
        "set a larger max_bytes to store it"
    )


def counted(number: int, noun: str) -> str:
    """Return number and noun: ``1 file``, ``2 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def readable_size(size: int) -> str:
    """Return a number of bytes for people, as ``1.5 MiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return counted(size, "byte")


def _strings(output: Any) -> Iterator[str]:
    """Yield every string of JSON in its order, at any depth."""
    pending = [output]  # not recursive: JSON may be nested deeper than Python's stack
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            pending.extend(reversed(list(value.values())))
        elif isinstance(value, list | tuple):
            pending.extend(reversed(value))
