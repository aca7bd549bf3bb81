"""Reading a stored file for a browser, and what must hold before it gets a byte.

The path comes from XCom, which other people may be able to write: a file is served only if the
whole of it has the recorded size and checksum, so that no one can read what is not known
already, and if its first bytes are those of a picture, video or sound.

Thumbnails are made by Pillow (extra ``gallery``), if it is installed, and cached in memory. All of this
blocks: it belongs into a thread.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.storage.media import HEAD, Kind, sniff

MAX_SIZE = 64 * 2**20  # bytes of the largest file that is served

MAX_PATH = 4096

log = logging.getLogger(__name__)

# Filesystems made since Airflow's own one failed, by protocol and connection.
_renewed: dict[tuple[str, str | None], Any] = {}


class NoSuchFile(Exception):
    """The file may not be served, or does not exist; the reason is not shown."""


class StorageUnavailable(Exception):
    """The storage could not be read."""


# Types that a browser may be given. SVG and HTML can hold scripts, and are not among them.
SHOWN = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"),
        *("video/mp4", "video/quicktime", "video/webm"),
        *("audio/mpeg", "audio/mp4", "audio/wav", "audio/flac", "audio/ogg", "audio/aac"),
    }
)


@dataclass(frozen=True, slots=True)
class Served:
    """A file that may be served."""

    data: bytes
    kind: Kind


def recorded(files: Any, n: int) -> StoredFile:
    """Read entry ``n`` of the XCom ``files``.

    :raises NoSuchFile: there is none, or none that may be served.
    """
    entry = files[n] if isinstance(files, list) and 0 <= n < len(files) else None
    try:
        file = StoredFile.from_json(entry)
    except ValueError:
        raise NoSuchFile from None
    if not (0 < file.size <= MAX_SIZE and _plain(file.path)):
        raise NoSuchFile
    return file


def _plain(path: str) -> bool:
    parts = re.split(r"[/\\]", path)
    return len(path) <= MAX_PATH and path.isprintable() and ".." not in parts


def read(file: StoredFile) -> Served:
    """Read the whole file and check it. Blocks.

    :raises NoSuchFile: it is not there, or not what was recorded, or of no type to be shown.
    :raises StorageUnavailable: the storage could not be read.
    """
    try:
        data = _bytes(file)
    except StorageUnavailable:
        # Airflow caches a filesystem while it runs; its connection may have changed since.
        data = _bytes(file, renew=True)
    kind = sniff(data[:HEAD])
    if kind is None or kind.content_type not in SHOWN:
        raise NoSuchFile
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise NoSuchFile
    return Served(data, kind)


def warm_up() -> None:
    """Import what reading and shrinking a picture needs, which takes half a second."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with suppress(ImportError):
        import PIL.WebPImagePlugin  # noqa: F401
    _ = ObjectStoragePath("file:///").fs


def _bytes(file: StoredFile, renew: bool = False) -> bytes:
    # Imported here: it is slow, and only the first picture needs it.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    local = True
    try:
        path = ObjectStoragePath(file.path)
        local = path.protocol in ("", "file", "local")
        return _read(_filesystem(path, renew), path.path, file.size)
    except (NoSuchFile, FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
        raise NoSuchFile from None
    except Exception as error:
        # On this machine a file that may not be read shall look like one that is not there.
        if local:
            raise NoSuchFile from None
        # A filesystem raises whatever its client library does.
        log.warning("a stored picture could not be read: %s", type(error).__name__)
        log.debug("why", exc_info=True)
        raise StorageUnavailable from error


def _filesystem(path: Any, renew: bool) -> Any:
    # Airflow before 3.2 has the connection only among the options.
    key = (path.protocol, getattr(path, "conn_id", None) or path.storage_options.get("conn_id"))
    if renew:
        from airflow.sdk.io import get_fs

        _renewed[key] = get_fs(*key)
    return _renewed.get(key) or path.fs


def _read(fs: Any, path: str, size: int) -> bytes:
    info = fs.info(path)
    # No device or pipe, which could block for ever.
    if info.get("type") != "file" or info.get("size") != size:
        raise NoSuchFile
    with fs.open(path, "rb") as opened:
        data: bytes = opened.read(size + 1)
    return data


def download_name(file: StoredFile, kind: Kind) -> str:
    """Return a name for a header and for any disk; its extension is that of the file's type.

    The last folder, which is the prediction's id unless a template sets it otherwise, is part of it:
    the files of every prediction are numbered from 0.
    """
    parts = re.split(r"/+", re.sub(r"^\w+:/+([^/@]*@)?", "", file.path))
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts[-2:]))
    stem = (name.rpartition(".")[0] or name)[-100:].strip("._-")
    return f"{stem or 'picture'}.{kind.ext}"


SIDE = 320  # pixels of a thumbnail's longer side
MAX_PIXELS = 50_000_000  # of a picture that is decoded; a larger one would take too much memory

QUALITY = 76
CACHE_BYTES = 32 * 2**20

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
TYPE = "image/webp"

log = logging.getLogger(__name__)


class ThumbnailCache:
    """The thumbnails that were requested last, up to a number of bytes.

    :param limit: in bytes.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._thumbs: OrderedDict[Any, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        """Return a thumbnail, or None if it is not cached."""
        with self._lock:
            if key in self._thumbs:
                self._thumbs.move_to_end(key)
            return self._thumbs.get(key)

    def put(self, key: Any, thumb: bytes) -> None:
        """Cache a thumbnail, and drop the oldest ones if they are too many."""
        with self._lock:
            self._held += len(thumb) - len(self._thumbs.pop(key, b""))
            self._thumbs[key] = thumb
            while self._held > self._limit:
                self._held -= len(self._thumbs.popitem(last=False)[1])


def thumbnail(data: bytes) -> bytes | None:
    """Return a picture as a small WebP file, None where the picture itself must do.

    That is so without Pillow, for a picture that it cannot read or that is too large, and for
    one that is small anyway.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (SIDE * 2, SIDE * 2))
            small = ImageOps.exif_transpose(picture).convert(_mode(picture))
    except Exception as error:  # noqa: BLE001  # decoders raise any kind on a broken file
        log.info("no thumbnail: %s", type(error).__name__)
        return None
    small.thumbnail((SIDE, SIDE))
    file = BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=3)
    return file.getvalue() if file.tell() < len(data) else None


def _mode(picture: Any) -> str:
    return "RGBA" if picture.has_transparency_data else "RGB"
