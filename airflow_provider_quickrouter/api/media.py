"""What the bytes of a file are: its magic bytes first, then what the server says of them.

What comes in is foreign. Nothing here looks beyond the first bytes that it is given, or raises
anything but ``FileRefused``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_quickrouter.api.errors import FileRefused

HEAD = 2**18
"""Bytes of a file's beginning that are looked at: a JPEG tells its size behind its metadata."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is: its content type, and the extension of its name, without the dot."""

    content_type: str
    ext: str


_KINDS = [
    Kind(content_type, ext)
    for content_type, ext in (
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        ("image/avif", "avif"),
        ("image/heic", "heic"),
        ("image/bmp", "bmp"),
        ("image/tiff", "tif"),
        ("image/x-exr", "exr"),
        ("image/vnd.adobe.photoshop", "psd"),
        ("image/svg+xml", "svg"),
        ("video/mp4", "mp4"),
        ("video/quicktime", "mov"),
        ("video/webm", "webm"),
        ("video/x-matroska", "mkv"),
        ("video/x-msvideo", "avi"),
        ("audio/mpeg", "mp3"),
        ("audio/mp4", "m4a"),
        ("audio/wav", "wav"),
        ("audio/flac", "flac"),
        ("audio/ogg", "ogg"),
        ("audio/aac", "aac"),
        ("model/gltf-binary", "glb"),
        ("model/ply", "ply"),
        ("application/pdf", "pdf"),
        ("application/zip", "zip"),
        ("application/gzip", "gz"),
        ("application/x-tar", "tar"),
        ("application/x-safetensors", "safetensors"),
        ("application/json", "json"),
        ("application/x-ndjson", "jsonl"),
        ("text/plain", "txt"),
        ("text/csv", "csv"),
        ("text/vtt", "vtt"),
        ("application/x-subrip", "srt"),
        ("application/octet-stream", "bin"),
    )
]
_BY_EXT = {kind.ext: kind for kind in _KINDS}
_BY_TYPE = {kind.content_type: kind for kind in _KINDS}
_BY_TYPE |= {
    alias: _BY_EXT[ext]
    for alias, ext in (
        ("image/jpg", "jpg"),
        ("image/pjpeg", "jpg"),
        ("image/heif", "heic"),
        ("image/x-ms-bmp", "bmp"),
        ("video/x-m4v", "mp4"),
        ("audio/mp3", "mp3"),
        ("audio/x-m4a", "m4a"),
        ("audio/x-wav", "wav"),
        ("audio/wave", "wav"),
        ("audio/vnd.wave", "wav"),
        ("audio/x-flac", "flac"),
        ("application/ogg", "ogg"),
        ("application/x-zip-compressed", "zip"),
        ("application/x-gzip", "gz"),
        ("text/json", "json"),
    )
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"\x76\x2f\x31\x01", "exr"),
    (b"8BPS", "psd"),
    (b"ID3", "mp3"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"glTF", "glb"),
    (b"ply\n", "ply"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b\x08", "gz"),
)
_RIFF = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
_BRANDS = (
    (b"avi", "avif"),
    (b"hei", "heic"),
    (b"hev", "heic"),
    (b"mif1", "heic"),
    (b"qt", "mov"),
    (b"M4A", "m4a"),
    (b"M4B", "m4a"),
)
_ALWAYS = frozenset({"png", "jpg", "gif", "webp", "pdf"})
"""Extensions of kinds whose files always begin with their magic bytes."""

_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script")
_PAGES = ("text/html", "application/xhtml+xml")


def kind_of(declared: str, head: bytes) -> Kind:
    """Tell what a file is; magic bytes go before what is declared.

    :param declared: the ``Content-Type`` as it came; "" if there was none.
    :param head: the first bytes, ``HEAD`` of them if the file has as many.
    :raises FileRefused: it is an HTML page, or not the picture that it is said to be.
    """
    named = _BY_TYPE.get(media_type(declared))
    if found := sniff(head):
        return found
    if media_type(declared) in _PAGES or _first_tag(head).startswith(_HTML):
        raise FileRefused(
            "it is an HTML page instead of a file, as error pages and logins are; look at it in a "
            "browser"
        )
    if named and named.ext in _ALWAYS:
        raise FileRefused(f"it is said to be {named.content_type}, but its bytes are not")
    return named or _BY_EXT["bin"]


def ext_of(content_type: str) -> str:
    """Return the extension of a content type that :func:`kind_of` gave."""
    return _BY_TYPE.get(content_type, _BY_EXT["bin"]).ext


def media_type(declared: str) -> str:
    """Return a ``Content-Type`` without parameters, in lower case."""
    return declared[:256].partition(";")[0].strip().casefold()


def sniff(head: bytes) -> Kind | None:
    """Tell what a file is by its first bytes alone; None if they are not known."""
    ext = next((ext for magic, ext in _MAGIC if head.startswith(magic)), None)
    for look in _LOOKS:
        ext = ext or look(head)
    return _BY_EXT[ext] if ext else None


def _riff(head: bytes) -> str | None:
    return _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None


def _box(head: bytes) -> str | None:
    """Tell the formats apart that begin with an ``ftyp`` box."""
    if head[4:8] != b"ftyp":
        return None
    return next((ext for brand, ext in _BRANDS if head[8:12].startswith(brand)), "mp4")


def _matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return None
    return "webm" if b"webm" in head[:64] else "mkv"


def _audio(head: bytes) -> str | None:
    """Tell MP3 and AAC, which begin with the twelve bits of a frame, and the layer."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xF0 != 0xF0:
        return None
    return {0: "aac", 2: "mp3"}.get(head[1] & 0b110)


def _bitmap(head: bytes) -> str | None:
    """Tell a bitmap, whose two letters alone would say little."""
    return "bmp" if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" else None


def _tar(head: bytes) -> str | None:
    return "tar" if head[257:262] == b"ustar" else None


def _safetensors(head: bytes) -> str | None:
    length = int.from_bytes(head[:8], "little")
    return "safetensors" if head[8:10] == b'{"' and 2 <= length < 2**27 else None


def _svg(head: bytes) -> str | None:
    return "svg" if _first_tag(head).startswith((b"<svg", b"<!doctype svg")) else None


def _first_tag(head: bytes) -> bytes:
    """Return the beginning of a text, in lower case, behind what XML may have in front."""
    rest = head[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    while rest.startswith((b"<!--", b"<?")):
        rest = rest.partition(b"-->" if rest.startswith(b"<!--") else b"?>")[2].lstrip()
    return rest[:64].lower()


_LOOKS: tuple[Callable[[bytes], str | None], ...] = (
    _riff,
    _box,
    _matroska,
    _audio,
    _bitmap,
    _tar,
    _safetensors,
    _svg,
)
