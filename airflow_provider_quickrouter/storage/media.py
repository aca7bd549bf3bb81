"""What a file is: kind and extension, width and height, and whether it is complete.

Bytes and addresses are untrusted: whatever they are, the result is a value or None, or
``FileRefused``. Nothing is decoded. Where a response has no length, its end is the end of the
connection, and half a file would look complete.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap
from urllib.parse import unquote

from airflow_provider_quickrouter.api.errors import FileRefused

# Bytes of a file's beginning that are looked at: a JPEG has its size behind its metadata.
HEAD = 2**18

TAIL = 4_096  # bytes of a PDF's end that are looked at

Bytes = bytes | mmap

Size = tuple[int, int]  # width and height, pixels


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is: its content type, and the extension of its name, without the dot."""

    content_type: str
    ext: str


# Extension, content type, and other names of that content type.
_TYPES = """
png          image/png
jpg          image/jpeg image/jpg image/pjpeg
gif          image/gif
webp         image/webp
avif         image/avif
heic         image/heic image/heif
bmp          image/bmp image/x-ms-bmp
tif          image/tiff
exr          image/x-exr
psd          image/vnd.adobe.photoshop
svg          image/svg+xml
mp4          video/mp4 video/x-m4v
mov          video/quicktime
webm         video/webm
mkv          video/x-matroska
avi          video/x-msvideo
mp3          audio/mpeg audio/mp3
m4a          audio/mp4 audio/x-m4a
wav          audio/wav audio/x-wav audio/wave audio/vnd.wave
flac         audio/flac audio/x-flac
ogg          audio/ogg application/ogg
aac          audio/aac
mid          audio/midi audio/x-midi
glb          model/gltf-binary
ply          model/ply
pdf          application/pdf
zip          application/zip application/x-zip-compressed
gz           application/gzip application/x-gzip
tar          application/x-tar
safetensors  application/x-safetensors
json         application/json text/json
jsonl        application/x-ndjson
txt          text/plain
md           text/markdown
csv          text/csv
vtt          text/vtt
srt          application/x-subrip
bin          application/octet-stream
"""

_BY_TYPE = {
    name: Kind(names[0], ext) for ext, *names in map(str.split, _TYPES.strip().splitlines()) for name in names
}
_BY_EXT = {kind.ext: kind for kind in _BY_TYPE.values()}
_SAME = {"jpeg": "jpg", "jfif": "jpg", "tiff": "tif", "heif": "heic", "midi": "mid"}

_MAGIC = {
    rb"\x89PNG\r\n\x1a\n": "png",
    rb"\xff\xd8\xff": "jpg",
    rb"GIF8[79]a": "gif",
    rb"II[*+]\0|MM\0[*+]": "tif",
    rb"\x76\x2f\x31\x01": "exr",
    rb"8BPS": "psd",
    rb"ID3": "mp3",
    rb"fLaC": "flac",
    rb"OggS": "ogg",
    rb"MThd": "mid",
    rb"glTF": "glb",
    rb"ply\r?\n": "ply",
    rb"%PDF-": "pdf",
    rb"PK(\x03\x04|\x05\x06)": "zip",
    rb"\x1f\x8b\x08": "gz",
    rb"RIFF.{4}WEBP": "webp",
    rb"RIFF.{4}WAVE": "wav",
    rb"RIFF.{4}AVI ": "avi",
    rb".{4}ftypavi": "avif",
    rb".{4}ftyp(he[iv]|mif1)": "heic",
    rb".{4}ftypqt": "mov",
    rb".{4}ftypM4[AB]": "m4a",
    rb".{4}ftyp": "mp4",
    rb"\x1aE\xdf\xa3.{0,56}webm": "webm",
    rb"\x1aE\xdf\xa3": "mkv",
    # Frames of MPEG audio: twelve bits, then the layer.
    rb"\xff[\xf0\xf1\xf8\xf9]": "aac",
    rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]": "mp3",
    # Two letters alone would match too much: the reserved bytes are 0.
    rb"BM.{4}\0{4}": "bmp",
    rb".{257}ustar": "tar",
    # The length of a JSON header, below 128 MiB, and its beginning.
    rb".{3}[\0-\7]\0{4}\{\"": "safetensors",
}
_PATTERNS = [(re.compile(pattern, re.DOTALL), ext) for pattern, ext in _MAGIC.items()]
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script")
_PAGES = ("text/html", "application/xhtml+xml")

