"""Whether a file ends where it should, as far as its kind tells.

Where an answer has no length, its end is the end of the connection: half a file looks whole.
"""

from __future__ import annotations

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
