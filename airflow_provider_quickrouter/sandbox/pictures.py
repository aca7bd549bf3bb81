"""The pictures that predictions give: landscapes made of the prompt and the seed, as PNG files.

The same prompt, seed, number and size give the same bytes on the same version of Pillow. Nothing
is drawn before somebody asks for a picture, and the last ones are kept.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from random import Random

from PIL import Image, ImageDraw, ImageFont

from airflow_provider_quickrouter.sandbox import scenery
from airflow_provider_quickrouter.sandbox.palettes import choose_palette

SUPERSAMPLING = 2
MAX_LINES = 3
MAX_LETTERS = 300
"""More of a prompt is never set: it would not fit, and measuring it takes time."""

KEPT = 64
NO_GLYPH = "\uffff"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=KEPT)
def render(prompt: str, seed: int, number: int, size: tuple[int, int]) -> bytes:
    """Return the PNG file of picture ``number`` (from 0), ``size`` = (width, height) in pixels."""
    # A picture's dice need no secrecy, and must be the same ones each time.
    dice = Random(f"{prompt}\n{seed}\n{number}")  # noqa: S311
    picture = _landscape(prompt, dice, size)
    _set_caption(picture, prompt, f"seed {seed}  ·  {size[0]} x {size[1]}  ·  QuickRouter sandbox")
    file = BytesIO()
    picture.save(file, "PNG", compress_level=4)
    return file.getvalue()


def _landscape(prompt: str, dice: Random, size: tuple[int, int]) -> Image.Image:
    palette = choose_palette(prompt, dice)
    large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    canvas = Image.new("RGB", large, palette.sky[-1])
    sky = scenery.gradient(palette.sky, (large[0], int(large[1] * scenery.HORIZON)))
    canvas.paste(sky)
    left = dice.random() < 0.5
    sun = dice.uniform(0.2, 0.36) if left else dice.uniform(0.64, 0.8)
    opposite = dice.uniform(0.68, 0.82) if left else dice.uniform(0.18, 0.32)
    scenery.paint_stars(canvas, palette, dice)
    scenery.paint_planet(canvas, palette, dice, (opposite, dice.uniform(0.2, 0.28)), sky)
    scenery.paint_clouds(canvas, palette, dice)
    scenery.paint_sun(canvas, palette, (sun, dice.uniform(0.38, 0.5)))
    ground = scenery.paint_sea if palette.relief == "sea" else scenery.paint_ridges
    ground(canvas, palette, dice, sun)
    return scenery.paint_vignette(canvas.reduce(SUPERSAMPLING))


def _set_caption(picture: Image.Image, prompt: str, note: str) -> None:
    """Set the prompt, and small below it the note, on a band that darkens towards the bottom."""
    side = min(picture.size)
    margin, size = int(side * 0.055), max(11, int(side * 0.034))
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(8, int(size * 0.55)))
    lines = _wrapped(_printable(prompt[:MAX_LETTERS], font), font, picture.width - 2 * margin)
    top = picture.height - margin - int(size * 1.32 * len(lines)) - size
    _darken(picture, max(0, top - size * 3))
    draw = ImageDraw.Draw(picture, "RGBA")
    for line in lines:
        draw.text((margin, top), line, font=font, fill=(255, 255, 255, 240))
        top += int(size * 1.32)
    note = _cut(note, small, picture.width - 2 * margin)
    draw.text((margin, top + size * 0.35), note, font=small, fill=(255, 255, 255, 140))


def _darken(picture: Image.Image, top: int) -> None:
    height = picture.height - top
    ramp = Image.new("L", (1, height))
    ramp.putdata([int(190 * min(1.0, 1.4 * y / height) ** 1.3) for y in range(height)])
    picture.paste((6, 6, 12), (0, top), ramp.resize((picture.width, height)))


def _printable(text: str, font: Font) -> str:
    """Return the text on one line; an ellipsis stands for letters that the font does not have."""
    missing = bytes(font.getmask(NO_GLYPH))
    known = {c: c.isspace() or bytes(font.getmask(c)) != missing for c in set(text)}
    kept = "".join(c if known[c] else "\0" for c in text)
    return " ".join("…".join(part for part in kept.split("\0") if part).split())


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, font, width))
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], _cut(f"{lines[MAX_LINES - 1]} …", font, width)]
    return lines


def _cut(text: str, font: Font, width: int) -> str:
    """Return the text, or as much of it as fits, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    count = next(
        n for n in range(len(text), -1, -1) if font.getlength(f"{text[:n]}…") <= width or n == 0
    )
    return f"{text[:count]}…"