# Kinds of many formats: the extension of the address says more, as ``.usdz`` or ``.tar.gz``.
_CONTAINERS = frozenset({"zip", "gz"})
_WITH_MAGIC = frozenset(_MAGIC.values())
# Of these, every file starts with its magic bytes; of the others a few have something before them.
_ALWAYS = frozenset(["png", "jpg", "gif", "webp", "avif", "heic", "bmp", "tif", "exr", "psd", "pdf"])
# Text without a word in it is still a result, such as the subtitles of a silent film.
MAY_BE_EMPTY = frozenset(["txt", "md", "csv", "vtt", "srt", "jsonl"])

# The extension in the last part of a path; a host behind two slashes is none.
_EXT = re.compile(r"(?<!/)/[^/?#]*?\.((?:tar\.)?(?=\d*[a-z])[a-z0-9]{1,12})(?:[?#]|$)")
# Extensions of pages, and of programs on web servers, whose responses may be anything.
_NOT_FILES = frozenset(["htm", "html", "xhtml", "php", "asp", "aspx", "jsp", "cgi"])
# No text has these control characters, whatever its encoding, except UTF-16.
_NOT_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def kind_of(declared: str, head: bytes, address: str = "") -> Kind:
    """Return what a file is: magic bytes count most, then the address, then what is declared.

    :param declared: the ``Content-Type`` as it came; "" if there was none.
    :param head: the first bytes, ``HEAD`` of them if the file has as many.
    :param address: its URL; "" if it has none.
    :raises FileRefused: it is an HTML page, or not what its address or type promises, such as an
        error message in place of a picture.
    """
    found, named = sniff(head), ext_in(address)
    media_type = declared[:256].partition(";")[0].strip().casefold()
    kind = found or _BY_TYPE.get(media_type, _BY_EXT["bin"])
    if not found:
        if media_type in _PAGES or _first_tag(head).startswith(_HTML):
            raise FileRefused(
                "it is an HTML page instead of a file, as error pages and logins are; look at it in a browser"
            )
        if _lacks_magic(kind.ext, head):
            raise FileRefused(f"its content type is {kind.content_type}, but its bytes are not")
        if _lacks_magic(named, head):
            raise FileRefused(f"its address ends with .{named}, but its bytes are something else")
    if named and (not found or (found.ext in _CONTAINERS and named not in _WITH_MAGIC)):
        return _BY_EXT.get(named) or Kind(kind.content_type, named)
    return kind


def ext_in(address: str) -> str:
    """Return the extension that an address or a path ends with, in lower case; "" if there is none."""
    found = _EXT.search(unquote(address).lower())
    ext = found[1] if found else ""
    return "" if ext in _NOT_FILES else _SAME.get(ext, ext)


def _lacks_magic(ext: str, head: bytes) -> bool:
    """Return whether bytes of no known kind cannot be a file of this extension."""
    if ext == "svg":
        return b"<svg" not in head.lower()
    return ext in _ALWAYS or (ext in _WITH_MAGIC and not _NOT_TEXT.search(head[:1024]))


def sniff(head: bytes) -> Kind | None:
    """Return what a file is by its first bytes alone; None if they are not known."""
    for pattern, ext in _PATTERNS:
        if pattern.match(head):
            return _BY_EXT[ext]
    is_svg = _first_tag(head).startswith((b"<svg", b"<!doctype svg"))
    return _BY_EXT["svg"] if is_svg else None


