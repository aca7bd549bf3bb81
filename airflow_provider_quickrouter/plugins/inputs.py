"""What a prediction was made of, as far as Airflow kept it: the rendered field ``input``.

Airflow cuts a long field and keeps it as text, and forgets the fields of older runs.
"""

from __future__ import annotations

import re
from typing import Any

PROMPTS = ("prompt", "prompt_start", "text")
"""Fields of the known models that hold a prompt, the likeliest first."""

MAX_VALUE = 500
"""Characters of an input's value that are shown."""

MAX_VALUES = 40
"""Inputs that are shown."""

MAX_PROMPT = 10_000
"""Characters of a prompt that are shown."""

_TEXT = r"""['"]{name}['"]\s*:\s*(?:'((?:[^'\\]|\\.)*)|"((?:[^"\\]|\\.)*))"""
_NUMBER = r"""['"]{name}['"]\s*:\s*(-?\d+)"""


def prompt_of(given: Any) -> str | None:
    """Return the prompt of a rendered input, None if it cannot be found."""
    for name in PROMPTS:
        value = given.get(name) if isinstance(given, dict) else _text_in(given, name)
        if isinstance(value, str) and value:
            return value[:MAX_PROMPT]
    return None


def seed_of(given: Any) -> int | None:
    """Return the seed of a rendered input, None if there is none."""
    if isinstance(given, str):
        found = re.search(_NUMBER.format(name="seed"), given)
        return int(found[1]) if found else None
    seed = given.get("seed") if isinstance(given, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def others_of(given: Any) -> dict[str, str]:
    """Return the inputs beside the prompt as short texts, by name."""
    if not isinstance(given, dict):
        return {}
    kept = [(name, value) for name, value in given.items() if name not in ("prompt", "seed")]
    return {str(name)[:100]: _short(value) for name, value in kept[:MAX_VALUES]}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if text.startswith("data:"):
        return f"a file within the input ({len(text):,} characters)"
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _text_in(given: Any, name: str) -> str | None:
    """Find a text in what Airflow has cut: a dict as Python prints it, without its end."""
    if not isinstance(given, str):
        return None
    found = re.search(_TEXT.format(name=re.escape(name)), given)
    if not found:
        return None
    text = found[1] if found[1] is not None else found[2]
    return re.sub(r"\\(['\"\\n])", lambda m: "\n" if m[1] == "n" else m[1], text)
