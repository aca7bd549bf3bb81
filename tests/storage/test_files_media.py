"""What files are, by their bytes, and how large pictures are."""

from __future__ import annotations

import io
import re
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.storage.media import HEAD, Kind, dimensions, ext_of, kind_of, sniff
from tests.storage.files import image

BOX = b"\0\0\0\x20ftyp%s\0\0\0\0"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "b")
    return out.getvalue()


SAMPLES = {
    "png": [image()],
    "jpg": [image("JPEG"), image("JPEG", progressive=True)],
    "gif": [image("GIF")],
    "webp": [image("WEBP"), image("WEBP", lossless=True)],
    "avif": [BOX % b"avif", BOX % b"avis"],
    "heic": [BOX % b"heic", BOX % b"mif1", BOX % b"hevc"],
    "bmp": [image("BMP")],
    "tif": [image("TIFF"), b"MM\0*", b"II+\0"],
    "exr": [b"\x76\x2f\x31\x01"],
    "psd": [b"8BPS\0\1"],
    "mp4": [BOX % b"isom", BOX % b"mp42"],
    "mov": [BOX % b"qt  "],
    "m4a": [BOX % b"M4A "],
    "webm": [b"\x1aE\xdf\xa3\x01B\x82\x84webm"],
    "mkv": [b"\x1aE\xdf\xa3\x01B\x82\x88matroska"],
    "avi": [b"RIFF\0\0\0\0AVI LIST"],
    "wav": [b"RIFF\0\0\0\0WAVEfmt "],
    "mp3": [b"ID3\x04", b"\xff\xfb\x90", b"\xff\xf3\x90", b"\xff\xe3\x90"],
    "mid": [b"MThd\0\0\0\6"],
    "aac": [b"\xff\xf1\x50", b"\xff\xf9\x50"],
    "flac": [b"fLaC\0"],
    "ogg": [b"OggS\0"],
    "glb": [b"glTF\2\0\0\0"],
    "ply": [b"ply\nformat ascii 1.0", b"ply\r\nformat ascii 1.0"],
    "pdf": [b"%PDF-1.7"],
    "zip": [zipped(), b"PK\x05\x06" + bytes(18)],
    "gz": [b"\x1f\x8b\x08\0"],
    "tar": [bytes(257) + b"ustar\x0000"],
    "safetensors": [(64).to_bytes(8, "little") + b'{"__metadata__"'],
    "svg": [
        b"<svg xmlns='x'/>",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<!DOCTYPE svg ''>\n<svg>",
    ],
}
PAIRS = [(ext, data) for ext, all_of in SAMPLES.items() for data in all_of]


@pytest.mark.parametrize(("ext", "data"), PAIRS, ids=[ext for ext, _ in PAIRS])
def test_a_file_is_known_by_its_first_bytes_whatever_the_server_says(ext: str, data: bytes) -> None:
    for declared in ("", "application/octet-stream", "text/plain", "image/png", "text/html"):
        kind = kind_of(declared, data[:HEAD])
        assert kind.ext == ext
        assert ext_of(kind.content_type) == ext


@pytest.mark.parametrize(
    ("declared", "ext"),
    [
        ("application/json; charset=utf-8", "json"),
        (" TEXT/PLAIN ", "txt"),
        ("text/csv", "csv"),
        ("application/x-subrip", "srt"),
        ("application/x-unheard-of", "bin"),
        ("../../etc", "bin"),
        ("", "bin"),
        ("x" * 10_000, "bin"),
    ],
)
def test_a_file_with_no_magic_bytes_is_what_the_server_says(declared: str, ext: str) -> None:
    assert kind_of(declared, b'{"a": 1}').ext == ext
    assert ext_of("application/x-unheard-of") == "bin"


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        ("text/html", b"anything"),
        ("application/xhtml+xml", b"<?xml version='1.0'?><html>"),
        ("image/png", b"<!DOCTYPE html><html>"),
        ("", b"\xef\xbb\xbf \n<!-- c --><HTML lang=en>"),
        ("application/json", b"<head><title>502"),
    ],
)
def test_a_page_is_no_file(declared: str, body: bytes) -> None:
    with pytest.raises(FileRefused, match="HTML page instead of a file"):
        kind_of(declared, body)


PROMISED = {"image/png": "a.png", "video/mp4": "b/my%20film.MP4?c=d.txt", "image/svg+xml": "a.svg"}
BODIES = [b"Service unavailable", "{'说': '文件不存在'}".encode("gbk"), b"<Error><Code>NoSuchKey", b""]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("declared", [*PROMISED, "image/jpeg", "image/webp", "application/pdf", "audio/wav"])
def test_what_is_declared_to_have_magic_bytes_must_have_them(declared: str, body: bytes) -> None:
    with pytest.raises(FileRefused, match=f"content type is {re.escape(declared)}, but its bytes are not"):
        kind_of(declared, body)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", PROMISED.values())
def test_what_is_called_so_must_have_magic_bytes(name: str, body: bytes) -> None:
    with pytest.raises(FileRefused, match=r"address ends with \.\w+, but its bytes are something else"):
        kind_of("application/json", body, f"https://x.test/{name}")


