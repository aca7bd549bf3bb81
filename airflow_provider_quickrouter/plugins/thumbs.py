"""Small pictures of large ones, kept in memory; made by Pillow (extra ``gallery``) if it is there.

All of this blocks; it belongs into a thread.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from io import BytesIO
from typing import Any

SIDE = 320
"""Pixels of a thumbnail's longer side."""

MAX_PIXELS = 50_000_000
"""Of a picture that is decoded; a larger one would take too much memory."""

QUALITY = 76
KEPT = 32 * 2**20
"""Bytes of thumbnails that are kept."""

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
TYPE = "image/webp"

log = logging.getLogger(__name__)


class Kept:
    """The thumbnails that were asked for last, up to a number of bytes.

    :param limit: in bytes.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self._limit, self._held = limit, 0
        self._thumbs: OrderedDict[Any, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        """Return a thumbnail, None if it is not kept."""
        with self._lock:
            if key in self._thumbs:
                self._thumbs.move_to_end(key)
            return self._thumbs.get(key)

    def put(self, key: Any, thumb: bytes) -> None:
        """Keep a thumbnail, and forget the oldest ones if they are too many."""
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
