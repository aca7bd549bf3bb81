"""Read stored files for the browser, check them, and make thumbnails.

The path comes from XCom, which other people may be able to write. So a file is served only if it
has the recorded size and checksum, which only someone who knows the file can write, and if its
first bytes are those of a picture, video or sound. Other files are downloads if their name ends as
this provider names files of their type.

Pillow (extra ``gallery``), if installed, makes thumbnails, which are cached in memory. All functions
block: call them in a thread.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from contextlib import nullcontext, suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.plugins.cards import MAX_SIZE, SHOWN
from airflow_provider_quickrouter.storage.media import HEAD, Kind, ext_in, kind_of, sniff

MAX_PATH = 4096
EXCERPT = 1_000  # bytes of a text that a card shows

log = logging.getLogger(__name__)

# Filesystems that replace Airflow's cached ones after an error, by protocol and connection.
_renewed: dict[tuple[str, str | None], Any] = {}


class NoSuchFile(Exception):
    """The file does not exist, or must not be served; users do not see which."""


class StorageUnavailable(Exception):
    """The storage could not be read."""


def recorded(files: Any, n: int) -> StoredFile:
    """Read item ``n`` of the XCom ``files``.

    :raises NoSuchFile: it does not exist, or must not be served.
    """
    item = files[n] if isinstance(files, list) and 0 <= n < len(files) else None
    try:
        file = StoredFile.from_json(item)
    except ValueError:
        raise NoSuchFile from None
    parts = re.split(r"[/\\]", file.path)
    is_plain = len(file.path) <= MAX_PATH and file.path.isprintable() and ".." not in parts
    if not (0 < file.size <= MAX_SIZE and is_plain):
        raise NoSuchFile
    return file


def read(file: StoredFile) -> tuple[bytes, Kind]:
    """Read the whole file and check it. Blocks.

    :raises NoSuchFile: it does not exist, has changed, or its type must not be served.
    :raises StorageUnavailable: the storage could not be read.
    """
    try:
        data = _bytes(file)
    except StorageUnavailable:
        # Airflow caches filesystems, and the connection may have changed since.
        data = _bytes(file, renew=True)
    kind = _kind_of(file, data[:HEAD])
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise NoSuchFile
    return data, kind


def _kind_of(file: StoredFile, head: bytes) -> Kind:
    found = sniff(head)
    if found and found.content_type in SHOWN:
        return found
    try:
        kind = kind_of(file.content_type, head, file.path)
    except FileRefused:
        raise NoSuchFile from None
    # The name must end as this provider names files of the type, unlike /etc/passwd or ~/.ssh/key.pem.
    if kind != Kind(file.content_type, ext_in(file.path)) or "/." in file.path:
        raise NoSuchFile
    return kind


def warm_up() -> None:
    """Import what reading and resizing a picture needs, which takes half a second."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with suppress(ImportError):
        import PIL.WebPImagePlugin  # noqa: F401
    _ = ObjectStoragePath("file:///").fs


def _bytes(file: StoredFile, renew: bool = False) -> bytes:
    # A slow import, which only the first picture needs.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    local = True
    try:
        path = ObjectStoragePath(file.path)
        local = path.protocol in ("", "file", "local")
        return _read(_filesystem(path, renew), path.path, file.size)
    except (NoSuchFile, FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
        raise NoSuchFile from None
    except Exception as error:
        # A local file without read permission must look like a missing file.
        if local:
            raise NoSuchFile from None
        # A filesystem raises any exception of its client library.
        log.warning("A stored picture could not be read: %s", type(error).__name__)
        log.debug("Details", exc_info=True)
        raise StorageUnavailable from error


def _filesystem(path: Any, renew: bool) -> Any:
    # Before Airflow 3.2 only the options contain the connection's id.
    key = (path.protocol, getattr(path, "conn_id", None) or path.storage_options.get("conn_id"))
    if renew:
        from airflow.sdk.io import get_fs

        _renewed[key] = get_fs(*key)
    return _renewed.get(key) or path.fs


def _read(fs: Any, path: str, size: int) -> bytes:
    info = fs.info(path)
    # A device or a pipe could block forever.
    if info.get("type") != "file" or info.get("size") != size:
        raise NoSuchFile
    with fs.open(path, "rb") as opened:
        data: bytes = opened.read(size + 1)
    return data


def download_name(file: StoredFile, kind: Kind) -> str:
    """Return a file name that is valid in a header and on any disk, with the extension of the type.

    The name contains the last folder, usually the prediction's id, since the files of every prediction
    are numbered from 0.
    """
    parts = re.split(r"/+", re.sub(r"^\w+:/+([^/@]*@)?", "", file.path))
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts[-2:]))
    stem = name.removesuffix(f".{kind.ext}")
    stem = (stem if stem != name else name.rpartition(".")[0] or name)[-100:].strip("._-")
    return f"{stem or 'file'}.{kind.ext}"


SIDE = 320  # pixels of a thumbnail's longer side

# Pixels of a picture that is decoded, which takes 4 bytes each. WebP decoders need three times as much.
MAX_PIXELS = 50_000_000
MAX_WEBP_PIXELS = MAX_PIXELS // 3
# Pixels of pictures that may be decoded side by side. Larger ones are decoded one at a time.
LARGE = 2_000_000
STRIP = 16  # rows of a reduced picture that are made at once

QUALITY = 76
THUMBNAILS = 500  # thumbnails that are cached: 6 MB, and 40 MB if all of them are noise

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
TYPE = "image/webp"


@lru_cache(THUMBNAILS)
def thumbnail_of(file: StoredFile) -> bytes | None:
    """Return the thumbnail of a stored file: see :func:`read` and :func:`thumbnail`."""
    return thumbnail(read(file)[0])


def thumbnail(data: bytes) -> bytes | None:
    """Return a picture as a small WebP file, or None if the picture itself should be shown.

    None means that Pillow is not installed or cannot read the picture, or that the picture is too
    large, or smaller than its thumbnail.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > (MAX_WEBP_PIXELS if picture.format == "WEBP" else MAX_PIXELS):
                return None
            with _decoding_large if pixels > LARGE else nullcontext():
                small = _reduced(picture)
    except Exception as error:  # noqa: BLE001  # decoders raise any exception for a broken file
        log.info("No thumbnail: %s", type(error).__name__)
        return None
    small.thumbnail((SIDE, SIDE))
    file = BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=3)
    return file.getvalue() if file.tell() < len(data) else None


_decoding_large = threading.Lock()


def _reduced(picture: Any) -> Any:
    """Decode a picture; return it upright, in RGB or RGBA, at most four times as large as its thumbnail.

    Strips are converted and reduced one by one: a conversion of the whole copies all of its pixels.
    """
    from PIL import Image, ImageOps

    picture.draft("RGB", (SIDE * 2, SIDE * 2))
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    factor = max(1, max(picture.size) // (SIDE * 2))
    small = Image.new(mode, tuple(-(-side // factor) for side in picture.size))
    for top in range(0, small.height, STRIP):
        box = (0, top * factor, picture.width, min((top + STRIP) * factor, picture.height))
        strip = picture.crop(box).convert(mode).reduce(factor)
        small.paste(strip, (0, top))
        small.info = strip.info  # with the orientation and the color profile
    return ImageOps.exif_transpose(small)
