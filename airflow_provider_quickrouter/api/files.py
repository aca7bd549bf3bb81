"""The files of an output: where they are named, and what is known of one that was stored."""

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

# Bytes of one file. The longest videos that were seen have a tenth of it.
DEFAULT_MAX_BYTES = 512 * 2**20
# Files of one output; the API's answers are too small for more.
MAX_FILES = 10_000

_DATA = re.compile(
    r"data:([\w.+-]{1,100}/[\w.+-]{1,100})?(?:;[\w.+-]{1,50}=[^;,\s]{0,200}){0,8}(;base64)?,",
    re.IGNORECASE,
)
_HEADER = 4_096
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file that was stored; as JSON it stands in XCom under the key ``files``.

    :ivar path: as ``ObjectStoragePath`` takes it.
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
        """JSON from which :meth:`from_json` makes an equal one."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Any) -> StoredFile:
        """Read what :meth:`to_json` made.

        :raises ValueError: it is something else.
        """
        found: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        file = cls(**{name: found.get(name) for name in cls.__slots__})  # type: ignore[arg-type]
        strings = (file.path, file.content_type, file.sha256)
        sides = [side for side in (file.width, file.height) if side is not None]
        if not (
            all(isinstance(value, str) for value in strings)
            and _SHA256.fullmatch(file.sha256)
            and all(type(value) is int and value >= 0 for value in (file.size, *sides))
        ):
            raise ValueError("no stored file")
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
        """Whether the URL holds the bytes itself."""
        return self.url[:5].casefold() == "data:"

    @property
    def key(self) -> str:
        """What it is called in the record of what was stored."""
        # A new signature in the query does not make it another file.
        plain = self.url if self.inline else self.url.partition("?")[0]
        return hashlib.sha256(f"{self.n} {plain}".encode("utf-8", "replace")).hexdigest()


def find_files(output: Any) -> list[Source]:
    """Return every file of an output, in its order: URLs and ``data:`` URIs, in any nesting.

    :raises FileRefused: there are more than anybody stores.
    """
    found: list[Source] = []
    for text in _strings(output):
        if (url := text.strip()) and is_file(url):
            found.append(Source(len(found), url))
        if len(found) > MAX_FILES:
            raise FileRefused(f"The output names more than {MAX_FILES} files.")
    return found


def is_file(text: str) -> bool:
    """Whether a string of an output is an address, and not something that was written."""
    if text[:5].casefold() == "data:":
        header = text[:_HEADER]
        return bool(_DATA.match(header)) or ";base64" in header.partition(",")[0].casefold()
    if not text[:8].casefold().startswith(("http://", "https://")):
        return False
    try:
        named = bool(urlsplit(text).hostname)
    except ValueError:
        return False
    return named and text.isprintable() and not any(map(str.isspace, text))


def check_complete(output: Any) -> None:
    """Refuse an output that went through XCom without what was too large for it.

    :raises InvalidInputError: names the remedy.
    """
    if any(text.startswith(LEFT_OUT) for text in _strings(output)):
        raise InvalidInputError(
            "output: a part of it was too large for XCom, and a note stands for it; give "
            "prediction_id= instead, and the whole output is asked for."
        )


def parse_rendered(output: Any) -> Any:
    """Return the list or object that a template turned into a string, as ``ti.xcom_pull`` does.

    Another value is returned as it is.
    """
    if not isinstance(output, str) or output.lstrip()[:1] not in ("[", "{"):
        return output
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return read(output)
    return output


def digest_of(output: Any) -> str:
    """Return a name for an output without a known id; equal outputs have the same one."""
    whole = json.dumps(output, sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:26]


def decode(uri: str, max_bytes: int) -> tuple[str, bytes]:
    """Return content type and bytes of a ``data:`` URI. May take long: not on an event loop.

    :raises FileRefused: it is none, holds nothing, or more than ``max_bytes``.
    """
    match = _DATA.match(uri[:_HEADER])
    if not match:
        raise FileRefused("it begins like a data: URI, but is none")
    # Before anything is copied: the URI may be very large.
    room = len(uri) - match.end()
    if room > 3 * max_bytes + 4:  # percent-encoded, each byte takes three characters at most
        raise too_large(room * 3 // 4, max_bytes)
    data = unquote_to_bytes(uri[match.end() :])
    if match[2]:
        # Blanks, a missing "=" at the end and the URL-safe alphabet occur.
        plain = b"".join(data.split()).rstrip(b"=").translate(_URL_SAFE)
        try:
            data = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except binascii.Error:
            raise FileRefused("its data: URI is damaged: this is no base64") from None
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    if not data:
        raise FileRefused("its data: URI holds nothing")
    return match[1] or "text/plain", data


def too_large(size: int, max_bytes: int) -> FileRefused:
    """Make the error of a file over the limit."""
    return FileRefused(
        f"it has {readable_size(size)} or more, and at most {readable(max_bytes)} are taken; give a "
        "larger max_bytes if it is meant"
    )


def readable_size(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _strings(output: Any) -> Iterator[str]:
    """Yield every string of JSON in its order, however deep it lies."""
    waiting = [output]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(reversed(list(value.values())))
        elif isinstance(value, list | tuple):
            waiting.extend(reversed(value))
