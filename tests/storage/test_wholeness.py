"""Which files end too early, by kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.storage.media import HEAD, TAIL, is_truncated, sniff
from tests.storage.files import image

FORMS = pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "AVIF"])


def early(data: bytes, ext: str = "") -> bool:
    kind = sniff(data[:HEAD])
    return is_truncated(ext or (kind.ext if kind else "bin"), len(data), data[:HEAD], data[-TAIL:])


@FORMS
@pytest.mark.parametrize("more", [b"", b"\0\n"])
def test_a_whole_picture_is_whole_also_with_a_little_behind_it(form: str, more: bytes) -> None:
    assert not early(image(form) + more)


@FORMS
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_part_of_a_picture_is_told(form: str, part: float) -> None:
    data = image(form, size=(640, 480))
    assert early(data[: int(len(data) * part)])


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


@given(st.binary(max_size=300), st.sampled_from(["png", "jpg", "webp", "mp4", "bin"]))
def test_no_bytes_raise(data: bytes, ext: str) -> None:
    assert early(data, ext) in (True, False)
