"""Small pictures, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.plugins import stored
from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_runs import store


def saved(picture: Image.Image, form: str, **more: object) -> bytes:
    file = BytesIO()
    picture.save(file, form, **more)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_each_kind_of_picture_becomes_a_small_one(form: str) -> None:
    large = Image.open(BytesIO(render("a lake", 1, 0, (1024, 512))))
    thumb = stored.thumbnail(saved(large, form))
    assert thumb
    with Image.open(BytesIO(thumb)) as small:
        assert (small.format, small.size) == ("WEBP", (320, 160))


def test_what_is_transparent_stays_so() -> None:
    thumb = stored.thumbnail(saved(Image.effect_noise((800, 800), 90).convert("RGBA"), "PNG"))
    assert thumb
    hole = Image.new("RGBA", (800, 800), (0, 0, 0, 0))
    hole.paste((200, 0, 0, 255), (0, 0, 400, 800))
    made = stored.thumbnail(saved(hole, "PNG", compress_level=0))
    assert made
    assert Image.open(BytesIO(made)).convert("RGBA").getpixel((300, 10)) == (0, 0, 0, 0)


def test_a_picture_on_its_side_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.effect_noise((800, 400), 90).convert("RGB"), "JPEG", exif=exif)
    thumb = stored.thumbnail(data)
    assert thumb
    assert Image.open(BytesIO(thumb)).size == (160, 320)


def test_a_picture_that_would_fill_the_memory_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_PIXELS", 100 * 100 - 1)
    assert stored.thumbnail(saved(Image.new("RGB", (100, 100)), "PNG")) is None


def test_webp_pictures_have_a_lower_limit_since_their_decoder_needs_more_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored, "MAX_WEBP_PIXELS", 700 * 700 - 1)
    picture = Image.effect_noise((700, 700), 90)
    assert stored.thumbnail(saved(picture, "WEBP")) is None
    assert stored.thumbnail(saved(picture, "PNG"))


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(2000, 1333), (641, 1999), (1280, 99)])
def test_a_picture_that_is_reduced_in_strips_looks_like_one_that_is_reduced_at_once(
    mode: str, size: tuple[int, int]
) -> None:
    picture = Image.radial_gradient("L").resize(size).convert(mode)
    thumb = stored.thumbnail(saved(picture, "PNG", compress_level=0))
    assert thumb
    with Image.open(BytesIO(thumb)) as small:
        plain = picture.convert(small.mode).resize(small.size, reducing_gap=2.0)
        assert ImageStat.Stat(ImageChops.difference(small, plain)).mean[0] < 2


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n broken", b"GIF89a", render("a", 1, 0, (64, 64))[:-99]]
)
def test_what_cannot_be_read_has_no_thumbnail(data: bytes) -> None:
    assert stored.thumbnail(data) is None


def test_a_picture_that_is_small_anyway_is_used_itself() -> None:
    tiny = Image.effect_noise((64, 64), 90).convert("RGB")
    assert stored.thumbnail(saved(tiny, "WEBP", quality=1)) is None


def test_a_thumbnail_is_made_once(tmp_path: Path) -> None:
    picture = Image.effect_noise((800, 400), 90)
    file = StoredFile.from_json(store(saved(picture, "PNG"), tmp_path / "0.png", (800, 400)))
    made = stored.thumbnail_of(file)
    assert made
    (tmp_path / "0.png").unlink()
    assert stored.thumbnail_of(file) is made
    with pytest.raises(stored.NoSuchFile):
        stored.thumbnail_of(replace(file, size=file.size + 1))
