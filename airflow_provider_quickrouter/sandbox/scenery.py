"""The parts of a landscape, from the sky to one's feet, each painted onto a canvas with Pillow.

The canvas is larger than the picture and is reduced in the end, which smooths all edges. Places
are fractions of the canvas, so that a picture looks the same at every size.
"""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

from PIL import Image, ImageChops, ImageDraw

from airflow_provider_quickrouter.sandbox.palettes import Colour, Palette, along, mix
from airflow_provider_quickrouter.sandbox.terrain import RELIEFS

HORIZON = 0.62
LAYERS = 6
POINTS = 513
EDGE = 180
"""The value of Pillow's radial gradient where its circle touches the sides of its square."""


def gradient(stops: tuple[Colour, ...], size: tuple[int, int]) -> Image.Image:
    """Return a vertical gradient."""
    column = Image.new("RGB", (1, 256))
    column.putdata([along(stops, y / 255) for y in range(256)])
    return column.resize(size, Image.Resampling.BICUBIC)


def paint_stars(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """Scatter stars, which fade towards the horizon."""
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    unit = max(width, height) / 1536
    for _ in range(int(420 * palette.stars)):
        x, y, size = dice.random(), dice.random() ** 1.5 * HORIZON, dice.random() ** 6
        strength = (1 - y / HORIZON) * dice.uniform(0.25, 1.0)
        colour = mix(along(palette.sky, y / HORIZON * 0.9), palette.light, strength)
        _disc(draw, (x * width, y * height), (0.7 + 2.2 * size) * unit, colour)


def paint_clouds(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """Draw long thin clouds, lit by the horizon's colour."""
    width, height = canvas.size
    noise = Image.new("L", (5, 26))
    noise.putdata([dice.randrange(256) for _ in range(5 * 26)])
    soft = noise.resize((width // 4 + 1, height // 4 + 1), Image.Resampling.BICUBIC)
    streaks = soft.point([max(0, int((v - 120) * 0.85)) for v in range(256)])
    fade = Image.new("L", (1, 100))
    fade.putdata([int(255 * _bump(y / 100, 0.42, 0.24)) for y in range(100)])
    mask = ImageChops.multiply(streaks, fade.resize(streaks.size)).resize(canvas.size)
    canvas.paste(mix(palette.sky[-1], palette.light, 0.3), mask=mask)


def paint_glow(
    canvas: Image.Image,
    place: tuple[float, float],
    radius: float,
    colour: Colour,
    strength: float = 1.0,
) -> None:
    """Let light shine round a place, to ``radius`` (a fraction of the larger side)."""
    reach = max(1, int(radius * max(canvas.size)))
    ramp = [int(255 * strength * max(0.0, 1 - v / EDGE) ** 2.2) for v in range(256)]
    mask = (
        Image.radial_gradient("L")
        .point(ramp)
        .resize((2 * reach, 2 * reach), Image.Resampling.BICUBIC)
    )
    x, y = int(place[0] * canvas.width), int(place[1] * canvas.height)
    canvas.paste(colour, (x - reach, y - reach), mask)


def paint_sun(canvas: Image.Image, palette: Palette, place: tuple[float, float]) -> None:
    """Draw the sun or moon with two rings of glow."""
    paint_glow(canvas, place, 0.78, mix(palette.sky[-1], palette.light, 0.35), 0.8)
    paint_glow(canvas, place, 0.24, palette.light, 0.8)
    x, y = place[0] * canvas.width, place[1] * canvas.height
    _disc(
        ImageDraw.Draw(canvas),
        (x, y),
        0.036 * max(canvas.size),
        mix(palette.light, (255, 255, 255), 0.5),
    )


def paint_planet(
    canvas: Image.Image,
    palette: Palette,
    dice: Random,
    place: tuple[float, float],
    sky: Image.Image,
) -> None:
    """Draw a great pale planet with bands before the bare ``sky``; its shadow side hides stars."""
    if palette.planet is None:
        return
    size = max(2, int(dice.uniform(0.2, 0.3) * min(canvas.size)))
    bands = _bands(palette.planet, palette.light, dice, size)
    x, y = int(place[0] * canvas.width - size / 2), int(place[1] * canvas.height - size / 2)
    disc = Image.new("L", (size, size))
    ImageDraw.Draw(disc).ellipse((0, 0, size - 1, size - 1), fill=255)
    canvas.paste(sky.crop((x, y, x + size, y + size)), (x, y), disc)
    side = -1 if place[0] > 0.5 else 1
    canvas.paste(bands, (x, y), ImageChops.multiply(disc, _sunlight(size, side)))


def paint_ridges(canvas: Image.Image, palette: Palette, dice: Random, sun: float) -> None:
    """Draw the ridges from the horizon to one's feet, each darker, higher and nearer."""
    haze = mix(palette.sky[-1], palette.far, 0.45)
    outline = RELIEFS[palette.relief]
    for layer in range(LAYERS):
        near = layer / (LAYERS - 1)
        base = HORIZON + 0.30 * near**1.25
        rise = (0.20 if palette.relief in ("peaks", "mesas") else 0.12) * (1 - 0.45 * near)
        crest = [base - rise * h + 0.02 for h in _window(outline(dice, POINTS), near, dice)]
        colour = mix(palette.far, palette.near, near**0.85)
        _paint_ridge(
            canvas, crest, (colour, mix(colour, haze, 0.55 * (1 - near))), palette.light, sun
        )
        if palette.trees and near > 0.5:
            _paint_trees(canvas, crest, mix(colour, palette.near, 0.35), dice, near)


def paint_sea(canvas: Image.Image, palette: Palette, dice: Random, sun: float) -> None:
    """Draw the sea: the sky's colours mirrored, waves, and the sun's path on them."""
    width, height = canvas.size
    top = int(HORIZON * height)
    mirrored = tuple(mix(colour, palette.near, 0.35) for colour in reversed(palette.sky[1:]))
    canvas.paste(gradient((*mirrored, palette.near), (width, height - top)), (0, top))
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(900):
        depth = dice.random() ** 1.6
        y = top + depth * (height - top)
        on_path = dice.random() < 0.55
        x = dice.gauss(sun, 0.012 + 0.075 * depth) if on_path else dice.random()
        length = (0.006 + 0.05 * depth) * dice.uniform(0.4, 1.4) * width
        colour = palette.light if on_path else mix(palette.sky[2], palette.light, 0.25)
        alpha = int((150 if on_path else 46) * (1 - 0.55 * depth) * dice.uniform(0.4, 1))
        thick = (0.0008 + 0.0028 * depth) * height
        draw.ellipse(
            (x * width - length, y - thick, x * width + length, y + thick), fill=(*colour, alpha)
        )


def paint_vignette(canvas: Image.Image) -> Image.Image:
    """Return the picture with its corners a little darker."""
    ramp = [255 - int(95 * max(0.0, v / 255 - 0.35) ** 1.5) for v in range(256)]
    shade = Image.radial_gradient("L").point(ramp).resize(canvas.size, Image.Resampling.BILINEAR)
    return ImageChops.multiply(canvas, Image.merge("RGB", (shade, shade, shade)))


def _window(line: list[float], near: float, dice: Random) -> list[float]:
    """Return a part of the outline: near ridges show fewer, broader shapes."""
    count = int(len(line) * (1 - 0.55 * near))
    start = dice.randrange(len(line) - count + 1)
    return line[start : start + count]


def _paint_ridge(
    canvas: Image.Image, crest: list[float], fill: tuple[Colour, Colour], light: Colour, sun: float
) -> None:
    width, height = canvas.size
    points = [(x * width / (len(crest) - 1), y * height) for x, y in enumerate(crest)]
    top = max(0, int(min(y for _, y in points)) - 2)
    mask = Image.new("L", (width, height - top))
    shape = [(x, y - top) for x, y in points]
    ImageDraw.Draw(mask).polygon([*shape, (width, height), (0, height)], fill=255)
    canvas.paste(gradient(fill, mask.size), (0, top), mask)
    _paint_rim(canvas, points, mix(fill[0], light, 0.42), fill[0], sun)


def _paint_rim(
    canvas: Image.Image, points: list[tuple[float, float]], lit: Colour, dark: Colour, sun: float
) -> None:
    """Light the slopes that look towards the sun, the more the nearer they are to it."""
    draw = ImageDraw.Draw(canvas)
    width = canvas.width
    for (x, y), (x2, y2) in pairwise(points):
        towards = y - y2 if x / width > sun else y2 - y
        closeness = math.exp(-(((x / width - sun) / 0.35) ** 2))
        strength = closeness * min(1.0, max(0.0, 0.4 + towards / (x2 - x) * 0.8))
        if strength > 0.05:
            draw.line((x, y, x2, y2), fill=mix(dark, lit, strength), width=max(2, width // 500))


def _paint_trees(
    canvas: Image.Image, crest: list[float], colour: Colour, dice: Random, near: float
) -> None:
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    spot = 0.0
    while spot < 1:
        spot += dice.uniform(0.002, 0.02) * (1 + 2 * (dice.random() < 0.12))
        foot = crest[min(int(spot * len(crest)), len(crest) - 1)] + 0.006
        tall = dice.uniform(0.3, 1.0) * 0.075 * near**1.5
        _paint_fir(draw, (spot * width, foot * height), tall * height, colour)


def _paint_fir(
    draw: ImageDraw.ImageDraw, foot: tuple[float, float], tall: float, colour: Colour
) -> None:
    x, y = foot
    for tier in range(4):
        tip, bottom = y - tall * (1 - tier * 0.2), y - tall * (0.62 - tier * 0.2)
        half = tall * (0.09 + 0.055 * tier)
        draw.polygon([(x, tip), (x + half, bottom), (x - half, bottom)], fill=colour)


def _bands(colour: Colour, light: Colour, dice: Random, size: int) -> Image.Image:
    strip = Image.new("RGB", (1, 14))
    strip.putdata([mix(colour, light, dice.uniform(0.05, 0.4)) for _ in range(14)])
    wide = strip.resize((size * 2, size * 2), Image.Resampling.BICUBIC)
    turned = wide.rotate(dice.uniform(-28, 28), Image.Resampling.BILINEAR)
    return turned.crop((size // 2, size // 2, size // 2 + size, size // 2 + size))


def _sunlight(size: int, side: int) -> Image.Image:
    """Return the light on a planet, strong on its right (``side`` 1) or left (-1)."""
    ramp = [int(225 * max(0.0, 1 - v / EDGE) ** 0.9) for v in range(256)]
    light = Image.radial_gradient("L").point(ramp).resize((size * 2, size * 2))
    left, top = size // 2 - int(side * size * 0.34), size // 2 + size // 5
    return light.crop((left, top, left + size, top + size))


def _bump(x: float, middle: float, width: float) -> float:
    return math.exp(-(((x - middle) / width) ** 2))


def _disc(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], radius: float, colour: Colour
) -> None:
    x, y = middle
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
