"""One file of an output comes to this machine: again and again, as long as that may help."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from airflow_provider_quickrouter.api.errors import FileRefused, FileUnavailable
from airflow_provider_quickrouter.api.files import Source, decode, too_large
from airflow_provider_quickrouter.api.media import HEAD, Kind, kind_of
from airflow_provider_quickrouter.api.storable import storable_headers
from airflow_provider_quickrouter.storage.addresses import shown
from airflow_provider_quickrouter.storage.client import Client
from airflow_provider_quickrouter.storage.fetching import Owner, Trouble, pause_before, read_status
from airflow_provider_quickrouter.storage.media import TAIL, Size, dimensions, ends_too_early
from airflow_provider_quickrouter.storage.target import reason_of

_CHUNK = 2**20
_WRONG = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine, and what it is."""

    local: Path
    size: int
    sha256: str
    kind: Kind
    pixels: Size | None


class Sink:
    """Takes a file in pieces: writes, counts and digests them. Blocks.

    :raises FileRefused: the file has more than ``max_bytes``.
    :raises FileUnavailable: this machine's disk does not take it.
    """

    def __init__(self, local: Path, max_bytes: int) -> None:
        self._local, self._max_bytes = local, max_bytes
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._tail = b""
        self._file: Any = None
        self._closed = False
        # A canceled task leaves the thread that takes a piece, and closes in another one.
        self._lock = threading.Lock()
        self.size = 0

    def take(self, chunk: bytes) -> None:
        """Write the next piece."""
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise too_large(self.size, self._max_bytes)
        self._digest.update(chunk)
        self._head += chunk[: HEAD - len(self._head)]
        self._tail = (self._tail + chunk[-TAIL:])[-TAIL:]
        try:
            with self._lock:
                self._write(chunk)
        except OSError as error:
            reason = reason_of(error)
            raise FileUnavailable(f"this machine's disk does not take it ({reason})") from None

    def close(self) -> None:
        """Close the file; what comes later is dropped."""
        with self._lock:
            self._closed = True
            if self._file:
                self._file.close()

    def _write(self, chunk: bytes) -> None:
        if not self._closed:
            self._file = self._file or self._local.open("wb")
            self._file.write(chunk)

    def fetched(self, declared: str) -> Fetched:
        """Tell what came.

        :raises FileRefused: it is not what it should be.
        """
        head = bytes(self._head)
        kind = kind_of(declared, head)
        pixels = dimensions(kind.content_type, head)
        return Fetched(self._local, self.size, self._digest.hexdigest(), kind, pixels)

    def ends_too_early(self, fetched: Fetched) -> bool:
        """Whether a part of it is missing, as far as its kind tells."""
        return ends_too_early(fetched.kind.ext, self.size, bytes(self._head), self._tail)


class Downloader:
    """Fetches files of one output. Its errors do not name the file.

    :ivar received: bytes that came so far, of all files, for progress.
    """

    def __init__(self, client: Client, owner: Owner, max_bytes: int, log: Any) -> None:
        self._client, self._owner = client, owner
        self._max_bytes, self._log = max_bytes, log
        self.received = 0

    async def fetch(self, source: Source, local: Path) -> Fetched:
        """Fetch one file; trouble is waited out for two minutes from its first appearance.

        :raises FileError: it will not do, or the trouble lasts.
        :raises PredictionExpired: its hour is over.
        """
        if source.inline:
            return await asyncio.to_thread(self._unpack, source, local)
        tries, began = 0, None
        while isinstance(found := await self._try(source, local), Trouble):
            tries, began = tries + 1, began or time.monotonic()
            waited = time.monotonic() - began
            pause = pause_before(found, tries, waited, self._owner, time.time())
            self._log.info(
                "File %d (%s): %s; again in %.3g s", source.n, shown(source.url), found.why, pause
            )
            await asyncio.sleep(pause)
        return found

    async def _try(self, source: Source, local: Path) -> Fetched | Trouble:
        try:
            async with self._client.get(source.url) as response:
                headers = storable_headers(response.headers)
                trouble = read_status(response.status, headers, time.time())
                return trouble or await self._receive(response, headers, local)
        except _WRONG:
            raise FileRefused("its address cannot be read") from None
        except aiohttp.ClientConnectorCertificateError:
            raise FileRefused(_NOT_TRUSTED) from None
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            # By its class only: a text may hold a signed address, or a proxy's password.
            return Trouble(f"the download broke off ({type(error).__name__})")

    async def _receive(
        self, response: aiohttp.ClientResponse, headers: Mapping[str, str], local: Path
    ) -> Fetched | Trouble:
        if (response.content_length or 0) > self._max_bytes:
            raise too_large(response.content_length or 0, self._max_bytes)
        sink = Sink(local, self._max_bytes)
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                self.received += len(chunk)
                await asyncio.to_thread(sink.take, chunk)
        finally:
            await asyncio.to_thread(sink.close)
        if not sink.size:
            return Trouble("the server sends an empty file")
        fetched = sink.fetched(headers.get("content-type", ""))
        if not _says_its_length(headers) and sink.ends_too_early(fetched):
            return Trouble("the download broke off: the file ends too early")
        return fetched

    def _unpack(self, source: Source, local: Path) -> Fetched:
        declared, data = decode(source.url, self._max_bytes)
        sink = Sink(local, self._max_bytes)
        sink.take(data)
        sink.close()
        self.received += len(data)
        return sink.fetched(declared)


def _says_its_length(headers: Mapping[str, str]) -> bool:
    """Whether half a body would be noticed; half of a compressed one would not."""
    return "content-encoding" not in headers and (
        "content-length" in headers or "transfer-encoding" in headers
    )


_NOT_TRUSTED = (
    "the certificate of its server is not trusted; name a CA bundle that has its authority in the "
    "connection's verify"
)
