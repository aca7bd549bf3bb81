"""The pictures that predictions return: layers of coloured paper, as PNG files.

The same prompt, seed, number and size give the same bytes on the same version of Pillow. A picture
is drawn when it is requested for the first time, and the last ones are cached.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from io import BytesIO
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, ...]
Shape = list[tuple[float, float]]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# The colours of each palette, from the farthest layer to the nearest, and the words that choose it
PALETTES = {
    "mars": ("f6c28b e58b55 c25a38 8a3327 4a1a1f", "mars canyon volcano lava fire red"),
    "ocean": ("d9f0ee 7cc4d4 3a8fb7 1f5a94 0b2450", "ocean sea beach water lake island boat blue"),
    "forest": ("f1edc0 a9c77e 5f9a63 2b6650 0d3232", "forest wood tree jungle garden green"),
    "night": ("c7b8ea 7f78cf 4a45a0 26276b 0a0b2b", "night space moon star stars galaxy dream"),
    "sunset": ("ffd9a0 ff9e7a e8607e 93417f 32214f", "sunset sunrise dawn dusk evening love"),
    "desert": ("fbe7c0 f0bf7f d08f55 8f5a3c 3d2a2f", "desert dune dunes sand camel gold golden"),
    "winter": ("f7f4f1 cfdcea 93b1d1 557aa8 1e3358", "winter snow ice arctic mountain alps"),
    "aurora": ("d8f7cf 7fdcae 2fa896 17667f 0a2440", "aurora northern magic fantasy fairy"),
    "neon": ("ffc3a0 ff5f8f c32ec4 5a21b6 160b45", "neon cyberpunk city robot future pink"),
}
LAYERS = 7
CACHED = 64


@lru_cache(maxsize=CACHED)
def render(prompt: str, seed: int, number: int, size: tuple[int, int]) -> bytes:
    """Return the PNG file of picture ``number`` (from 0), ``size`` = (width, height) in pixels."""
    # Not secret, and the same numbers each time.
    rng = Random(f"{prompt}\n{seed}\n{number}")  # noqa: S311
    colours = choose_palette(prompt, rng)
    picture = _draw(colours if rng.random() < 0.7 else colours[::-1], rng, size)
    _set_caption(picture, prompt, f"seed {seed}  ·  {size[0]} x {size[1]}  ·  QuickRouter sandbox")
    file = BytesIO()
    picture.save(file, "PNG", compress_level=4)
    return file.getvalue()


def choose_palette(prompt: str, rng: Random) -> list[Colour]:
    """Return the colours of the first word that names a palette, else of a random one."""
    by_word = {word: name for name, (_, words) in PALETTES.items() for word in words.split()}
    named = (by_word[word] for word in re.findall("[a-z]+", prompt.lower()) if word in by_word)
    name = next(named, None) or rng.choice(sorted(PALETTES))
    return [tuple(bytes.fromhex(colour)) for colour in PALETTES[name][0].split()]


def _draw(colours: list[Colour], rng: Random, size: tuple[int, int]) -> Image.Image:
    canvas = _blend(_along(colours, 0.2), colours[0], Image.radial_gradient("L"), size)
    shapes = rng.choice((_waves, _rings, _pebbles))(rng)
    for layer, shape in enumerate(shapes):
        # An outline is drawn at twice the size and reduced: that smooths its edge.
        mask = Image.new("L", (2 * size[0], 2 * size[1]))
        ImageDraw.Draw(mask).polygon([(x * mask.width, y * mask.height) for x, y in shape], 255)
        mask = mask.reduce(2)
        # Its soft shadow is blurred at an eighth of the size, since a blur costs by area.
        shadow = mask.resize((max(1, size[0] // 8), max(1, size[1] // 8)))
        blurred = shadow.filter(ImageFilter.GaussianBlur(0.03 * min(shadow.size)))
        canvas.paste(colours[-1], mask=blurred.resize(size).point(lambda v: v * 2 // 5))
        depth = (layer + 0.6) / len(shapes)
        ends = (_along(colours, depth + 0.12), _along(colours, depth - 0.12))
        canvas.paste(_blend(*ends, Image.linear_gradient("L"), size), mask=mask)
    return canvas


def _blend(one: Colour, other: Colour, fade: Image.Image, size: tuple[int, int]) -> Image.Image:
    sheets = (Image.new("RGB", fade.size, one), Image.new("RGB", fade.size, other))
    return Image.composite(*sheets, fade).resize(size)


def _waves(rng: Random) -> list[Shape]:
    """Return hills from the horizon to the lower edge, after a sun."""
    place = (rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.35))
    shapes = [_wobbly(rng, place, rng.uniform(0.1, 0.2), 0)]
    for layer in range(LAYERS - 1):
        base, starts = 0.38 + 0.09 * layer, [rng.uniform(0, math.tau) for _ in range(3)]
        crest: Shape = []
        for x in range(81):
            swell = sum(math.sin(x / 20 * n + start) / n for n, start in enumerate(starts, 1))
            crest.append((x / 80, base + 0.05 * swell))
        shapes.append([*crest, (1, 1), (0, 1)])
    return shapes


def _rings(rng: Random) -> list[Shape]:
    """Return smaller and smaller rings around one point."""
    place = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.6))
    return [_wobbly(rng, place, 0.9 - 0.125 * layer, 0.06) for layer in range(LAYERS)]


def _pebbles(rng: Random) -> list[Shape]:
    """Return round pebbles, the large ones first."""
    radii = sorted((rng.uniform(0.08, 0.34) for _ in range(2 * LAYERS)), reverse=True)
    return [_wobbly(rng, (rng.random(), rng.random()), radius, 0.1) for radius in radii]


def _wobbly(rng: Random, centre: tuple[float, float], radius: float, wobble: float) -> Shape:
    start, bumps = rng.uniform(0, math.tau), rng.randint(2, 4)
    shape: Shape = []
    for step in range(120):
        turn = math.tau * step / 120
        r = radius * (1 + wobble * math.sin(bumps * turn + start))
        shape.append((centre[0] + r * math.cos(turn), centre[1] + r * math.sin(turn)))
    return shape


def _along(colours: list[Colour], part: float) -> Colour:
    place = min(max(part, 0.0), 1.0) * (len(colours) - 1)
    index = min(int(place), len(colours) - 2)
    ends = zip(colours[index], colours[index + 1], strict=True)
    return tuple(round(a + (b - a) * (place - index)) for a, b in ends)


def _set_caption(picture: Image.Image, prompt: str, note: str) -> None:
    """Write the prompt, and small below it the note, on a band that darkens downwards."""
    margin, size = min(picture.size) // 18, max(11, min(picture.size) // 29)
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(8, size * 5 // 9))
    lines = _wrapped(prompt, font, picture.width - 2 * margin)
    band = Image.linear_gradient("L").point(lambda v: min(210, v * 5 // 4))
    band = band.resize((picture.width, size * (len(lines) + 5)))
    picture.paste((6, 6, 12), (0, picture.height - band.height), band)
    draw, low = ImageDraw.Draw(picture), picture.height - margin
    text = "\n".join(lines)
    draw.multiline_text((margin, low - size), text, "#f4f4f6", font, "ld", spacing=size // 3)
    draw.text((margin, low), note, "#a9a9b0", small, "ld")


def _wrapped(prompt: str, font: Font, width: int) -> list[str]:
    """Return the prompt in lines that fit; an ellipsis stands for what the font cannot show."""
    missing = bytes(font.getmask("\uffff"))
    # More of a prompt is never shown, and measuring it takes time.
    letters = (c if c.isspace() or bytes(font.getmask(c)) != missing else "…" for c in prompt[:300])
    lines = [""]
    for word in re.sub("…+", "…", "".join(letters)).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) < 4 else [*lines[:2], f"{lines[2]}…"]
