"""What a file holds, as far as its bytes show: width and height, and whether it is complete.

The bytes are foreign: whatever they are, the result is a size or None, without decoding. Where a
response has no length, its end is the end of the connection, and half a file would look whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Size = tuple[int, int]
"""Width and height, pixels."""

_SEGMENTS = 512
"""Segments of a JPEG that are passed at most on the way to the one with its size."""

_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONELY = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers of a JPEG that have no length behind them."""

_ISPE = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.S)


def dimensions(content_type: str, head: bytes) -> Size | None:
    """Return width and height in pixels; None where they cannot be told.

    :param content_type: what the bytes are, see ``media.kind_of``.
    :param head: the first bytes, ``media.HEAD`` of them if the file has as many.
    """
    reader = _READERS.get(content_type)
    size = reader(head) if reader else None
    return size if size and min(size) > 0 else None


def _png(head: bytes) -> Size | None:
    if head[12:16] != b"IHDR" or len(head) < 24:
        return None
    return _big(head[16:20]), _big(head[20:24])


def _gif(head: bytes) -> Size | None:
    return (_little(head[6:8]), _little(head[8:10])) if len(head) >= 10 else None


def _webp(head: bytes) -> Size | None:
    reader = {b"VP8 ": _webp_lossy, b"VP8L": _webp_lossless, b"VP8X": _webp_extended}
    return reader.get(head[12:16], _nothing)(head) if len(head) >= 30 else None


def _webp_lossy(head: bytes) -> Size | None:
    if head[23:26] != b"\x9d\x01\x2a":
        return None
    return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF


def _webp_lossless(head: bytes) -> Size | None:
    if head[20] != 0x2F:
        return None
    bits = _little(head[21:25])
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_extended(head: bytes) -> Size | None:
    return _little(head[24:27]) + 1, _little(head[27:30]) + 1


def _jpeg(head: bytes) -> Size | None:
    place = 2
    for _ in range(_SEGMENTS):
        while head[place : place + 2] == b"\xff\xff":
            place += 1  # any number of these may fill up
        marker = head[place + 1 : place + 2]
        if head[place : place + 1] != b"\xff" or not marker:
            return None
        if marker[0] in _STARTS_OF_FRAME:
            return _frame(head[place + 2 : place + 9])
        place += 2 if marker[0] in _LONELY else 2 + max(_big(head[place + 2 : place + 4]), 2)
    return None


def _frame(segment: bytes) -> Size | None:
    return (_big(segment[5:7]), _big(segment[3:5])) if len(segment) == 7 else None


def _boxes(head: bytes) -> Size | None:
    """Return the largest of an AVIF's or HEIC's images: the others are tiles and thumbnails."""
    sizes = [(_big(wide), _big(high)) for wide, high in _ISPE.findall(head[:16_384])]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _nothing(head: bytes) -> Size | None:
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


_READERS: Mapping[str, Callable[[bytes], Size | None]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
    "image/avif": _boxes,
    "image/heic": _boxes,
}


TAIL = 4_096
"""Bytes of a file's end that are looked at: some programs write a little behind a picture."""

_LAST = {"png": b"IEND", "jpg": b"\xff\xd9", "gif": b";", "pdf": b"%%EOF"}
_RIFF = frozenset({"webp", "wav", "avi"})
_BOXES = frozenset({"mp4", "mov", "m4a", "avif", "heic"})


def ends_too_early(ext: str, size: int, head: bytes, tail: bytes) -> bool:
    """Whether a part of a file is certainly missing; False also where its kind does not tell.

    :param ext: its kind's, see ``media.kind_of``.
    :param size: bytes; ``head``: the first ones, ``media.HEAD`` at most; ``tail``: the last ones.
    """
    if ext in _RIFF:
        return size < 8 + int.from_bytes(head[4:8], "little")
    if ext in _BOXES:
        return size < _end_of_boxes(head)
    return _LAST.get(ext, b"") not in tail


def _end_of_boxes(head: bytes) -> int:
    """Return where the last box ends whose beginning can be seen."""
    place = 0
    while len(head) - place >= 16:
        length = int.from_bytes(head[place : place + 4], "big")
        if length == 1:
            length = int.from_bytes(head[place + 8 : place + 16], "big")
        if length < 8:  # to the end of the file, or no box
            return place
        place += length
    return place
