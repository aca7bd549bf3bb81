"""What is stored of an output: find its files, decode ``data:`` URIs, and describe a stored file."""

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
from airflow_provider_quickrouter.api.prediction import LEFT_OUT, for_xcom

DEFAULT_MAX_BYTES = 512 * 2**20  # of one file; the longest known videos have a tenth of it
MAX_FILES = 10_000  # files of one output
MAX_KEY = 200  # characters of a file's key

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
    :ivar key: of the object in the output that holds it, such as ``vocals``, or keys joined by dots;
        None if it is in no object.
    :ivar index: of the item in the list that tasks return, from 0; None in records of older versions.
    """

    path: str
    size: int
    sha256: str
    content_type: str
    width: int | None = None
    height: int | None = None
    key: str | None = None
    index: int | None = None

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
        known = (number for number in (file.width, file.height, file.index) if number is not None)
        numbers = [file.size, *known]
        if not (
            all(isinstance(value, str) for value in strings)
            and _SHA256.fullmatch(file.sha256)
            and all(type(value) is int and value >= 0 for value in numbers)
            and (file.key is None or isinstance(file.key, str))
        ):
            raise ValueError("not a stored file")
        return file

    def __str__(self) -> str:
        """Path, size and dimensions, for logs."""
        size = f", {self.width} x {self.height}" if self.width and self.height else ""
        return f"{self.path} ({readable_size(self.size)}{size})"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of an output before it is stored.

    :ivar n: its number, from 0. A null in a list has a number, too, which no file gets.
    :ivar url: its URL or ``data:`` URI; or else
    :ivar content: the text or JSON of the output itself, whose extension is ``ext``.
    :ivar key: and ``index``: as of ``StoredFile``.
    """

    n: int
    url: str = ""
    key: str | None = None
    index: int = 0
    content: bytes | None = None
    ext: str = ""

    @property
    def inline(self) -> bool:
        """Whether the output contains the bytes."""
        return self.content is not None or self.url[:5].casefold() == "data:"

    @property
    def digest(self) -> str:
        """The file's name in the record of what was stored."""
        # A new signature in the query does not make it another file.
        plain = self.url if self.inline else self.url.partition("?")[0]
        named = f"{self.n} {plain}".encode("utf-8", "replace") + (self.content or b"")
        return hashlib.sha256(named).hexdigest()


def find_results(output: Any) -> list[Source]:
    """Return what is stored of an output: its files; or else one text (a list of strings is joined) or JSON.

    An output with files is JSON, too, if XCom cannot hold the rest of it. Of null nothing is stored.

    :raises FileRefused: there are more than ``MAX_FILES``.
    """
    items = _items(output)
    files, present = find_files(items), [item for item in items if item is not None]
    left_out = re.search(rf"{re.escape(LEFT_OUT)}(?!data: URI)", str(for_xcom(items)))
    if not present or (files and not left_out):
        return files
    if not files and all(isinstance(item, str) for item in present):
        ext, text = "txt", "".join(present)
    else:
        whole = items[0] if len(items) == 1 else items  # a lone item is in no list, as in the API's response
        ext, text = "json", json.dumps(whole, ensure_ascii=False, default=str)
    n = files[-1].n + 1 if files else 0
    return [*files, Source(n, content=text.encode("utf-8", "replace"), ext=ext)]


def find_files(output: Any) -> list[Source]:
    """Return all URLs and ``data:`` URIs of an output, in its order, at any depth.

    :raises FileRefused: there are more than ``MAX_FILES``.
    """
    found, n = list[Source](), 0
    for index, key, value in _leaves(output):
        url = value.strip() if isinstance(value, str) else ""
        if has_file := is_file(url):
            found.append(Source(n, url, key, index))
        n += has_file or value is None
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
    if any(isinstance(value, str) and value.startswith(LEFT_OUT) for _, _, value in _leaves(output)):
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


def _items(output: Any) -> list[Any]:
    return list(output) if isinstance(output, list | tuple) else [output]


def _leaves(output: Any) -> Iterator[tuple[int, str | None, Any]]:
    """Yield index, key and value of each value in JSON but objects' nulls, in order, at any depth."""
    # Not recursive: JSON may be nested deeper than Python's stack.
    pending: list[tuple[int, str | None, Any]] = [(n, None, item) for n, item in enumerate(_items(output))]
    pending.reverse()
    while pending:
        index, key, value = pending.pop()
        if isinstance(value, Mapping):
            named = [(_joined(key, name), inner) for name, inner in value.items() if inner is not None]
            pending.extend((index, full, inner) for full, inner in reversed(named))
        elif isinstance(value, list | tuple):
            pending.extend((index, key, inner) for inner in reversed(value))
        else:
            yield index, key, value


def _joined(key: str | None, name: Any) -> str:
    return (str(name) if key is None else f"{key}.{name}")[:MAX_KEY]
