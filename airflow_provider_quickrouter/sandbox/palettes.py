"""The colours of a landscape: chosen by a word of the prompt, else by the picture's own dice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

Colour = tuple[int, int, int]


def _rgb(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _stops(text: str) -> tuple[Colour, ...]:
    return tuple(_rgb(part) for part in text.split())


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours and the kind of one landscape.

    ``sky`` runs from the zenith to the horizon. ``far`` and ``near`` are the ridges at the horizon
    and at one's feet. ``relief`` is ``sea`` or one of the terrain's. ``stars`` is how many, 0 to 1.
    ``planet`` is the colour of a great planet, if there is one.
    """

    sky: tuple[Colour, ...]
    far: Colour
    near: Colour
    light: Colour
    relief: str
    stars: float
    planet: Colour | None = None
    trees: bool = False


PALETTES = {
    "mars": Palette(
        _stops("1f0f14 4a1d1a 93402a d07a48 f0b27c"), _rgb("c9774c"), _rgb("2a0f0d"),
        _rgb("ffe9cf"), "mesas", 0.35, _rgb("c98d6a"),
    ),
    "ocean": Palette(
        _stops("0b1740 1f3f7d 4f7fb0 f0b9a0 ffe0b8"), _rgb("6d8fb5"), _rgb("0a1b33"),
        _rgb("fff1d6"), "sea", 0.2,
    ),
    "forest": Palette(
        _stops("123039 2b5d62 6f9f8f c5d3a8 f4e7c1"), _rgb("8fb09a"), _rgb("07181a"),
        _rgb("fff6d8"), "hills", 0.0, None, True,
    ),
    "night": Palette(
        _stops("04061a 0a1038 1b2260 3a3a86 6b5aa3"), _rgb("4b4a8c"), _rgb("05061a"),
        _rgb("e9ecff"), "peaks", 1.0, _rgb("7f8fd8"), True,
    ),
    "sunset": Palette(
        _stops("231a4f 5b2a6e a83f6f ee7a5b ffc978"), _rgb("b45c78"), _rgb("1a0f2e"),
        _rgb("fff0c4"), "peaks", 0.25,
    ),
    "desert": Palette(
        _stops("27476e 5a87a6 a9c1b8 f2d6a2 ffe6b8"), _rgb("dba873"), _rgb("4a2417"),
        _rgb("fff8e0"), "dunes", 0.0,
    ),
    "winter": Palette(
        _stops("1b2a4e 44608f 86a5c8 d3dceb fbeee6"), _rgb("b4c5dc"), _rgb("1c2b48"),
        _rgb("ffffff"), "peaks", 0.15, None, True,
    ),
    "aurora": Palette(
        _stops("03111f 06293a 0b5a5c 2fa07c a8e0a8"), _rgb("2c7a72"), _rgb("020d16"),
        _rgb("eafff3"), "peaks", 0.9, _rgb("6fb7a8"), True,
    ),
    "neon": Palette(
        _stops("0d0628 2b0f54 6a1b8a d13a9a ff8fb0"), _rgb("8a2f95"), _rgb("0b0420"),
        _rgb("ffe3f4"), "mesas", 0.8, _rgb("f07ac0"),
    ),
}  # fmt: skip

WORDS = {
    "mars": "mars martian canyon volcano lava fire red",
    "ocean": "ocean sea beach water lake island ship boat wave fish harbour harbor",
    "forest": "forest wood woods tree trees jungle garden green spring meadow hobbit",
    "night": "night space moon star stars galaxy cosmos dark midnight dream",
    "sunset": "sunset sunrise dawn dusk evening romantic love",
    "desert": "desert dune dunes sand sahara egypt camel gold golden",
    "winter": "winter snow ice snowy arctic mountain mountains alps polar",
    "aurora": "aurora northern emerald magic magical fantasy fairy",
    "neon": "neon cyberpunk city robot future futuristic synthwave pink",
}
BY_WORD = {word: name for name, words in WORDS.items() for word in words.split()}


def choose_palette(prompt: str, dice: Random) -> Palette:
    """Return the palette of the first word that names one, else any by the dice."""
    for word in re.findall(r"[a-z]+", prompt.lower()):
        if word in BY_WORD:
            return PALETTES[BY_WORD[word]]
    return PALETTES[dice.choice(sorted(PALETTES))]


def mix(one: Colour, other: Colour, part: float) -> Colour:
    """Return the colour that lies ``part`` (0 to 1) of the way from one to the other."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def along(stops: tuple[Colour, ...], part: float) -> Colour:
    """Return the colour at ``part`` (0 to 1) of a gradient through all stops."""
    place = min(max(part, 0.0), 1.0) * (len(stops) - 1)
    index = min(int(place), len(stops) - 2)
    return mix(stops[index], stops[index + 1], place - index)