ADDRESSES: list[tuple[str, str, bytes, Kind]] = [
    ("0.png", "image/png", image("JPEG"), Kind("image/jpeg", "jpg")),
    ("0.jpeg", "", image("JPEG"), Kind("image/jpeg", "jpg")),
    ("0.mov", "", b"\0\0\0\x08wide\0\0\1\0mdat", Kind("video/quicktime", "mov")),
    ("a.3mf", "model/3mf", zipped(), Kind("application/zip", "3mf")),
    ("a.png", "", zipped(), Kind("application/zip", "zip")),
    ("a.fbx", "application/octet-stream", b"Kaydara", Kind("application/octet-stream", "fbx")),
    ("a.fbx", "no type", b"Kaydara", Kind("application/octet-stream", "fbx")),
    ("a.lrc", "Text/X-LRC; charset=utf-8", b"[00:01] la", Kind("application/octet-stream", "lrc")),
    ("get.php", "text/csv", b"a,b", Kind("text/csv", "csv")),
    ("v1.5", "text/csv", b"a,b", Kind("text/csv", "csv")),
    ("", "text/csv", b"a,b", Kind("text/csv", "csv")),
    ("a.%2e%2e%2fetc", "text/csv", b"a,b", Kind("text/csv", "csv")),
    ("a." + "x" * 20, "text/csv", b"a,b", Kind("text/csv", "csv")),
]


@pytest.mark.parametrize(("name", "declared", "data", "kind"), ADDRESSES, ids=range(len(ADDRESSES)))
def test_the_address_decides_where_magic_bytes_show_less(
    name: str, declared: str, data: bytes, kind: Kind
) -> None:
    assert kind_of(declared, data, f"https://x.test/{name}") == kind


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"BM and more text", b"RIFFxxxxNOPE", b"\xff\xf5", b"\0" * 300]
)
def test_what_is_not_known_is_not_guessed(data: bytes) -> None:
    assert sniff(data) is None


def test_a_beginning_made_to_be_slow_is_quick() -> None:
    began = time.process_time()
    for hostile in (b"<!---->" * 40_000, b"<?" * 120_000, b" " * HEAD, b"\xff" * HEAD, b"<!--" * 9):
        sniff(hostile)
        dimensions("image/jpeg", b"\xff\xd8" + hostile)
        dimensions("image/avif", b"ispe\0\0\0\0" * 30_000)
    assert time.process_time() - began < 0.5


FORMS = [
    ("image/png", image(size=(640, 3))),
    ("image/gif", image("GIF", (640, 3))),
    ("image/jpeg", image("JPEG", (640, 3))),
    ("image/jpeg", image("JPEG", (640, 3), progressive=True, exif=b"Exif\0\0" + bytes(60_000))),
    ("image/webp", image("WEBP", (640, 3))),
    ("image/webp", image("WEBP", (640, 3), lossless=True)),
    ("image/webp", image("WEBP", (640, 3), exif=b"Exif\0\0" + bytes(20))),
]


@pytest.mark.parametrize(("content_type", "data"), FORMS)
def test_the_size_of_a_picture_is_read_from_its_beginning(content_type: str, data: bytes) -> None:
    assert dimensions(content_type, data[:HEAD]) == (640, 3)
    assert dimensions("text/plain", data) is None


def test_filling_bytes_and_lonely_markers_of_a_jpeg_are_passed() -> None:
    data = image("JPEG", (640, 3))
    assert dimensions("image/jpeg", data[:2] + b"\xff\xff\xff\xd0\xff\x01" + data[2:]) == (640, 3)


def test_the_largest_image_of_an_avif_counts() -> None:
    def ispe(wide: int, high: int) -> bytes:
        return b"\0\0\0\x14ispe" + bytes(4) + wide.to_bytes(4, "big") + high.to_bytes(4, "big")

    assert dimensions("image/avif", BOX % b"avif" + ispe(64, 64) + ispe(640, 30)) == (640, 30)
    assert dimensions("image/heic", BOX % b"heic") is None


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/png", image()[:20]),
        ("image/png", image().replace(b"IHDR", b"IHDX")),
        ("image/png", image()[:16] + bytes(16)),
        ("image/gif", b"GIF89a\0"),
        ("image/jpeg", image("JPEG")[:30]),
        ("image/jpeg", b"\xff\xd8\x00"),
        ("image/jpeg", b"\xff\xd8" + b"\xff\xe0\0\2" * 600),
        ("image/jpeg", b"\xff\xd8\xff\xc0\0\x11\x08\0"),
        ("image/webp", b"RIFF\0\0\0\0WEBPVP8 " + bytes(20)),
        ("image/webp", b"RIFF\0\0\0\0WEBPVP8L" + bytes(20)),
        ("image/webp", b"RIFF\0\0\0\0WEBPNOPE" + bytes(20)),
        ("image/webp", b"RIFF"),
    ],
)
def test_a_size_that_is_not_told_is_not_known(content_type: str, data: bytes) -> None:
    assert dimensions(content_type, data) is None


TYPES = ["image/png", "image/gif", "image/jpeg", "image/webp", "image/avif", "image/heic"]
BEGINNINGS = [data[:cut] for _, data in FORMS for cut in (4, 12, 16, 30)]


@given(st.sampled_from(TYPES), st.sampled_from([b"", *BEGINNINGS]), st.binary(max_size=300))
def test_hostile_bytes_have_a_size_or_none(content_type: str, begin: bytes, rest: bytes) -> None:
    size = dimensions(content_type, begin + rest)
    assert size is None or (min(size) > 0 and max(size) < 2**32)


@given(st.text(), st.sampled_from([b"", *BEGINNINGS]), st.binary(max_size=300))
def test_hostile_bytes_are_of_a_kind_or_refused(declared: str, begin: bytes, rest: bytes) -> None:
    try:
        kind = kind_of(declared, begin + rest)
    except FileRefused:
        return
    assert kind.ext.isalnum()


def test_the_samples_are_what_an_image_library_takes_them_for() -> None:
    for _, data in FORMS:
        assert Image.open(io.BytesIO(data)).size == (640, 3)
