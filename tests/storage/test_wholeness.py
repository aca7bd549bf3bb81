"""Which files end too early, by kind."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from airflow_provider_quickrouter.storage.media import HEAD, is_truncated, sniff
from tests.storage.files import image

FORMS = pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "AVIF"])


def early(data: bytes, ext: str = "") -> bool:
    kind = sniff(data[:HEAD])
    return is_truncated(ext or (kind.ext if kind else "bin"), data)


@FORMS
@pytest.mark.parametrize("more", [b"", b"\0\n", bytes(10_000)])
def test_a_whole_picture_is_whole_also_with_something_behind_it(form: str, more: bytes) -> None:
    assert not early(image(form) + more)


@FORMS
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_part_of_a_picture_is_told(form: str, part: float) -> None:
    data = image(form, size=(640, 480))
    assert early(data[: int(len(data) * part)])


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_picture() -> None:
    data = image("JPEG", size=(640, 480), exif=b"Exif\0\0" + image("JPEG"))
    assert not early(data)
    assert early(data[: len(data) * 9 // 10])


@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_part_of_a_gif_is_noticed_though_a_semicolon_is_in_it(frames: int, part: float) -> None:
    noise = [Image.effect_noise((90, 90), 60 + n).convert("P") for n in range(frames)]
    out = io.BytesIO()
    noise[0].save(out, "GIF", save_all=True, append_images=noise[1:])
    data = out.getvalue()
    assert not early(data)
    assert not early(data[:-1] + b"\0;")
    assert b";" in (half := data[: int(len(data) * part)])
    assert early(half)


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF, 0x7FFF0024, 0, 8])
def test_a_sound_with_a_placeholder_of_a_size_is_whole(size: int) -> None:
    assert not early(b"RIFF" + size.to_bytes(4, "little") + b"WAVEfmt ")


def test_a_sound_with_a_size_is_as_long_as_that() -> None:
    assert early(b"RIFF" + (9).to_bytes(4, "little") + b"WAVEfmt ")


def test_an_earlier_version_within_a_pdf_is_not_its_end() -> None:
    assert not early(b"%PDF-1.7 %%EOF" + bytes(5000) + b"%%EOF\n")
    assert early(b"%PDF-1.7 %%EOF" + bytes(5000))


def test_a_jpeg_that_is_no_structure_is_searched_for_an_end() -> None:
    assert not early(b"\xff\xd8\xff\xe0\0\2junk\xff\xd9")
    assert early(b"\xff\xd8\xff\xe0\0\2junk")


def box(name: bytes, length: int, size: bytes = b"") -> bytes:
    return length.to_bytes(4, "big") + name + size


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 108) + bytes(100), False),
        (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 108) + bytes(99), True),
        (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 1, bytes(6) + b"\0\x74") + bytes(100), False),
        (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 1, bytes(6) + b"\0\x75") + bytes(100), True),
        (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 0) + bytes(9), False),
    ],
)
def test_a_video_is_as_long_as_its_boxes_say(data: bytes, expected: bool) -> None:
    assert early(data, "mp4") is expected


def test_of_other_kinds_nothing_is_told() -> None:
    assert not early(b"a,b\n1,", "csv")


@given(st.binary(max_size=300), st.sampled_from(["png", "jpg", "gif", "webp", "pdf", "mp4", "bin"]))
def test_no_bytes_raise(data: bytes, ext: str) -> None:
    assert early(data, ext) in (True, False)