def _first_tag(head: bytes) -> bytes:
    """Return the first tag of markup, in lower case, after a declaration and comments."""
    rest = head[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    while rest.startswith((b"<!--", b"<?")):
        rest = rest.partition(b"-->" if rest.startswith(b"<!--") else b"?>")[2].lstrip()
    return rest[:64].lower()


def ext_of(content_type: str) -> str:
    """Return the extension of a content type that :func:`kind_of` returned."""
    return _BY_TYPE.get(content_type, _BY_EXT["bin"]).ext


def dimensions(content_type: str, head: bytes) -> Size | None:
    """Return width and height in pixels; None where the bytes do not show them.

    :param content_type: what the bytes are, see :func:`kind_of`.
    :param head: the first bytes, ``HEAD`` of them if the file has as many.
    """
    reader = _READERS.get(content_type)
    try:
        size = reader(head) if reader else None
    except (IndexError, struct.error):  # too short
        return None
    return size if size and min(size) > 0 else None


def _png(head: bytes) -> Size | None:
    name, width, height = struct.unpack_from(">4sII", head, 12)
    return (width, height) if name == b"IHDR" else None


def _gif(head: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _webp(head: bytes) -> Size | None:
    """Read one of three forms: lossy (14 bits each), lossless (14 bits, less 1) and extended."""
    form, rest = head[12:16], head[20:30].ljust(10, b"\0")
    if form == b"VP8 " and rest[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if form == b"VP8L" and rest[0] == 0x2F:
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8X" and len(head) >= 30:
        return int.from_bytes(rest[4:7], "little") + 1, int.from_bytes(rest[7:], "little") + 1
    return None


_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SEGMENTS = 512  # segments of a JPEG that are passed at most on the way to the one with its size


def _segments(data: Bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of each segment of a JPEG, up to bytes that are none."""
    place = 2
    for _ in range(_SEGMENTS):
        while data[place : place + 2] == b"\xff\xff":
            place += 1  # fill bytes
        if data[place] != 0xFF:
            return
        marker = data[place + 1]
        yield marker, place
        if marker in _WITHOUT_LENGTH:
            place += 2
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            place += 2 + max(length, 2)


def _jpeg(head: bytes) -> Size | None:
    for marker, place in _segments(head):
        if marker in _STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return width, height
    return None


_ISPE = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)


def _boxes(head: bytes) -> Size | None:
    """Return the largest image of an AVIF or HEIC: the others are tiles and thumbnails."""
    sizes: list[Size] = [struct.unpack(">II", found) for found in _ISPE.findall(head[:16_384])]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


_READERS: Mapping[str, Callable[[bytes], Size | None]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
    "image/avif": _boxes,
    "image/heic": _boxes,
}


def is_truncated(ext: str, data: Bytes) -> bool:
    """Return whether a part of a file is missing; False also where its kind does not show it.

    What follows a complete file, as some programs append it, does not matter.

    :param ext: its kind's, see :func:`kind_of`.
    """
    try:
        return ext in _ENDS and not _ENDS[ext](data)
    except (IndexError, struct.error):  # it ends within its structure
        return True


def _jpeg_ends(data: Bytes) -> bool:
    # A thumbnail within the segments before the scan has an end mark of its own.
    scan = next((place for marker, place in _segments(data) if marker == _START_OF_SCAN), 0)
    return data.find(b"\xff\xd9", scan) >= 0


def _gif_ends(data: Bytes) -> bool:
    # The mark alone is a single character, which occurs anywhere.
    place = data.rfind(b"\0;")
    return place >= 0 and not data[place + 2 :].strip(b"\0\r\n")


def _riff_ends(data: Bytes) -> bool:
    size = int.from_bytes(data[4:8], "little")
    # Programs that stream cannot know the size; the largest ones are placeholders.
    return size >= _UNKNOWN_SIZE or len(data) >= 8 + size


def _boxes_end(data: Bytes) -> bool:
    place = 0
    while len(data) - place >= 16:
        short, _, long = struct.unpack_from(">I4sQ", data, place)
        length: int = long if short == 1 else short
        if length < 8:  # to the end of the file, or no box
            return True
        place += length
    return place <= len(data)


_START_OF_SCAN = 0xDA
_UNKNOWN_SIZE = 0x7FFF0000
_ENDS: Mapping[str, Callable[[Bytes], bool]] = {
    "png": lambda data: data.find(b"IEND\xaeB`\x82") >= 0,
    "jpg": _jpeg_ends,
    "gif": _gif_ends,
    # Only at the end: earlier marks may belong to earlier versions.
    "pdf": lambda data: b"%%EOF" in data[-TAIL:],
    **dict.fromkeys(("webp", "wav", "avi"), _riff_ends),
    **dict.fromkeys(("mp4", "mov", "m4a", "avif", "heic"), _boxes_end),
}
